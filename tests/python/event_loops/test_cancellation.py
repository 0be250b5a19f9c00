"""A task that is cancelled, closed, dropped, or left behind by its event loop loses nothing, at whatever step."""

import asyncio
import logging
import random
import threading
import weakref

import pytest

import opool
from loops import ASYNCIO, TRIO, collect, every_asyncio, every_loop, queue_up, until
from opool.testing import check_invariants
from support import LIMIT, assert_whole, eventually, run_child, state, things


@pytest.fixture
def quiet():
    """asyncio's own complaints about tasks that were left behind, which is what these tests do."""
    logger = logging.getLogger("asyncio")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(before)


async def enter(pool, body=None):
    async with pool.lease_async(timeout=None) as obj:
        if body is not None:
            await body
        return obj


async def take(pool):
    return await pool.lease_async(timeout=None)


async def forever():
    await asyncio.get_running_loop().create_future()


FORMS = [enter, take]


def drive(pool, form):
    """A coroutine that stands in the queue of `pool`, driven by hand: nobody else resumes or cancels it."""
    coroutine = form(pool)
    turn = coroutine.send(None)
    assert turn._asyncio_future_blocking is True
    turn._asyncio_future_blocking = False
    return coroutine, turn


def in_a_loop(test):
    """Lets a test that awaits nothing itself run in a step of an event loop."""

    async def main(*args, **kwargs):
        test(*args, **kwargs)

    def run(*args, **kwargs):
        ASYNCIO.run(lambda: main(*args, **kwargs))

    run.__name__ = test.__name__
    return run


# ----------------------------------------------------------------------------------------------------------------------
# Step by step, by hand


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["close", "throw", "drop"])
@pytest.mark.parametrize("step", ["not begun", "queued", "handed over", "handed over and called"])
def test_a_coroutine_that_ends_before_it_has_the_object_passes_it_on(form, end, step):
    pool = opool.Pool(["a"])

    async def main():
        lease = pool.lease()
        coroutine, turn = drive(pool, form) if step != "not begun" else (form(pool), None)
        called = []
        if turn is not None:
            turn.add_done_callback(called.append)
        next_one = asyncio.ensure_future(enter(pool))
        await asyncio.sleep(0)
        if step.startswith("handed"):
            lease.release()
        if step.endswith("called"):
            await asyncio.sleep(0)
            assert called == [turn] and not next_one.done()
        if end == "close":
            coroutine.close()
        elif end == "throw":
            with pytest.raises(LookupError):
                coroutine.throw(LookupError())
        elif step != "not begun":
            del coroutine, turn
            called.clear()
            collect()
        else:
            coroutine.close()
        assert pool.waiting == (0 if step.startswith("handed") else 1)
        if not step.startswith("handed"):
            lease.release()
        assert await next_one == "a"

    ASYNCIO.run(main)
    assert_whole(pool, ["a"])
    check_invariants(pool)


@pytest.mark.parametrize("form", FORMS)
def test_what_a_coroutine_has_that_is_closed_or_dropped_in_its_body_comes_back(form):
    pool = opool.Pool(["a"])

    async def main():
        for end in ("close", "throw", "drop"):
            coroutine = hold(pool, form)
            coroutine.send(None)
            assert pool.idle == 0
            if end == "close":
                coroutine.close()
            elif end == "throw":
                with pytest.raises(LookupError):
                    coroutine.throw(LookupError())
            del coroutine
            assert_whole(pool, ["a"])

    async def hold(pool, form):
        if form is enter:
            await enter(pool, forever())
        else:
            with await take(pool):
                await forever()

    ASYNCIO.run(main)


def test_a_lease_by_hand_that_is_dropped_while_it_waits_or_holds_gives_back():
    pool = opool.Pool(["a"])

    async def main():
        for _ in range(3):
            holder = pool.lease_async()
            with pytest.raises(StopIteration) as entered:
                type(holder).__aenter__(holder).send(None)
            assert entered.value.value == "a"
            del entered
            waiter = pool.lease_async()
            waiter.send(None)
            assert state(pool) == (1, 0, 1, 1)
            del waiter
            assert state(pool) == (1, 0, 1, 0)
            del holder
            assert_whole(pool, ["a"])

    ASYNCIO.run(main)


