"""Leases of tasks: the same on asyncio, on uvloop and on trio, in one queue with the threads."""

import asyncio
import gc
import random
import sys
import threading
import time

import pytest

import opool
from opool.testing import check_invariants
from support import assert_whole, eventually, things

trio = pytest.importorskip("trio")
uvloop = pytest.importorskip("uvloop")

pytestmark = pytest.mark.timeout(60)


def on_uvloop(main):
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


RUN = {"asyncio": lambda main: asyncio.run(main()), "uvloop": on_uvloop, "trio": lambda main: trio.run(main)}


@pytest.fixture(params=list(RUN))
def run(request):
    """Runs a coroutine function to its end."""
    return RUN[request.param]


async def gather(*functions):
    """Runs coroutine functions beside each other, in the kind of event loop that runs."""
    if asyncio._get_running_loop() is not None:
        await asyncio.gather(*(function() for function in functions))
        return
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


async def sleep(seconds):
    await (asyncio.sleep(seconds) if asyncio._get_running_loop() is not None else trio.sleep(seconds))


def test_a_block_has_the_object_and_gives_it_back(run):
    objects = things(2)
    pool = opool.Pool(objects)

    async def main():
        for expected in (*objects, *objects):
            async with pool.lease_async() as obj:
                assert obj is expected
                assert (pool.idle, pool.leased) == (1, 1)
        with pytest.raises(KeyError):
            async with pool.lease_async():
                raise KeyError

    run(main)
    assert_whole(pool, objects)


def test_an_await_gives_a_lease(run):
    pool = opool.Pool(["a"])

    async def main():
        lease = await pool.lease_async()
        assert isinstance(lease, opool.Lease)
        assert (lease.obj, pool.idle) == ("a", 0)
        lease.release()

    run(main)
    assert_whole(pool, ["a"])


def test_tasks_are_served_in_the_order_in_which_they_came(run):
    pool = opool.Pool(things(1))
    order = []

    def task(number):
        async def lend():
            async with pool.lease_async():
                order.append(number)
                await sleep(0)

        return lend

    async def main():
        if asyncio._get_running_loop() is not None:
            await gather(*(task(number) for number in range(100)))
            return
        # Trio starts tasks in any order; so one by one, while everything is out.
        lease = pool.lease()
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(task(number))
                await trio.testing.wait_all_tasks_blocked()
            lease.release()

    run(main)
    assert order == list(range(100))
    check_invariants(pool)
    assert (pool.idle, pool.waiting) == (1, 0)


def test_a_task_waits_no_longer_than_it_said(run):
    pool = opool.Pool(["a"], name="letters")

    async def main():
        async with pool.lease_async():
            began = time.monotonic()
            with pytest.raises(opool.PoolTimeout, match="pool 'letters': no object came free within 0.05 s"):
                async with pool.lease_async(timeout=0.05):
                    pass
            assert 0.04 < time.monotonic() - began < 5
            with pytest.raises(opool.PoolTimeout):
                await pool.lease_async(timeout=0)

    run(main)
    assert pool.stats().timeouts == 2
    assert_whole(pool, ["a"])


def test_a_task_that_does_not_want_to_wait_any_more_leaves_the_queue(run):
    pool = opool.Pool(["a"])

    async def main():
        async with pool.lease_async():
            if asyncio._get_running_loop() is not None:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(pool.lease_async(), 0.01)
            else:
                with trio.move_on_after(0.01) as scope:
                    await pool.lease_async()
                assert scope.cancelled_caught
            assert pool.waiting == 0

    run(main)
    assert_whole(pool, ["a"])


