"""`lease_async`: what `async with` and `await` do in every event loop, and what they tell those who misuse them."""

import asyncio
import contextlib
import contextvars
import gc
import sys
import weakref
from collections.abc import Coroutine

import pytest
import trio

import opool
from loops import ASYNCIO, ASYNCIOS, TRIO, collect, every_asyncio, every_loop, queue_up, until
from opool.testing import Clock, check_invariants
from support import Thing, assert_whole, run_child, state, things

since_3_11 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has it since 3.11")
since_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has it since 3.12")


async def enter(pool, **kwargs):
    async with pool.lease_async(**kwargs) as obj:
        return obj


@every_loop
def test_in_an_async_with_the_lease_is_its_object_and_gives_it_back_at_the_end(loop):
    (x,) = things(1)
    pool = opool.Pool([x])

    async def main():
        async with pool.lease_async() as obj:
            assert obj is x and state(pool) == (1, 0, 1, 0)
        assert_whole(pool, [x])

    loop.run(main)
    check_invariants(pool)


@every_loop
def test_awaited_it_is_a_lease_that_is_released_by_whoever_has_it(loop):
    (x,) = things(1)
    pool = opool.Pool([x])

    async def main():
        lease = await pool.lease_async()
        assert type(lease) is opool.Lease and lease.obj is x and pool.idle == 0
        with lease as obj:
            assert obj is x
        assert_whole(pool, [x])

    loop.run(main)


def test_it_is_an_async_context_manager_and_what_it_enters_by_is_a_coroutine():
    lease = opool.Pool(["a"]).lease_async()
    assert isinstance(lease, contextlib.AbstractAsyncContextManager)
    assert isinstance(lease.__aenter__(), Coroutine)
    assert not isinstance(opool.Pool(["a"]).lease(), contextlib.AbstractAsyncContextManager)


@every_loop
def test_an_exception_of_the_body_comes_out_as_it_is_and_the_object_is_back(loop):
    pool = opool.Pool(["a"])

    async def main():
        with pytest.raises(LookupError, match="mine"):
            async with pool.lease_async():
                raise LookupError("mine")

    loop.run(main)
    assert_whole(pool, ["a"])


@every_loop
def test_an_object_that_is_free_is_had_without_a_turn_of_the_event_loop(loop):
    pool = opool.Pool(["a"])

    async def both():
        async with pool.lease_async():
            pass
        (await pool.lease_async()).release()

    with pytest.raises(StopIteration):
        both().send(None)


@every_loop
@pytest.mark.parametrize("form", ["async with", "await"])
def test_tasks_that_wait_are_served_in_the_order_in_which_they_came(loop, form):
    pool = opool.Pool(["a"])
    order = []

    async def use(i):
        if form == "await":
            with await pool.lease_async():
                order.append(i)
                await loop.sleep(0)
        else:
            async with pool.lease_async():
                order.append(i)
                await loop.sleep(0)

    async def main():
        async with loop.group() as group:
            async with pool.lease_async():
                for i in range(20):
                    await queue_up(loop, group, pool, use, i)

    loop.run(main)
    assert order == list(range(20))
    assert_whole(pool, ["a"])


@every_loop
def test_a_wait_that_is_too_long_says_how_long_it_was_and_what_the_pool_was_doing(loop):
    pool = opool.Pool(["a"], name="letters")

    async def main():
        async with pool.lease_async():
            async with loop.group() as group:
                late = await queue_up(loop, group, pool, impatient)
            return late.error

    async def impatient():
        await enter(pool, timeout=0.05)

    error = loop.run(main)
    assert isinstance(error, opool.PoolTimeout)
    assert "pool 'letters': no object came free within 0.05 s (size 1, idle 0, leased 1" in str(error)
    assert pool.stats().timeouts == 1
    assert_whole(pool, ["a"])


