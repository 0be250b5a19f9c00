"""Threads and the tasks of any number of event loops stand in one queue, and see each other in what a pool tells."""

import asyncio
import os
import sys
import threading
import time

import pytest

import opool
from loops import ASYNCIO, ASYNCIOS, TRIO, every_asyncio, every_loop, queue_up, until
from opool import _deadlock
from opool.testing import check_invariants
from support import LIMIT, Crew, Thing, assert_whole, eventually, run_child, things, threads

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


async def enter(pool):
    async with pool.lease_async(timeout=60) as obj:
        return obj


class Loop:
    """An event loop in a thread of its own, which does what it is told from outside."""

    def __init__(self, kind=ASYNCIO):
        self._started, self._end = threading.Event(), None
        self.loop = None

        async def main():
            self.loop, self._end = asyncio.get_running_loop(), asyncio.Event()
            self._started.set()
            await self._end.wait()

        self.thread = threading.Thread(target=kind.run, args=(main,), daemon=True)
        self.thread.start()
        assert self._started.wait(LIMIT)

    def start(self, function, *args):
        return asyncio.run_coroutine_threadsafe(function(*args), self.loop)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._end.set)
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()


@every_loop
def test_threads_and_tasks_are_served_in_the_order_in_which_they_came(loop):
    pool = opool.Pool(["a"])
    order, crews = [], []

    async def task(i):
        async with pool.lease_async():
            order.append(i)
            await loop.sleep(0.001 if i % 4 else 0)

    def thread(i):
        with pool.lease():
            order.append(i)

    async def main():
        async with loop.group() as group:
            lease = pool.lease()
            for i in range(24):
                if i % 3:
                    await queue_up(loop, group, pool, task, i)
                else:
                    crews.append(Crew(1, lambda _, i=i: thread(i)))
                    await until(loop, lambda i=i: pool.waiting == i + 1)
            lease.release()

    loop.run(main)
    for crew in crews:
        crew.join()
    assert order == list(range(24))
    assert_whole(pool, ["a"])
    check_invariants(pool)


@pytest.mark.parametrize("kind", ASYNCIOS, ids=repr)
def test_two_event_loops_in_two_threads_stand_in_one_queue(kind):
    pool = opool.Pool(["a"])
    order = []

    async def use(i):
        async with pool.lease_async(timeout=None):
            order.append(i)
            await asyncio.sleep(0)

    with Loop(kind) as one, Loop() as two:
        with pool.lease():
            futures = []
            for i in range(20):
                futures.append((one, two)[i % 2].start(use, i))
                eventually(lambda i=i: pool.waiting == i + 1)
        for future in futures:
            future.result(LIMIT)
    assert order == list(range(20))
    assert_whole(pool, ["a"])


def test_two_event_loops_at_once_each_with_a_crowd_lose_nothing():
    objects = things(5)
    pool = opool.Pool(objects)
    inside, most = set(), []

    async def use():
        for _ in range(20):
            async with pool.lease_async(timeout=None) as obj:
                assert obj not in inside
                inside.add(obj)
                most.append(len(inside))
                await asyncio.sleep(0)
                inside.discard(obj)

    async def main():
        await asyncio.gather(*(use() for _ in range(50)))

    threads(2, lambda i: ASYNCIOS[i % len(ASYNCIOS)].run(main))
    assert max(most) == 5
    assert_whole(pool, objects)
    assert pool.stats().leases == 2 * 50 * 20 + 5  # and those that have just counted the objects
    check_invariants(pool)


@every_loop
def test_one_pool_serves_one_event_loop_after_the_other(loop):
    pool = opool.Pool(["a", "b"])

    async def main():
        async with loop.group() as group:
            tasks = [group.start(enter, pool) for _ in range(20)]
        return [task.get() for task in tasks]

    for _ in range(3):
        assert set(loop.run(main)) <= {"a", "b"}
    asyncio.run(enter(pool))
    asyncio.run(enter(pool))
    assert_whole(pool, ["a", "b"])