def test_throw_and_close_by_hand_do_what_generators_do():
    pool = opool.Pool(["a"])

    async def main():
        async with pool.lease_async():
            for thrown in ((LookupError("x"),), (LookupError, "x"), (LookupError, LookupError("x"), None)):
                lease = pool.lease_async()
                lease.send(None)
                with pytest.raises(LookupError, match="x"):
                    lease.throw(*thrown)
                assert pool.waiting == 0
                with pytest.raises(opool.LeaseError):
                    lease.send(None)
            lease = pool.lease_async()
            lease.send(None)
            for nonsense in ((), (1,)):
                with pytest.raises(TypeError):
                    lease.throw(*nonsense)
            lease = pool.lease_async()
            lease.send(None)
            assert lease.close() is None and lease.close() is None and pool.waiting == 0

    ASYNCIO.run(main)
    assert_whole(pool, ["a"])


@pytest.mark.parametrize("reset", [None, lambda obj: None])
@pytest.mark.parametrize("how", ["close", "drop"])
def test_each_of_many_that_were_given_something_passes_it_on_when_it_goes(how, reset):
    pool = opool.Pool(["a"], reset=reset)

    async def main():
        lease = pool.lease()
        waiting = [drive(pool, enter) for _ in range(50)]
        lease.release()
        while waiting:
            coroutine, turn = waiting.pop(0)
            if how == "close":
                coroutine.close()
            del coroutine, turn
        await until(ASYNCIO, lambda: pool.idle == 1)

    ASYNCIO.run(main)
    assert_whole(pool, ["a"])


# ----------------------------------------------------------------------------------------------------------------------
# Tasks


@every_loop
@pytest.mark.parametrize("form", FORMS)
def test_a_task_that_is_cancelled_before_its_first_step_takes_nothing(loop, form):
    pool = opool.Pool(["a"])

    async def main():
        async with loop.group() as group:
            task = group.start(form, pool)
            task.cancel()
        # Trio begins a task in any case, and cancels it where it waits for the first time.
        assert task.result is None or loop is TRIO

    loop.run(main)
    collect()
    assert_whole(pool, ["a"])


@every_loop
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_task_that_is_cancelled_in_the_queue_leaves_it(loop, form, times):
    pool = opool.Pool(["a"])

    async def main():
        async with loop.group() as group:
            async with pool.lease_async():
                first = await queue_up(loop, group, pool, form, pool)
                second = await queue_up(loop, group, pool, form, pool)
                for _ in range(times):
                    first.cancel()
                await until(loop, lambda: first.ended)
                assert first.cancelled and pool.waiting == 1
            await until(loop, lambda: second.ended)
        assert second.error is None and second.result is not None

    loop.run(main)
    collect()
    assert_whole(pool, ["a"])


@every_loop
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["release, cancel", "cancel, release", "cancel, release, cancel"])
def test_a_task_that_is_cancelled_in_the_step_of_the_hand_over_has_it_or_passes_it_on(loop, form, order):
    pool = opool.Pool(["a"])

    async def main():
        async with loop.group() as group:
            lease = pool.lease()
            first = await queue_up(loop, group, pool, form, pool)
            second = await queue_up(loop, group, pool, form, pool)
            for what in order.split(", "):
                lease.release() if what == "release" else first.cancel()
            await until(loop, lambda: first.ended and (second.ended or first.result is not None))
            first.result = None
        assert second.error is None and second.result is not None

    loop.run(main)
    collect()
    assert_whole(pool, ["a"])


@every_loop
@pytest.mark.parametrize("steps", range(4))
def test_so_many_steps_after_the_hand_over_nothing_is_lost_either(loop, steps):
    pool = opool.Pool(["a"])

    async def main():
        async with loop.group() as group:
            lease = pool.lease()
            tasks = [await queue_up(loop, group, pool, use) for _ in range(3)]
            await loop.in_thread(lease.release)
            for _ in range(steps):
                await loop.sleep(0)
            tasks[0].cancel()
        assert all(task.ended for task in tasks) and not any(task.cancelled for task in tasks[1:])

    async def use():
        async with pool.lease_async():
            await loop.sleep(0)

    loop.run(main)
    assert_whole(pool, ["a"])