def test_who_waits_in_vain_is_not_told_that_its_thread_has_an_object_when_another_task_has_it():
    pool = opool.Pool(["a"])

    async def main():
        async with pool.lease_async():
            with pytest.raises(opool.PoolTimeout, match="Held longest: a task of thread 'MainThread'") as caught:
                await pool.lease_async(timeout=0.01)
            assert "(this one)" not in str(caught.value)
            assert "This very thread" not in str(caught.value)

    asyncio.run(main())


@every_loop
def test_those_whose_time_is_up_leave_alone_however_they_stand_in_the_queue(loop):
    pool = opool.Pool(["a"])
    begun, ended = [], []

    async def use(name, timeout):
        begun.append(name)
        try:
            async with pool.lease_async(timeout=timeout):
                ended.append(name)
        except opool.PoolTimeout:
            ended.append(f"{name} is late")

    async def main():
        async with loop.group() as group:
            async with pool.lease_async():
                for name, timeout in [("a", None), ("b", 1000), ("c", 0.6), ("d", 1000), ("e", 0.4), ("f", 0.2)]:
                    group.start(use, name, timeout)
                    await until(loop, lambda name=name: name in begun)
                await until(loop, lambda: len(ended) == 3)
                assert pool.waiting == 3

    loop.run(main)
    assert set(ended[:3]) == {"c is late", "e is late", "f is late"} and ended[3:] == ["a", "b", "d"]


def test_the_pools_own_timeout_counts_where_none_is_given():
    pool = opool.Pool([], timeout=0.01)
    with pytest.raises(opool.PoolTimeout, match="0.01 s"):
        ASYNCIO.run(enter, pool)


def test_no_more_than_one_timer_waits_for_all_those_whose_time_is_limited():
    pool = opool.Pool(["a"])

    async def main():
        loop = asyncio.get_running_loop()
        async with pool.lease_async():
            waiting = [asyncio.ensure_future(enter(pool, timeout=1000 - i)) for i in range(50)]
            await asyncio.sleep(0)
            timers = [timer for timer in loop._scheduled if not timer.cancelled()]
            assert len(timers) == 2  # and one that looks for deadlocks
        await asyncio.gather(*waiting)

    ASYNCIO.run(main)


def test_an_event_loop_that_stands_still_keeps_nobody_else_from_being_sent_away():
    pool = opool.Pool([])
    still = asyncio.new_event_loop()
    sleeper = still.create_task(enter(pool, timeout=0.01))
    still.run_until_complete(asyncio.sleep(0))
    assert pool.waiting == 1
    with pytest.raises(opool.PoolTimeout):
        ASYNCIO.run(lambda: enter(pool, timeout=0.02))
    with pytest.raises(opool.PoolTimeout):
        still.run_until_complete(sleeper)
    still.close()


def test_on_a_clock_of_a_test_time_is_up_when_it_has_passed_there():
    clock = Clock()
    pool = opool.Pool(["a"], clock=clock)

    async def main():
        async with pool.lease_async():
            task = asyncio.ensure_future(enter(pool, timeout=5))
            await asyncio.sleep(0)
            clock.advance(4)
            await asyncio.sleep(0)
            assert not task.done()
            clock.advance(1)
            with pytest.raises(opool.PoolTimeout, match="within 5 s"):
                await task
        async with pool.lease_async():
            clock.call_later(60, lambda: None)
        await pool.aclose()

    ASYNCIO.run(main)
    assert pool.closed


def test_more_than_max_waiting_do_not_wait():
    pool = opool.Pool(["a"], max_waiting=1)

    async def main():
        async with pool.lease_async():
            first = asyncio.ensure_future(enter(pool))
            await asyncio.sleep(0)
            with pytest.raises(opool.TooManyWaiters):
                await enter(pool)
            with pytest.raises(opool.TooManyWaiters):
                await pool.lease_async()
        await first

    ASYNCIO.run(main)
    assert pool.stats().refused == 2
    check_invariants(pool)


