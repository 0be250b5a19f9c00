"""What a type checker must see through the stub and the drop-ins. `make lint` checks this file; nothing runs it."""

from typing import Any, Optional

from typing_extensions import assert_type

import design.objectmgr
import design.opool
import design.opool_sample
import opool


def a_pool_knows_the_type_of_its_objects(pool: opool.Pool[bytes]) -> None:
    assert_type(opool.Pool([1, 2]), opool.Pool[int])
    assert_type(pool.acquire(), bytes)
    assert_type(pool.try_lease(), Optional[opool.Lease[bytes]])
    assert_type(pool.lease(timeout=1.5).obj, bytes)
    with pool.lease() as obj:
        assert_type(obj, bytes)
    pool.release("text")  # type: ignore[arg-type]
    pool.lease(timeout="soon")  # type: ignore[arg-type]
    opool.Pool([1], order="random")  # type: ignore[call-overload]


def a_with_block_swallows_no_exception(pool: opool.Pool[int]) -> int:
    with pool.lease() as number:  # were it taken to swallow, mypy would ask for a return below
        return number


def figures_have_types(pool: opool.Pool[int]) -> None:
    stats = pool.stats()
    assert_type(stats, opool.PoolStats)
    assert_type(stats.wait_time.counts, tuple[int, ...])
    stats.leases = 0  # type: ignore[misc]
    stats.retired["idle"] = 0  # type: ignore[index]


def the_drop_ins_know_it_as_well() -> None:
    with design.opool.Pool(["a"]).lease() as letter:
        assert_type(letter, str)
    assert_type(design.opool_sample.Pool(2, dict[str, int]).acquire(), dict[str, int])


def a_manager_may_have_no_number_left(manager: opool.ObjectMgr) -> None:
    assert_type(manager.get_object(), Optional[int])
    assert_type(design.objectmgr.ObjectMgr(3), opool.ObjectMgr)
    opool.ObjectMgr("3")  # type: ignore[arg-type]


def a_manager_gives_and_takes_several(manager: opool.ObjectMgr) -> None:
    assert_type(manager.get_many(3), Optional[list[int]])
    assert_type(manager.get_range(3), Optional[range])
    assert_type(manager.get_into(bytearray(8)), bool)
    assert_type(manager.reserve(3), Optional[int])
    assert_type(list(manager), list[int])
    assert_type(manager.excluded, list[range])
    assert_type(opool.ObjectMgr.load(manager.dump()), opool.ObjectMgr)
    opool.ObjectMgr(range(8000, 9000), order="lowest")
    opool.ObjectMgr(9, order="newest")  # type: ignore[arg-type]
    manager.free_many(5)  # type: ignore[arg-type]
    manager.exclude(["5"])  # type: ignore[list-item]


async def a_manager_leases_ints(manager: opool.ObjectMgr) -> None:
    with manager.lease(timeout=5) as number:
        assert_type(number, int)
    async with manager.lease_async() as number:
        assert_type(number, int)
    assert_type(await manager.lease_async(), opool.Lease[int])
    assert_type(manager.try_lease(), Optional[opool.Lease[int]])
    manager.lease(timeout="5")  # type: ignore[arg-type]


def errors_are_what_they_say(error: opool.PoolTimeout) -> Any:
    timeout: TimeoutError = error
    base: opool.PoolError = error
    return timeout, base