@every_asyncio
def test_the_message_of_a_cancellation_comes_through(loop):
    pool = opool.Pool([])

    async def main():
        async def wait():
            try:
                await enter(pool)
            except asyncio.CancelledError as error:
                seen.append(error.args)
                raise

        for arguments in ((), ("enough",)):
            task = asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            task.cancel(*arguments)
            with pytest.raises(asyncio.CancelledError):
                await task

    seen = []
    loop.run(main)
    assert seen == [(), ("enough",)]


@every_asyncio
def test_a_task_that_takes_no_notice_of_its_cancellation_can_wait_again(loop):
    pool = opool.Pool(["a"])

    async def stubborn():
        try:
            await enter(pool)
        except asyncio.CancelledError:
            return await enter(pool)

    async def main():
        async with pool.lease_async():
            task, other = asyncio.ensure_future(stubborn()), asyncio.ensure_future(enter(pool))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert pool.waiting == 2
        assert await asyncio.gather(task, other) == ["a", "a"]

    loop.run(main)
    assert_whole(pool, ["a"])


def test_a_task_is_cancelled_while_the_hook_runs_that_its_own_wait_began():
    pool = opool.Pool(factory=lambda: (making.wait(60), "a")[1], max_size=1)
    making = threading.Event()

    async def main():
        task = asyncio.ensure_future(enter(pool))
        await until(ASYNCIO, lambda: pool.stats().creating == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        making.set()
        assert await enter(pool) == "a"

    ASYNCIO.run(main)
    assert pool.stats().created == 1
    pool.close()


def test_an_exception_in_what_follows_a_hand_over_does_not_keep_the_object():
    run_child(
        """
        import asyncio
        import opool
        from opool import _threads

        broken, raised, start = [], [], _threads.start

        def start_or_raise(*arguments):
            if broken:
                raised.append(arguments)
                raise OSError("no threads")
            return start(*arguments)

        _threads.start = start_or_raise  # before the extension looks it up, which it does once
        pool = opool.Pool(["a"], leak_after=1000.0)

        async def enter():
            async with pool.lease_async():
                pass

        async def main():
            broken.append(True)
            try:
                lease = pool.lease()
            except OSError:
                broken.clear()
                lease = pool.lease()
                broken.append(True)
            task = asyncio.ensure_future(enter())
            await asyncio.sleep(0)
            assert pool.waiting <= 1
            try:
                lease.release()
            except OSError:
                pass
            try:
                await task
            except OSError:
                pass

        asyncio.run(main())
        assert raised
        broken.clear()
        assert (pool.idle, pool.leased, pool.waiting) == (1, 0, 0)
        """
    )


# ----------------------------------------------------------------------------------------------------------------------
# By the thousand


@every_asyncio
def test_of_3000_cancellations_and_tiny_timeouts_none_loses_anything(loop):
    objects = things(4)
    pool = opool.Pool(objects)
    rng = random.Random(7)
    ends = {"done": 0, "cancelled": 0, "late": 0}

    async def use(kind):
        if kind == 0:
            async with pool.lease_async(timeout=rng.choice([None, 0.001, 0])):
                await asyncio.sleep(rng.choice([0, 0, 0.0005]))
        elif kind == 1:
            with await asyncio.wait_for(pool.lease_async(timeout=None), rng.choice([0.0001, 0.001, 1])):
                await asyncio.sleep(0)
        else:
            await asyncio.wait_for(use(0), rng.choice([0, 0.0002, 0.002]))

    async def one(i):
        task = asyncio.ensure_future(use(i % 3))
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        if rng.random() < 0.5:
            task.cancel()
        try:
            await task
            ends["done"] += 1
        except asyncio.CancelledError:
            ends["cancelled"] += 1
        except (asyncio.TimeoutError, opool.PoolTimeout):
            ends["late"] += 1

    async def main():
        for start in range(0, 3000, 60):
            await asyncio.gather(*(one(start + i) for i in range(60)))

    loop.run(main)
    collect()
    assert sum(ends.values()) == 3000 and min(ends.values()) > 50, ends
    assert_whole(pool, objects)
    check_invariants(pool)


def test_of_1500_scopes_of_trio_that_are_cancelled_none_loses_anything():
    import trio

    objects = things(4)
    pool = opool.Pool(objects)
    rng = random.Random(11)
    done = []

    async def use(i):
        with trio.move_on_after(rng.choice([0, 0.0001, 0.001, 1])) as scope:
            async with trio.open_nursery() as nursery:
                if i % 3 == 0:
                    nursery.start_soon(cancel_later, scope)
                if i % 2:
                    async with pool.lease_async(timeout=None):
                        await trio.sleep(rng.choice([0, 0, 0.0005]))
                else:
                    with await pool.lease_async(timeout=None):
                        await trio.sleep(0)
                done.append(i)

    async def cancel_later(scope):
        for _ in range(rng.randrange(6)):
            await trio.sleep(0)
        scope.cancel()

    async def main():
        for start in range(0, 1500, 60):
            async with trio.open_nursery() as nursery:
                for i in range(60):
                    nursery.start_soon(use, start + i)

    trio.run(main)
    assert 50 < len(done) < 1450
    assert_whole(pool, objects)
    check_invariants(pool)


def test_threads_give_and_take_while_tasks_in_two_loops_are_cancelled():
    objects = things(3)
    pool = opool.Pool(objects)
    stop = threading.Event()

    def thread():
        while not stop.is_set():
            with pool.lease():
                pass

    def loop(seed):
        rng = random.Random(seed)

        async def main():
            for _ in range(40):
                tasks = [asyncio.ensure_future(enter(pool)) for _ in range(20)]
                for task in rng.sample(tasks, 10):
                    await asyncio.sleep(0)
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        ASYNCIO.run(main)

    workers = [threading.Thread(target=thread, daemon=True) for _ in range(2)]
    loops = [threading.Thread(target=loop, args=(seed,), daemon=True) for seed in range(2)]
    for it in [*workers, *loops]:
        it.start()
    for it in loops:
        it.join(LIMIT)
        assert not it.is_alive()
    stop.set()
    for it in workers:
        it.join(LIMIT)
    assert_whole(pool, objects)


# ----------------------------------------------------------------------------------------------------------------------
# Event loops that end


def step(loop):
    """One step of an event loop."""
    loop.call_soon(loop.stop)
    loop.run_forever()


@every_asyncio
@pytest.mark.parametrize("waiters", [1, 20_000])
def test_those_who_wait_in_a_closed_event_loop_are_passed_over(loop, waiters, quiet):
    pool = opool.Pool(["a"])
    lease = pool.lease()
    dead = loop.new()
    tasks = [dead.create_task(enter(pool)) for _ in range(waiters)]
    step(dead)
    assert pool.waiting == waiters
    dead.close()
    other = threading.Thread(target=lambda: ASYNCIO.run(enter, pool), daemon=True)
    other.start()
    eventually(lambda: pool.waiting == waiters + 1)
    lease.release()
    other.join(LIMIT)
    assert not other.is_alive()
    assert_whole(pool, ["a"])
    del tasks


@every_asyncio
@pytest.mark.parametrize("giver", ["in a task", "in a thread"])
def test_what_was_handed_to_an_event_loop_that_is_closed_before_it_gets_there_goes_on(loop, giver, quiet):
    pool = opool.Pool(["a"])
    lease = pool.lease()
    dead = loop.new()
    tasks = [dead.create_task(enter(pool)) for _ in range(3)]
    step(dead)

    def give():
        if giver == "in a task":
            lease.release()
        else:
            thread = threading.Thread(target=lease.release)
            thread.start()
            thread.join()
        assert state(pool) == (1, 0, 1, 2)
        dead.stop()

    dead.call_soon(give)
    dead.run_forever()
    # uvloop runs what was called meanwhile before it stops.
    step_left = pool.waiting
    dead.close()
    assert step_left in (2, 1, 0)
    with pool.lease(timeout=60):
        pass
    assert_whole(pool, ["a"])
    del tasks


@every_asyncio
def test_an_event_loop_that_stands_still_loses_its_turn_and_queues_again_when_it_goes_on(loop):
    pool = opool.Pool(["a"])
    lease = pool.lease()
    still = loop.new()
    task = still.create_task(enter(pool))
    step(still)
    lease.release()
    assert state(pool) == (1, 1, 0, 0)
    lease = pool.lease()
    for _ in range(3):
        step(still)
    assert state(pool) == (1, 0, 1, 1)
    lease.release()
    assert still.run_until_complete(task) == "a"
    still.close()
    assert_whole(pool, ["a"])


def test_a_thread_that_ends_with_its_event_loop_and_waiters_holds_up_nobody(quiet):
    pool = opool.Pool(["a"])
    lease = pool.lease()

    def live_and_die():
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(enter(pool)) for _ in range(3)]
        step(loop)
        loops.append((loop, tasks))

    loops = []
    thread = threading.Thread(target=live_and_die)
    thread.start()
    thread.join(LIMIT)
    assert pool.waiting == 3
    lease.release()
    assert_whole(pool, ["a"])
    loops[0][0].close()


