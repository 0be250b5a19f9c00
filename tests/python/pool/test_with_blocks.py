"""Which `with` blocks a running frame is inside: the bytecode of each version of CPython is read alike."""

import asyncio
import contextlib
import sys

from opool._with_blocks import LEASE, LEASE_ASYNC, OTHER, VARIABLE, with_blocks


class StandIn:
    """Only the names of the methods matter."""

    def lease(self):
        return contextlib.nullcontext()

    @contextlib.asynccontextmanager
    async def lease_async(self):
        await asyncio.sleep(0)
        yield


pool = StandIn()


def callers_blocks():
    return with_blocks(sys._getframe(1))


def test_blocks_are_told_by_what_they_were_entered_with_the_innermost_first():
    def in_blocks():
        try:
            with pool.lease(), pool.lease() as _:
                for _ in range(2):
                    with contextlib.ExitStack():
                        return callers_blocks()
        finally:
            pass

    assert in_blocks() == [OTHER, LEASE, LEASE]


def test_a_block_that_was_left_does_not_count():
    with pool.lease():
        pass
    with contextlib.suppress(ValueError):
        with pool.lease():
            raise ValueError
    assert callers_blocks() == []


def test_so_are_those_of_coroutines():
    async def in_blocks():
        async with pool.lease_async():
            with pool.lease() as _:
                lease = pool.lease()
                with lease:
                    async with pool.lease_async() as _:
                        with contextlib.nullcontext():
                            return callers_blocks()

    assert asyncio.run(in_blocks()) == [OTHER, LEASE_ASYNC, VARIABLE, LEASE, LEASE_ASYNC]