def test_asyncio_and_trio_wait_for_each_other():
    pool = opool.Pool(["a"])
    order = []

    def in_trio(_):
        async def use():
            async with pool.lease_async(timeout=None):
                order.append("trio")

        TRIO.run(use)

    async def use(name):
        async with pool.lease_async(timeout=None):
            order.append(name)

    with Loop() as loop:
        with pool.lease():
            first = loop.start(use, "asyncio")
            eventually(lambda: pool.waiting == 1)
            crew = Crew(1, in_trio)
            eventually(lambda: pool.waiting == 2)
            last = loop.start(use, "asyncio again")
            eventually(lambda: pool.waiting == 3)
        first.result(LIMIT), last.result(LIMIT), crew.join()
    assert order == ["asyncio", "trio", "asyncio again"]
    assert_whole(pool, ["a"])


def test_an_object_that_is_added_goes_to_whoever_is_first_thread_or_task():
    pool = opool.Pool([])
    order = []

    async def task():
        # Noted while it has it: without a GIL the thread may be quicker than what follows when it is given back.
        async with pool.lease_async(timeout=None):
            order.append("task")

    with Loop() as loop:
        first = loop.start(task)
        eventually(lambda: pool.waiting == 1)
        crew = Crew(1, lambda _: order.append(pool.acquire() and "thread"))
        eventually(lambda: pool.waiting == 2)
        pool.add_obj(Thing())
        first.result(LIMIT)
        crew_is_late = list(order)
        pool.add_obj(Thing())
        crew.join()
    assert crew_is_late[0] == "task" and sorted(order)[-1] == "thread"


@every_asyncio
def test_400_tasks_and_4_threads_get_their_fair_share_of_4_objects(loop):
    objects = things(4)
    pool = opool.Pool(objects)
    by_task, by_thread = [0] * 400, [0] * 4
    end = threading.Event()

    def thread(i):
        while not end.is_set():
            with pool.lease(timeout=None):
                time.sleep(0.0001)
            by_thread[i] += 1

    async def task(i):
        while not end.is_set():
            async with pool.lease_async(timeout=None):
                await asyncio.sleep(0)
            by_task[i] += 1

    async def main():
        tasks = [asyncio.ensure_future(task(i)) for i in range(400)]
        # Many rounds, so that the one that is cut off at the end is no matter.
        await until(loop, lambda: min(by_task) >= 200 and min(by_thread) > 25)
        end.set()
        await asyncio.gather(*tasks)

    crew = Crew(4, thread)
    loop.run(main)
    crew.join()
    # Each of its turns also waits for the GIL, for as long as one or two rounds of all tasks take; and for the machine.
    assert min(by_thread) >= 0.02 * max(by_task), "a thread stands in the same queue"
    # Without a GIL a busy machine may stop whoever gives between the hand-over and the call: others go on meanwhile.
    for counts, share in ((by_task, 0.9 if HAS_GIL else 0.5), (by_thread, 0.5)):
        assert min(counts) >= share * sum(counts) / len(counts), (min(counts), max(counts), sum(counts) / len(counts))
    assert_whole(pool, objects)
    check_invariants(pool)


def test_1000_tasks_over_10_objects_get_the_same_each():
    pool = opool.Pool(things(10))
    counts = [0] * 1000
    end = False

    async def task(i):
        while not end:
            async with pool.lease_async(timeout=None):
                await asyncio.sleep(0)
            counts[i] += 1

    async def main():
        nonlocal end
        tasks = [asyncio.ensure_future(task(i)) for i in range(1000)]
        await until(ASYNCIO, lambda: min(counts) >= 40)
        end = True
        await asyncio.gather(*tasks)

    ASYNCIO.run(main)
    mean = sum(counts) / 1000
    assert 0.95 * mean <= min(counts) and max(counts) <= 1.05 * mean


# ----------------------------------------------------------------------------------------------------------------------
# Who has what


@every_loop
def test_holders_tells_the_task_and_what_it_is_doing(loop):
    pool = opool.Pool(["a", "b"])

    async def a_body_like_no_other(ready):
        async with pool.lease_async():
            ready.append(True)
            await until(loop, lambda: len(ready) == 2)

    async def main():
        async with loop.group() as group:
            ready = []
            group.start(a_body_like_no_other, ready)
            await until(loop, lambda: ready)
            async with pool.lease_async():
                first, second = pool.holders()
                assert {first.obj, second.obj} == {"a", "b"}
                for holder in (first, second):
                    assert holder.task and holder.entered and holder.thread_id == threading.get_ident()
                    assert f"task {holder.task!r} of thread 'MainThread'" in str(holder)
                other = first if first.obj == "a" else second
                assert "in a_body_like_no_other" in other.stack()
            assert [holder.obj for holder in pool.holders()] == ["a"]
            ready.append(True)

    loop.run(main)
    assert pool.holders() == []