def test_three_thousand_cancellations_lose_nothing(run):
    objects = things(50)
    pool = opool.Pool(objects)
    dice = random.Random(1)

    async def asyncio_user():
        for _ in range(20):
            task = asyncio.ensure_future(body())
            await asyncio.sleep(0 if dice.random() < 0.5 else dice.random() * 0.002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def trio_user():
        for _ in range(20):
            with trio.move_on_after(dice.random() * 0.002):
                await body()

    async def body():
        async with pool.lease_async():
            await sleep(dice.random() * 0.001)

    async def main():
        user = asyncio_user if asyncio._get_running_loop() is not None else trio_user
        await gather(*[user] * 150)

    run(main)
    assert_whole(pool, objects)


def test_a_hand_over_to_a_task_that_is_cancelled_in_the_same_step_goes_on_to_the_next():
    pool = opool.Pool(["a"])
    served = []

    async def lend(name):
        async with pool.lease_async() as obj:
            served.append((name, obj))

    async def main():
        lease = pool.lease()
        first, second = asyncio.ensure_future(lend("first")), asyncio.ensure_future(lend("second"))
        await asyncio.sleep(0)
        assert pool.waiting == 2
        lease.release()  # handed to the first
        assert (pool.waiting, pool.idle) == (1, 0)
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.cancelled()

    asyncio.run(main())
    assert served == [("second", "a")]
    assert_whole(pool, ["a"])


@pytest.mark.parametrize("after", ["close", "throw", "drop"])
def test_a_wait_that_is_given_up_by_hand_passes_on_what_it_was_given(after):
    pool = opool.Pool(["a"])

    async def main():
        lease = pool.lease()
        waiting = pool.lease_async().__aenter__()
        steps = iter(waiting)
        next(steps)
        assert pool.waiting == 1
        lease.release()
        assert (pool.waiting, pool.idle, pool.leased) == (0, 0, 1)
        if after == "close":
            steps.close()
        elif after == "throw":
            with pytest.raises(KeyError):
                steps.throw(KeyError())
        del waiting, steps
        gc.collect()
        assert pool.idle == 1

    asyncio.run(main())
    assert_whole(pool, ["a"])


def test_a_loop_that_is_closed_with_waiters_in_the_queue_holds_up_nobody():
    pool = opool.Pool(["a"])
    lease = pool.lease()
    loop = asyncio.new_event_loop()

    async def lend():
        await pool.lease_async()

    task = loop.create_task(lend())
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert pool.waiting == 1
    loop.close()
    lease.release()
    with pool.lease(timeout=5) as obj:
        assert obj == "a"
    task._log_destroy_pending = False
    del task
    gc.collect()
    assert_whole(pool, ["a"])


def test_one_pool_serves_two_event_loops_one_after_the_other_and_at_the_same_time():
    objects = things(4)
    pool = opool.Pool(objects)
    counts = []

    async def lend():
        for _ in range(50):
            async with pool.lease_async():
                await asyncio.sleep(0)
        counts.append(50)

    async def main():
        await gather(*[lend] * 10)

    asyncio.run(main())
    asyncio.run(main())
    crew = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(30)
    assert sum(counts) == 4 * 10 * 50
    assert_whole(pool, objects)


def test_threads_and_tasks_stand_in_one_queue():
    pool = opool.Pool(["a"])
    order, starts = [], []

    def thread(name):
        def lend():
            with pool.lease():
                order.append(name)

        started = threading.Thread(target=lend)
        started.start()
        starts.append(started)

    async def task(name):
        async with pool.lease_async():
            order.append(name)

    async def main():
        lease = pool.lease()
        tasks = []
        for turn in range(4):
            tasks.append(asyncio.ensure_future(task(("task", turn))))
            await asyncio.sleep(0)
            thread(("thread", turn))
            deadline = time.monotonic() + 20
            while pool.waiting != 2 * turn + 2:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)
        lease.release()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    for started in starts:
        started.join(20)
    assert order == [(kind, turn) for turn in range(4) for kind in ("task", "thread")]
    assert_whole(pool, ["a"])