@every_asyncio  # trio shuffles
def test_those_who_are_sent_away_together_go_in_the_order_of_the_queue(loop):
    pool, order = opool.Pool(["a"]), []

    async def wait(number):
        with pytest.raises(opool.PoolClosed):
            await pool.lease_async()
        order.append(number)

    async def main():
        lease = await pool.lease_async()
        async with loop.group() as group:
            for number in range(5):
                group.start(wait, number)
                await until(loop, lambda count=number + 1: pool.waiting == count)
            group.start(pool.aclose)
            await until(loop, lambda: len(order) == 5)
            lease.release()

    loop.run(main)
    assert order == [0, 1, 2, 3, 4]


@every_loop
def test_closing_sends_those_away_who_wait_and_nobody_comes_in_any_more(loop):
    pool = opool.Pool(["a"])

    async def main():
        async with loop.group() as group:
            async with pool.lease_async():
                waiting = [await queue_up(loop, group, pool, enter, pool) for _ in range(3)]
                closing = group.start(pool.aclose)
                await until(loop, lambda: all(task.ended for task in waiting))
                assert not closing.ended
        assert [type(task.error) for task in waiting] == [opool.PoolClosed] * 3 and closing.ended
        for attempt in (enter(pool), pool.lease_async()):
            with pytest.raises(opool.PoolClosed):
                await attempt

    loop.run(main)
    check_invariants(pool)


def test_a_lease_is_used_once_whatever_the_second_use_is():
    pool = opool.Pool(["a"])

    async def main():
        entered, awaited = pool.lease_async(), pool.lease_async()
        async with entered:
            with pytest.raises(opool.LeaseError, match="once"):
                await entered
            with pytest.raises(opool.LeaseError, match="once"):
                async with entered:
                    pass
        (await awaited).release()
        for used in (entered, awaited):
            with pytest.raises(opool.LeaseError, match="once"):
                await used
            with pytest.raises(opool.LeaseError, match="once"):
                async with used:
                    pass
            with pytest.raises(opool.LeaseError, match="not entered, or over"):
                await type(used).__aexit__(used, None, None, None)

    ASYNCIO.run(main)
    assert_whole(pool, ["a"])


def test_two_tasks_cannot_wait_for_one_lease():
    pool = opool.Pool(["a"])

    async def main():
        lease = pool.lease_async()

        async def wait():
            return await lease

        async with pool.lease_async():
            first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            with pytest.raises(opool.LeaseError, match="once"):
                await second
        (await first).release()

    ASYNCIO.run(main)
    assert_whole(pool, ["a"])


def test_a_lease_that_is_never_awaited_takes_nothing_and_keeps_nothing():
    pool = opool.Pool(["a"])
    lease = pool.lease_async()
    assert pool.idle == 1
    type(lease).__aenter__(lease)
    gone = weakref.ref(pool)
    gc.disable()
    try:
        del pool, lease
        assert gone() is None
    finally:
        gc.enable()


def test_a_plain_with_is_no_way_to_enter_it():
    pool = opool.Pool(["a"])
    with pytest.raises((TypeError, AttributeError)):
        with pool.lease_async():
            pass
    assert_whole(pool, ["a"])


def test_nobody_makes_one_by_hand():
    with pytest.raises(TypeError):
        opool.AsyncLease()


def test_whoever_awaited_is_the_only_one_who_knows_what_it_got():
    pool = opool.Pool(things(1))

    async def main():
        lease = await pool.lease_async()
        gone = weakref.ref(lease.obj)
        del lease
        assert pool.idle == 1  # given back, because it was dropped
        async with pool.lease_async():
            pass
        pool.lease().discard()
        assert gone() is None

    ASYNCIO.run(main)


def test_without_an_event_loop_nobody_waits():
    pool = opool.Pool(["a"])
    with pool.lease():
        for coroutine in (enter(pool), enter(pool, timeout=0)):
            with pytest.raises(RuntimeError, match="event loop"):
                coroutine.send(None)
        assert pool.waiting == 0
    assert_whole(pool, ["a"])


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", object()])
def test_an_impossible_timeout_is_told_at_the_call(timeout):
    pool = opool.Pool(["a"])
    with pytest.raises((TypeError, ValueError), match="timeout"):
        pool.lease_async(timeout=timeout)
    with pytest.raises(TypeError):
        pool.lease_async(1, 2)
    with pytest.raises(TypeError):
        pool.lease_async(seconds=1)