def test_holders_tells_of_the_tasks_of_another_thread_while_others_come_and_go():
    pool = opool.Pool(["a"])
    stop = threading.Event()

    async def named():
        asyncio.current_task().set_name("worker bee")
        async with pool.lease_async():
            ready.set()
            while not stop.is_set():
                await asyncio.gather(*(asyncio.ensure_future(asyncio.sleep(0)) for _ in range(20)))

    ready = threading.Event()
    with Loop() as loop:
        future = loop.start(named)
        assert ready.wait(LIMIT)
        for _ in range(200):
            (holder,) = pool.holders()
            assert holder.thread_id == loop.thread.ident
            assert holder.task in ("worker bee", None)  # None: it runs just now, in another thread
        stop.set()
        future.result(LIMIT)


def test_a_lease_that_was_awaited_is_with_the_thread_that_runs_the_task():
    pool = opool.Pool(["a"], track=True)

    async def main():
        lease = await pool.lease_async()
        (holder,) = pool.holders()
        assert (holder.thread_id, holder.task, holder.entered) == (threading.get_ident(), None, False)
        assert "in main" in holder.place
        lease.release()
        async with pool.lease_async():
            (holder,) = pool.holders()
            assert "in main" in holder.place and holder.exact

    ASYNCIO.run(main)


def test_a_timeout_names_the_task_that_has_had_its_object_for_longest():
    pool = opool.Pool(["a"])

    async def main():
        asyncio.current_task().set_name("the keeper")
        async with pool.lease_async():
            with pytest.raises(opool.PoolTimeout) as late:
                await pool.lease_async(timeout=0.01)
            with pytest.raises(opool.PoolCloseTimeout, match="task 'the keeper' of thread 'MainThread'"):
                await pool.aclose(timeout=0)
        return str(late.value)

    assert "thread 'MainThread'" in ASYNCIO.run(main)


def test_tasks_that_hold_and_wait_are_no_deadlock_for_a_thread_that_waits(caplog):
    pool = opool.Pool(factory=Thing, max_size=2)

    async def both(gate):
        async with pool.lease_async(timeout=None):
            await gate.wait()

    async def main():
        gate = asyncio.Event()
        holders = [asyncio.ensure_future(both(gate)) for _ in range(2)]
        await until(ASYNCIO, lambda: pool.leased == 2)
        waiters = [asyncio.ensure_future(enter(pool)) for _ in range(2)]
        thread = asyncio.get_running_loop().run_in_executor(None, lambda: pool.lease(timeout=LIMIT).release())
        await until(ASYNCIO, lambda: pool.waiting == 3)
        await asyncio.sleep(0.3)  # a deadlock would be called one after 0.1 s
        assert not thread.done() and pool.waiting == 3
        gate.set()
        await asyncio.gather(thread, *holders, *waiters)

    ASYNCIO.run(main)
    assert "deadlock" not in caplog.text
    pool.close()


def test_a_task_that_asks_again_while_it_has_the_only_object_waits_until_its_time_is_up(caplog):
    pool = opool.Pool(factory=Thing, max_size=1)

    async def main():
        async with pool.lease_async():
            with pytest.raises(opool.PoolTimeout):
                async with pool.lease_async(timeout=0.3):
                    pass

    ASYNCIO.run(main)
    assert "deadlock" not in caplog.text
    pool.close()


def hold_and_ask(pool, times, until_then, loop=ASYNCIO):
    """So many tasks that hold an object of `pool` and ask for another one, in vain, until something is true."""

    async def main():
        both = asyncio.Event()

        async def twice():
            async with pool.lease_async():
                if pool.leased == times:
                    both.set()
                await both.wait()
                async with pool.lease_async(timeout=None):
                    raise AssertionError("there is none")

        tasks = [asyncio.ensure_future(twice()) for _ in range(times)]
        await until(loop, until_then)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run(main)