def test_nobody_is_neglected_among_four_threads_and_four_hundred_tasks():
    pool = opool.Pool(things(4))
    over = threading.Event()
    of_threads, of_tasks = [0] * 4, [0] * 400

    def user(i):
        while not over.is_set():
            with pool.lease():
                time.sleep(0.0001)
            of_threads[i] += 1

    async def task(i):
        while not over.is_set():
            async with pool.lease_async():
                await asyncio.sleep(0.0001)
            of_tasks[i] += 1

    async def main():
        asyncio.get_running_loop().call_later(1.5, over.set)
        await asyncio.gather(*(task(i) for i in range(400)))

    crew = [threading.Thread(target=user, args=(i,)) for i in range(4)]
    for thread in crew:
        thread.start()
    asyncio.run(main())
    for thread in crew:
        thread.join(20)
    for counts in (of_threads, of_tasks):
        mean = sum(counts) / len(counts)
        assert min(counts) >= 0.9 * mean - 1
    check_invariants(pool)
    assert pool.idle == 4


def test_holders_names_the_task_and_shows_where_it_is(run):
    pool = opool.Pool(["a", "b"])

    async def deep_inside():
        await sleep(0.2)

    async def lend():
        async with pool.lease_async():
            await deep_inside()

    async def look():
        await sleep(0.05)
        async with pool.lease_async() as mine:
            (other,) = [holder for holder in pool.holders() if holder.obj != mine]
            assert other.task is not None and other.entered
            assert "deep_inside" in other.stack()
            assert other.task in str(other)

    async def main():
        await gather(lend, look)

    run(main)


def test_hooks_may_be_coroutine_functions():
    made, gone, calls = [], [], []

    async def connect():
        await asyncio.sleep(0.01)
        made.append(object())
        return made[-1]

    async def note(obj):
        await asyncio.sleep(0)
        calls.append(obj)

    async def dispose(obj):
        await asyncio.sleep(0)
        gone.append(obj)

    async def main():
        hooks = {"factory": connect, "check": note, "reset": note, "dispose": dispose}
        pool = opool.Pool(**hooks, max_size=2, check_after=0, name="db")
        with pytest.raises(opool.PoolError, match="pool 'db'.*coroutine function.*lease_async"):
            pool.lease()

        async def lend():
            async with pool.lease_async(timeout=10):
                await asyncio.sleep(0)

        await gather(*[lend] * 20)
        check_invariants(pool)
        async with pool:
            pass
        assert pool.closed
        return pool

    pool = asyncio.run(main())
    assert len(made) == 2 and sorted(map(id, gone)) == sorted(map(id, made))
    assert len(calls) >= 20 and pool.size == 0


def test_a_factory_that_blocks_does_not_block_the_event_loop():
    pool = opool.Pool(factory=lambda: time.sleep(0.2) or [], max_size=1)
    ticks = []

    async def tick():
        for _ in range(10):
            await asyncio.sleep(0.01)
            ticks.append(pool.size)

    async def lend():
        async with pool.lease_async(timeout=10):
            pass

    async def main():
        await gather(lend, tick)
        await pool.aclose()

    asyncio.run(main())
    assert ticks[:5] == [0] * 5


def test_an_async_lease_is_used_once_and_in_an_event_loop():
    pool = opool.Pool(["a"])

    async def main():
        lease = pool.lease_async()
        async with lease:
            pass
        with pytest.raises(opool.LeaseError):
            async with lease:
                pass
        with pytest.raises((TypeError, AttributeError)):
            with pool.lease_async():
                pass
        await asyncio.sleep(0)

    asyncio.run(main())
    pool.lease_async()  # never awaited: nothing was taken
    held = pool.lease()
    with pytest.raises(RuntimeError, match="event loop"):
        iter(pool.lease_async()).send(None)
    held.release()
    with pytest.raises(TypeError, match=r"Pool\.lease_async"):
        opool.AsyncLease()
    assert_whole(pool, ["a"])


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="counts references")
def test_many_leases_refer_to_the_pool_no_more_than_one_does():
    pool = opool.Pool(things(2))

    async def cycles(n):
        for _ in range(n):
            async with pool.lease_async():
                pass
            (await pool.lease_async()).release()

    async def main():
        await cycles(10)
        before = sys.getrefcount(pool)
        await cycles(10_000)
        assert abs(sys.getrefcount(pool) - before) <= 2

    asyncio.run(main())
    eventually(lambda: pool.idle == 2)