@every_asyncio
@pytest.mark.parametrize("timeout", [None, ..., 90.5, 10**400, 1e300, float("inf")], ids=lambda it: str(it)[:9])
def test_a_timeout_may_be_as_long_as_numbers_go(loop, timeout):
    pool = opool.Pool(["a"])

    async def main():
        async with pool.lease_async():
            waiting = asyncio.ensure_future(enter(pool, timeout=timeout))
            await asyncio.sleep(0)
        await waiting

    loop.run(main)


def test_an_exit_stack_and_calls_by_the_class_do_what_the_statement_does():
    pool = opool.Pool(["a", "b"])

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            assert await stack.enter_async_context(pool.lease_async()) == "a"
            lease = pool.lease_async()
            assert await type(lease).__aenter__(lease) == "b"
            waiting = asyncio.ensure_future(enter(pool))
            await asyncio.sleep(0)
            await type(lease).__aexit__(lease, None, None, None)
            assert await waiting == "b"
        with pytest.raises(TypeError):
            type(lease).__aenter__(object())
        with pytest.raises(TypeError):
            type(lease).__aexit__(lease, 1)

    ASYNCIO.run(main)
    assert_whole(pool, ["a", "b"])


def test_a_task_that_waited_goes_on_in_its_own_context():
    pool = opool.Pool(["a"])
    who = contextvars.ContextVar("who", default="nobody")
    seen = []

    async def use(name):
        who.set(name)
        async with pool.lease_async():
            seen.append((name, who.get()))
            await asyncio.sleep(0)
            seen.append((name, who.get()))

    async def main():
        async with pool.lease_async():
            tasks = [asyncio.ensure_future(use(name)) for name in "xyz"]
            await asyncio.sleep(0)
        who.set("main")
        await asyncio.gather(*tasks)
        assert who.get() == "main"

    ASYNCIO.run(main)
    assert seen == [(name, name) for name in "xyz" for _ in range(2)]


@every_asyncio
def test_the_debug_mode_of_asyncio_has_no_objections(loop):
    pool = opool.Pool(["a"])

    async def main():
        asyncio.get_running_loop().set_debug(True)
        async with pool.lease_async():
            tasks = [asyncio.ensure_future(enter(pool, timeout=60)) for _ in range(3)]
            await asyncio.sleep(0)
            assert "wait_for" in repr(tasks[0])
            thread = asyncio.get_running_loop().run_in_executor(None, lambda: pool.lease().release())
            await until(loop, lambda: pool.waiting == 4)
        await asyncio.gather(*tasks, thread)

    loop.run(main)


def test_the_tasks_that_are_written_in_python_work_too():
    pool = opool.Pool(["a"])

    async def main():
        loop = asyncio.get_running_loop()
        async with pool.lease_async():
            tasks = [asyncio.tasks._PyTask(enter(pool), loop=loop) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert tasks[1].cancelled() and pool.waiting == 2
        assert [await tasks[0], await tasks[2]] == ["a", "a"]

    ASYNCIO.run(main)
    assert_whole(pool, ["a"])


@since_3_12
def test_eager_tasks_wait_from_their_first_step_on():
    pool = opool.Pool(["a"])

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async with pool.lease_async():
            tasks = [asyncio.create_task(enter(pool)) for _ in range(3)]
            assert pool.waiting == 3
        assert await asyncio.gather(*tasks) == ["a"] * 3

    ASYNCIO.run(main)


@every_asyncio
def test_wait_for_and_gather_and_shield_take_a_lease_that_is_not_awaited_yet(loop):
    pool = opool.Pool(["a", "b"])

    async def main():
        (await asyncio.wait_for(pool.lease_async(), 60)).release()
        for lease in await asyncio.gather(pool.lease_async(), pool.lease_async()):
            lease.release()
        async with pool.lease_async(), pool.lease_async():
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(pool.lease_async(), 0.01)
            assert pool.waiting == 0
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(pool.lease_async()), 0.01)
            assert pool.waiting == 1
        await until(loop, lambda: pool.idle == 2)  # what the shielded one got, it has given back: nobody had it

    loop.run(main)
    assert_whole(pool, ["a", "b"])