def test_tasks_that_all_hold_and_wait_are_written_to_the_log(monkeypatch, caplog):
    monkeypatch.setattr(_deadlock, "CHECK_INTERVAL", 0.05)
    pool = opool.Pool(["a", "b"], name="db")
    hold_and_ask(pool, 2, lambda: caplog.records)
    (record,) = [record for record in caplog.records if record.name == "opool"]
    said = record.getMessage()
    assert said.startswith("pool 'db': probably a deadlock: all 2 objects are with tasks that wait for this pool")
    assert said.count("of thread 'MainThread' holds 1") == 2 and "in twice" in said


def test_a_task_that_holds_and_does_not_wait_is_no_part_of_a_deadlock(monkeypatch, caplog):
    monkeypatch.setattr(_deadlock, "CHECK_INTERVAL", 0.05)
    pool = opool.Pool(["a", "b"])

    async def main():
        async with pool.lease_async(), pool.lease_async():
            waiter = asyncio.ensure_future(enter(pool))
            await asyncio.sleep(0.3)
        await waiter

    ASYNCIO.run(main)
    assert caplog.records == []


def test_while_objects_go_from_hand_to_hand_nobody_looks_at_stacks(monkeypatch):
    looked = []

    def look(*args, look=_deadlock._check):
        looked.append(args)
        look(*args)

    monkeypatch.setattr(_deadlock, "CHECK_INTERVAL", 0.5)
    monkeypatch.setattr(_deadlock, "_check", look)
    monkeypatch.setattr(_deadlock, "_is_stuck", lambda pool: pytest.fail("somebody looks"))
    pool = opool.Pool(["a"])

    async def main():
        async def work():
            while len(looked) < 3:
                async with pool.lease_async():
                    await asyncio.sleep(0.001)

        await asyncio.gather(work(), work())

    ASYNCIO.run(main)


def test_stats_count_tasks_as_they_count_threads():
    pool = opool.Pool(["a"], timing=True, max_waiting=1)

    async def main():
        async with pool.lease_async():
            waiting = asyncio.ensure_future(enter(pool))
            await asyncio.sleep(0)
            with pytest.raises(opool.TooManyWaiters):
                await enter(pool)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(opool.PoolTimeout):
                await pool.lease_async(timeout=0)
        (await pool.lease_async()).release()

    ASYNCIO.run(main)
    stats = pool.stats()
    assert (stats.leases, stats.timeouts, stats.refused, stats.waiting) == (2, 1, 1, 0)
    assert sum(stats.use_time.counts) == 2 and sum(stats.wait_time.counts) == 2
    check_invariants(pool)


# ----------------------------------------------------------------------------------------------------------------------
# Fork


@can_fork
def test_after_a_fork_the_running_task_holds_on_and_all_others_are_gone():
    run_child(
        """
        import asyncio, concurrent.futures.thread, inspect, os, sys, threading, warnings  # the second: not at the fork
        import opool
        warnings.simplefilter("ignore", DeprecationWarning)

        pool = opool.Pool(["a", "b"])
        ready, over = threading.Event(), threading.Event()
        theirs = []

        async def hold():
            async with pool.lease_async():
                ready.set()
                await asyncio.get_running_loop().run_in_executor(None, over.wait)

        async def wait():
            async with pool.lease_async(timeout=None):
                pass

        async def elsewhere():
            tasks = [asyncio.ensure_future(hold()), asyncio.ensure_future(wait_in_the_queue())]
            await asyncio.gather(*tasks)

        async def wait_in_the_queue():
            coroutine = wait()
            theirs.append(coroutine)
            while pool.idle:
                await asyncio.sleep(0.001)
            await coroutine

        other = threading.Thread(target=lambda: asyncio.run(elsewhere()), daemon=True)

        async def in_the_child():
            # The queue is whole: three who wait at the same time are three.
            leases = [pool.lease(), pool.lease()]
            tasks = [asyncio.ensure_future(wait()) for _ in range(3)]
            await asyncio.sleep(0)
            assert pool.waiting == 3
            leases[0].release()
            await asyncio.gather(*tasks)
            leases[1].release()

        def check(mine, keep, task):
            # The object of the other thread's task is free: nobody is left in the queue.
            assert (pool.size, pool.idle, pool.leased, pool.waiting) == (2, 1, 1, 0), pool
            assert [holder.obj for holder in pool.holders()] == [mine], pool.holders()
            theirs[0].close()  # ends nobody's wait but its own, which is over
            task.get_coro().close()  # so does this
            assert (pool.idle, pool.waiting) == (1, 0), pool
            type(keep).__aexit__(keep, None, None, None)
            assert (pool.idle, pool.waiting) == (2, 0), pool
            asyncio.run(in_the_child())
            assert (pool.idle, pool.waiting) == (2, 0), pool

        async def main():
            keep = pool.lease_async()
            mine = await type(keep).__aenter__(keep)
            other.start()
            ready.wait()
            task = asyncio.ensure_future(wait())
            # It waits before it is suspended, and a coroutine that runs could not be closed in the child.
            while pool.waiting < 2 or inspect.getcoroutinestate(theirs[0]) != inspect.CORO_SUSPENDED:
                await asyncio.sleep(0.001)
            child = os.fork()
            if child == 0:
                # Its event loop is not to go on: it shares its pipes with the parent's.
                try:
                    check(mine, keep, task)
                    os._exit(0)
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                    os._exit(1)
            await type(keep).__aexit__(keep, None, None, None)
            _, status = os.waitpid(child, 0)
            assert status == 0
            over.set()
            await task

        asyncio.run(main())
        other.join()
        assert (pool.idle, pool.waiting) == (2, 0), pool
        """
    )


