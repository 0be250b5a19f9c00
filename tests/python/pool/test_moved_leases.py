"""Leases that are left by another thread than the one that entered them: no deadlock is seen where there is none."""

import asyncio
import contextlib
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import opool
from opool._with_blocks import with_blocks
from support import LIMIT, Crew, Thing, eventually, run_child, things

needs_gil = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="without a GIL nothing is certain"
)


def by_hand(pool, elsewhere):
    lease = pool.lease()
    elsewhere(lease.__enter__)
    return lambda: lease.__exit__(None, None, None)


def by_generator(pool, elsewhere):
    @contextlib.contextmanager
    def connection():
        with pool.lease() as obj:
            yield obj

    manager = connection()
    elsewhere(manager.__enter__)
    return lambda: manager.__exit__(None, None, None)


def by_exit_stack(pool, elsewhere):
    stack = contextlib.ExitStack()
    elsewhere(lambda: stack.enter_context(pool.lease()))
    return stack.close


def by_passed_exit_stack(pool, elsewhere):
    def enter():
        with contextlib.ExitStack() as stack:
            stack.enter_context(pool.lease())
            return stack.pop_all()

    return elsewhere(enter).close


def by_bare_generator(pool, elsewhere):
    def connection():
        obj = pool.acquire()
        try:
            yield obj
        finally:
            pool.release(obj)

    generator = connection()
    elsewhere(lambda: next(generator))
    return generator.close


MOVES = [by_hand, by_generator, by_exit_stack, by_passed_exit_stack, by_bare_generator]


def waits_longer_than_the_look(pool, worker, leave, ask, seconds):
    """The worker asks while it counts as the holder; this thread leaves after the worker has looked for a deadlock."""
    asked = worker.submit(ask)
    eventually(lambda: pool.waiting == 1)
    assert not threading.Event().wait(seconds)
    assert not asked.done(), asked.exception()
    leave()
    return asked.result(LIMIT)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("inside", ["nothing", "another lease"])
@pytest.mark.parametrize("makes", [True, False])
def test_what_another_thread_gives_back_is_no_deadlock(move, inside, makes, caplog):
    pool = opool.Pool(factory=Thing, max_size=1) if makes else opool.Pool(things(1))
    other = opool.Pool(things(1))

    def ask():
        if inside == "nothing":
            return pool.lease(timeout=LIMIT).release()
        with other.lease():
            return pool.lease(timeout=LIMIT).release()

    with ThreadPoolExecutor(1) as worker, caplog.at_level(logging.DEBUG, "opool"):
        leave = move(pool, lambda function: worker.submit(function).result(LIMIT))
        waits_longer_than_the_look(pool, worker, leave, ask, 0.3 if makes else 1.3)
    assert caplog.records == []
    assert pool.idle == 1


def test_what_a_variable_of_another_thread_refers_to_is_no_deadlock(caplog):
    pool = opool.Pool(factory=Thing, max_size=1)
    lease = pool.lease()
    with ThreadPoolExecutor(1) as worker:
        worker.submit(lease.__enter__).result(LIMIT)
        asked = worker.submit(lambda: pool.lease(timeout=LIMIT).release())
        assert not threading.Event().wait(0.3)
        assert not asked.done(), asked.exception()
        lease.release()
        asked.result(LIMIT)
    assert caplog.records == []


@pytest.mark.parametrize("makes", [True, False])
def test_a_generator_that_goes_on_in_another_thread_is_no_deadlock(makes, caplog):
    pool = opool.Pool(factory=Thing, max_size=1) if makes else opool.Pool(things(1))
    other = opool.Pool(things(1))
    inside, go_on = threading.Event(), threading.Event()

    def stream():
        with pool.lease() as obj:
            yield obj
            inside.set()
            go_on.wait(LIMIT)

    def ask():
        with other.lease(), pool.lease(timeout=LIMIT):
            pass

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        chunks = stream()
        first.submit(next, chunks).result(LIMIT)
        rest = second.submit(list, chunks)
        assert inside.wait(LIMIT)
        waits_longer_than_the_look(pool, first, go_on.set, ask, 0.3 if makes else 1.3)
        rest.result(LIMIT)
    assert caplog.records == []
    assert pool.idle == 1