@since_3_11
@every_asyncio
def test_a_timeout_around_it_and_a_group_of_tasks_end_it(loop):
    pool = opool.Pool(["a"])

    async def main():
        async with pool.lease_async():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await enter(pool)
            with pytest.raises(BaseException, match="unhandled errors") as failure:
                async with asyncio.TaskGroup() as group:
                    for _ in range(3):
                        group.create_task(enter(pool))
                    await asyncio.sleep(0)
                    assert pool.waiting == 3
                    raise LookupError("enough")
            assert [type(error) for error in failure.value.exceptions] == [LookupError]
            assert pool.waiting == 0

    loop.run(main)
    assert_whole(pool, ["a"])


@every_loop
def test_plain_leases_and_bare_objects_go_with_it_in_one_task(loop):
    pool = opool.Pool(things(3))

    async def main():
        async with pool.lease_async():
            with pool.lease():
                obj = pool.acquire()
                assert pool.idle == 0
                pool.release(obj)
        assert pool.idle == 3

    loop.run(main)


@every_loop
def test_a_pool_waits_at_the_end_of_its_async_with_for_what_is_out(loop):
    async def main():
        async with loop.group() as group:
            async with opool.Pool(["a"]) as pool:
                lease = await pool.lease_async()

                async def later():
                    await until(loop, lambda: pool.closed)
                    lease.release()

                group.start(later)
        assert (pool.closed, pool.size) == (True, 0)

    loop.run(main)


@every_loop
def test_aclose_says_who_has_what_is_still_out_and_force_does_not_wait(loop):
    pool = opool.Pool(["a"])

    async def main():
        async with pool.lease_async():
            with pytest.raises(opool.PoolCloseTimeout, match="'a', with task") as late:
                await pool.aclose(timeout=0.01)
            assert len(late.value.holders) == 1
            await pool.aclose(force=True)

    loop.run(main)
    assert pool.size == 0


@every_loop
def test_who_gives_up_waiting_for_the_end_leaves_nothing_behind_that_waits(loop):
    pool = opool.Pool(["a"])

    async def main():
        async with pool.lease_async():
            async with loop.group() as group:
                closing = group.start(pool.aclose, None)
                await until(loop, lambda: pool.closed)
                closing.cancel()
            assert closing.cancelled
        await pool.aclose()

    loop.run(main)  # whose threads it waits for
    assert pool.size == 0


def test_aclose_needs_an_event_loop():
    pool = opool.Pool(["a"])
    with pytest.raises(RuntimeError, match="event loop"):
        pool.aclose().send(None)
    assert not pool.closed


@pytest.mark.parametrize("form", ["free", "awaited", "waiting", "late", "cancelled", "unused", "dropped"])
def test_a_hundred_thousand_leases_leave_nothing_behind(form):
    count = 10_000 if form in ("waiting", "late", "cancelled") else 100_000
    x = Thing()
    pool = opool.Pool([x])

    async def cycle(n):
        for _ in range(n):
            if form == "free":
                async with pool.lease_async():
                    pass
            elif form == "awaited":
                (await pool.lease_async()).release()
            elif form == "unused":
                pool.lease_async(timeout=1)
            elif form == "dropped":
                lease = pool.lease_async()
                await type(lease).__aenter__(lease)
                del lease
            else:
                async with pool.lease_async():
                    waiting = asyncio.ensure_future(enter(pool, timeout=0 if form == "late" else 100))
                    await asyncio.sleep(0)
                    if form == "late":
                        with pytest.raises(opool.PoolTimeout):
                            await waiting
                    elif form == "cancelled":
                        waiting.cancel()
                        with pytest.raises(asyncio.CancelledError):
                            await waiting
                if form == "waiting":
                    await waiting

    async def main():
        await cycle(100)
        collect()
        before = (sys.getrefcount(pool), sys.getrefcount(x), sys.getrefcount(None), len(gc.get_objects()))
        await cycle(count)
        collect()
        after = (sys.getrefcount(pool), sys.getrefcount(x), sys.getrefcount(None), len(gc.get_objects()))
        return before, after

    before, after = ASYNCIO.run(main)
    # Nothing that comes with each lease; and the pool and the object are known to exactly as many as before.
    assert after[:2] == before[:2]
    assert abs(after[2] - before[2]) < 1000 and abs(after[3] - before[3]) < 100
    assert_whole(pool, [x])