@can_fork
def test_a_lease_of_another_threads_task_is_over_in_the_child_and_says_so():
    run_child(
        """
        import asyncio, concurrent.futures.thread, os, sys, threading, warnings  # the second: not at the fork
        import opool
        warnings.simplefilter("ignore", DeprecationWarning)

        pool = opool.Pool(["a"])
        ready, over = threading.Event(), threading.Event()
        leases = []

        async def hold():
            lease = pool.lease_async()
            leases.append(lease)
            async with lease:
                ready.set()
                await asyncio.get_running_loop().run_in_executor(None, over.wait)

        other = threading.Thread(target=lambda: asyncio.run(hold()))
        other.start()
        ready.wait()
        child = os.fork()
        if child == 0:
            try:
                assert (pool.idle, pool.leased) == (1, 0), pool
                try:
                    type(leases[0]).__aexit__(leases[0], None, None, None)
                except opool.LeaseError as error:
                    assert "fork" in str(error), error
                else:
                    raise AssertionError("left")
                with pool.lease():
                    pass
                assert pool.idle == 1
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        over.set()
        other.join()
        assert pool.idle == 1
        """
    )


@every_asyncio
def test_holders_name_the_task_that_holds_the_object(loop):
    pool = opool.Pool(things(3))

    async def hold():
        async with pool.lease_async():
            await asyncio.sleep(60)

    async def main():
        tasks = [asyncio.create_task(hold(), name=f"holder {i}") for i in range(2)]
        await until(loop, lambda: pool.leased == 2)
        async with pool.lease_async():
            names = sorted(holder.task for holder in pool.holders())
            mine = asyncio.current_task().get_name()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert names == sorted(["holder 0", "holder 1", mine])

    loop.run(main)


@pytest.mark.skipif(not HAS_GIL, reason="the stacks of another thread's tasks cannot be read")
def test_holders_name_the_tasks_of_another_threads_loop_in_which_nobody_waits():
    pool, over = opool.Pool(things(2)), threading.Event()

    async def hold():
        async with pool.lease_async():
            while not over.is_set():
                await asyncio.sleep(0.001)

    async def main():
        await asyncio.gather(*(asyncio.create_task(hold(), name=f"holder {i}") for i in range(2)))

    def names():
        return sorted(str(holder.task) for holder in pool.holders())

    crew = Crew(1, lambda _: asyncio.run(main()))
    eventually(lambda: names() == ["holder 0", "holder 1"])  # one of them may run at the moment
    over.set()
    crew.join()


def test_a_lease_that_another_thread_drops_comes_back_while_its_own_thread_waits():
    # Without a GIL it dies in the thread that made it, when that runs Python.
    run_child("""
import threading, time
import opool
pool, box, ready = opool.Pool(["only"]), [], threading.Event()
def owner():
    box.append(pool.lease())
    ready.set()
    pool.lease(timeout=100).release()
thread = threading.Thread(target=owner)
thread.start()
ready.wait()
while not pool.waiting:
    time.sleep(0.001)
start = time.monotonic()
box.clear()
thread.join()
assert time.monotonic() - start < 50
""")