@every_asyncio
def test_what_a_closed_event_loop_left_entered_comes_back_with_its_tasks(loop, quiet):
    pool = opool.Pool(["a", "b"])
    dead = loop.new()
    holders = [dead.create_task(enter(pool, forever())) for _ in range(2)]
    step(dead)
    assert pool.idle == 0
    dead.close()
    holders[0].get_coro().close()
    assert pool.idle == 1
    del holders, dead
    collect()
    assert_whole(pool, ["a", "b"])


def test_tasks_in_cycles_of_references_give_back_when_they_are_collected(quiet):
    pool = opool.Pool(["a"])

    class Node:
        pass

    for hold in (True, False):
        lease = None if hold else pool.lease()
        node = Node()
        node.loop = asyncio.new_event_loop()

        async def use(node):
            async with pool.lease_async(timeout=None):
                await node.loop.create_future()

        node.task = node.loop.create_task(use(node))
        step(node.loop)
        assert state(pool) == ((1, 0, 1, 0) if hold else (1, 0, 1, 1))
        node.loop.close()
        gone = weakref.ref(node)
        del node, use
        collect()
        if lease is not None:
            # In the queue it is the pool that knows the task, until it is its turn.
            lease.release()
            collect()
        assert gone() is None
        assert_whole(pool, ["a"])