def test_the_memory_of_python_is_whole_afterwards():
    run_child(
        """
        import asyncio, gc, opool

        pool = opool.Pool(["a", "b"])

        async def use(i):
            try:
                if i % 3:
                    async with pool.lease_async(timeout=0.01 if i % 5 == 0 else None):
                        await asyncio.sleep(0)
                else:
                    with await pool.lease_async():
                        await asyncio.sleep(0)
            except opool.PoolTimeout:
                pass

        async def main():
            tasks = [asyncio.ensure_future(use(i)) for i in range(2000)]
            await asyncio.sleep(0)
            for task in tasks[::7]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())
        asyncio.run(main())
        gc.collect()
        assert (pool.idle, pool.waiting) == (2, 0)
        """,
        env={"PYTHONMALLOC": "debug"},
    )


@pytest.mark.parametrize("new", [loop.new for loop in ASYNCIOS])
def test_a_pool_in_a_cycle_with_a_task_that_waits_is_collected_with_it(new):
    class Owner:
        pass

    async def use(owner):
        async with owner.pool.lease_async(timeout=None):
            pass

    owner = Owner()
    owner.pool = opool.Pool(things(1))
    owner.held = owner.pool.lease()
    loop = new()
    owner.task = loop.create_task(use(owner))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert owner.pool.waiting == 1
    owner.task._log_destroy_pending = False
    loop.close()
    gone = [weakref.ref(owner), weakref.ref(owner.pool), weakref.ref(owner.held.obj)]
    del owner, loop
    collect()
    assert [it() for it in gone] == [None, None, None]


def test_trio_as_a_guest_of_asyncio_shares_a_pool_with_its_host():
    pool, served = opool.Pool(["a"]), []

    async def use(kind, sleep):
        for _ in range(20):
            async with pool.lease_async(timeout=60):
                await sleep(0)
                served.append(kind)

    async def main():
        over = asyncio.Event()
        trio.lowlevel.start_guest_run(
            use,
            "trio",
            trio.sleep,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=lambda outcome: over.set() or outcome.unwrap(),
        )
        await use("asyncio", asyncio.sleep)
        await over.wait()

    ASYNCIO.run(main)
    assert sorted(served) == 20 * ["asyncio"] + 20 * ["trio"]
    assert_whole(pool, ["a"])


@every_loop
def test_closing_as_a_thread_would_is_refused_while_a_task_of_this_event_loop_has_something(loop):
    pool = opool.Pool(["a"])

    async def main():
        lease = await pool.lease_async()
        with pytest.raises(opool.PoolError, match="would stop the event loop that this thread runs"):
            pool.close()
        lease.release()
        async with pool.lease_async():
            with pytest.raises(opool.PoolError, match="use await pool.aclose"):
                pool.close(timeout=0.2)
        pool.close()

    loop.run(main)
    assert pool.closed


@pytest.mark.parametrize("loop", [ASYNCIO, TRIO], ids=repr)
def test_trio_is_told_from_asyncio_without_sniffio_too(loop, monkeypatch):
    monkeypatch.delitem(sys.modules, "sniffio")
    pool = opool.Pool(["a"])

    async def main():
        lease = await pool.lease_async()
        async with loop.group() as group:
            task = await queue_up(loop, group, pool, enter, pool)
            lease.release()
        return task.get()

    assert loop.run(main) == "a"