@needs_gil
def test_a_variable_beside_the_with_and_a_second_block_leave_a_deadlock_certain():
    pool = opool.Pool(factory=Thing, max_size=2)
    lease = pool.lease()
    with lease, threading.Lock(), pool.lease(timeout=1):
        with pytest.raises(opool.PoolDeadlock, match="all 2 objects are with a thread that waits"):
            pool.lease(timeout=LIMIT)
    assert pool.idle == 2


def test_one_state_is_reported_once_and_shows_no_frames_of_the_report(caplog):
    pool = opool.Pool(things(4), name="gpus")
    all_there = threading.Barrier(4)

    def two(_):
        with pool.lease(timeout=LIMIT):
            all_there.wait(LIMIT)
            with contextlib.suppress(opool.PoolTimeout), pool.lease(timeout=2.5):
                pass

    Crew(4, two).join()
    (record,) = [record for record in caplog.records if record.name == "opool"]
    assert record.message.startswith("pool 'gpus': probably a deadlock: all 4 objects are with threads that wait")
    for frame in ("_deadlock.py", "_holders.py", "linecache.py", "traceback.py"):
        assert frame not in record.message


def test_the_blocks_that_a_frame_is_inside_are_found():
    pool = opool.Pool(things(9))
    queue = {"pool": pool}

    def every_kind():
        variable = pool.lease()
        with pool.lease(timeout=max(1, 2)) as first, queue["pool"].try_lease(), open(__file__), variable as second:
            try:
                with pool.lease():
                    raise KeyError
            except KeyError:
                return with_blocks(sys._getframe()), first, second

    def none():
        with pool.lease():
            pass
        for _ in range(1):
            with pool.lease():
                continue
        return with_blocks(sys._getframe())

    async def of_tasks():
        async with pool.lease_async() as obj, pool.lease_async():
            with pool.lease():
                return with_blocks(sys._getframe()), obj

    assert every_kind()[0] == ["variable", "other", "lease", "lease"]
    assert none() == []
    assert asyncio.run(of_tasks())[0] == ["lease", "lease_async", "lease_async"]
    assert pool.idle == 9


def test_fastapi_whose_endpoints_keep_their_connection_for_long_hears_of_no_deadlock():
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    run_child(
        """
        import asyncio, logging, time, warnings
        warnings.simplefilter("ignore")
        import anyio.to_thread, fastapi, httpx, opool

        records = []
        class Records(logging.Handler):
            def emit(self, record):
                records.append(record.getMessage())
        logging.getLogger("opool").addHandler(Records(logging.DEBUG))

        APPS, CLIENTS, REQUESTS = 5, 8, 200  # 1,000 requests, 200 for each four objects

        def application():
            pool = opool.Pool(factory=object, max_size=4, timeout=100)

            def connection():
                with pool.lease() as conn:
                    yield conn

            app = fastapi.FastAPI()

            @app.get("/")
            def endpoint(conn=fastapi.Depends(connection)):
                time.sleep(0.3)
                return {}

            return app

        async def serve(app, seen):
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=None) as client:
                left = iter(range(REQUESTS))

                async def one_after_another():
                    for _ in left:
                        seen.append((await client.get("/")).status_code)

                await asyncio.gather(*(one_after_another() for _ in range(CLIENTS)))

        async def main():
            anyio.to_thread.current_default_thread_limiter().total_tokens = APPS * CLIENTS * 2
            seen = []
            await asyncio.gather(*(serve(application(), seen) for _ in range(APPS)))
            assert seen == [200] * APPS * REQUESTS, [status for status in seen if status != 200]
            assert records == [], records

        asyncio.run(main())
        """
    )