def test_the_end_of_a_body_that_is_collected_still_has_its_object():
    pool = opool.Pool(["a"])
    seen = []

    class Node:
        pass

    async def use(node):
        async with pool.lease_async():
            try:
                await node.future
            finally:
                seen.append(state(pool))

    async def main():
        # In any order, as seen from the collector.
        for others in range(6):
            node = Node()
            node.future = asyncio.get_running_loop().create_future()
            node.before = [Node() for _ in range(others)]
            node.coroutine = use(node)
            node.coroutine.send(None)
            del node
            collect()
            assert_whole(pool, ["a"])

    ASYNCIO.run(main)
    assert seen == [(1, 0, 1, 0)] * 6


def test_a_keyboard_interrupt_in_a_running_event_loop_loses_nothing():
    run_child(
        """
        import _thread, asyncio, threading, opool

        pool = opool.Pool(["a", "b"])

        async def use():
            while True:
                async with pool.lease_async(timeout=None):
                    await asyncio.sleep(0)

        async def main():
            tasks = [asyncio.ensure_future(use()) for _ in range(20)]
            threading.Timer(0.1, _thread.interrupt_main).start()
            await asyncio.gather(*tasks)

        for _ in range(3):
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError("not interrupted")
            assert (pool.idle, pool.waiting) == (2, 0), pool
        """
    )


def test_an_exception_that_ends_the_event_loop_reaches_one_task_and_the_others_have_their_turn():
    pool = opool.Pool(["a", "b"])

    class End(SystemExit):
        pass

    async def end():
        async with pool.lease_async():
            raise End

    async def main():
        first, second = pool.lease(), pool.lease()
        tasks = [asyncio.ensure_future(end()), asyncio.ensure_future(enter(pool))]
        await asyncio.sleep(0)
        first.release()
        second.release()
        await tasks[1]

    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    with pytest.raises(End):
        loop.run_forever()
    loop.run_until_complete(task)
    loop.close()
    assert_whole(pool, ["a", "b"])


@pytest.mark.parametrize("new", ["asyncio.new_event_loop()", "uvloop.new_event_loop()"])
@pytest.mark.parametrize("end", ["", "os._exit(0)", "sys.exit(0)", "loop.close()", "del loop, task, pool, lease"])
def test_an_interpreter_ends_well_with_tasks_that_wait_and_hold(new, end):
    if "uvloop" in new:
        pytest.importorskip("uvloop")
    run_child(
        f"""
        import asyncio, logging, os, sys, threading, warnings
        import opool
        warnings.simplefilter("ignore")
        logging.getLogger("asyncio").setLevel(100)
        if "uvloop" in {new!r}:
            import uvloop

        pool = opool.Pool(["a", "b"])
        asked = threading.Event()

        async def wait(asks=lambda: None):
            lease = pool.lease_async(timeout=None)
            asks()
            async with lease:
                await asyncio.get_running_loop().create_future()

        def elsewhere():
            asyncio.run(wait(asked.set))

        thread = threading.Thread(target=elsewhere, daemon=True)
        thread.start()
        assert asked.wait(20)
        loop = {new}
        lease = pool.lease()
        task = [loop.create_task(wait()) for _ in range(3)]
        loop.call_soon(loop.stop)
        loop.run_forever()
        {end}
        """
    )


def test_trio_that_ends_with_tasks_in_the_queue_loses_nothing():
    import trio

    pool = opool.Pool(["a"])

    class End(Exception):
        pass

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(enter, pool)
            await until(TRIO, lambda: pool.waiting == 3)
            raise End

    lease = pool.lease()
    with pytest.raises(BaseException) as failure:
        trio.run(main)
    assert isinstance(failure.value, End) or isinstance(failure.value.exceptions[0], End)
    assert pool.waiting == 0
    lease.release()
    assert_whole(pool, ["a"])


@pytest.mark.parametrize("moment", ["queued", "handed"])
def test_nothing_is_lost_if_there_is_no_memory_at_any_step_of_a_wait(moment):
    pytest.importorskip("_testcapi")
    run_child(
        f"""
        import _testcapi, asyncio, gc, sys
        import opool

        pool = opool.Pool(["a"])

        async def use():
            async with pool.lease_async(timeout=50):
                pass

        async def main():
            held = pool.lease()
            warm = asyncio.ensure_future(use())
            await asyncio.sleep(0)
            held.release()
            await warm
            for n in range(0, 60):
                lease = pool.lease()
                coroutine = use()
                if {moment!r} == "queued":
                    _testcapi.set_nomemory(n, n + 1)
                    try:
                        turn = coroutine.send(None)
                    except MemoryError:
                        turn = None
                    finally:
                        _testcapi.remove_mem_hooks()
                    lease.release()
                else:
                    turn = coroutine.send(None)
                    turn._asyncio_future_blocking = False
                    turn.add_done_callback(lambda turn: None)
                    _testcapi.set_nomemory(n, n + 1)
                    try:
                        lease.release()
                    except MemoryError:
                        pass
                    finally:
                        _testcapi.remove_mem_hooks()
                coroutine.close()
                del coroutine, turn
                for _ in range(3):
                    await asyncio.sleep(0)
                assert (pool.idle, pool.waiting) == (1, 0), (n, pool)

        asyncio.run(main())
        """,
    )
