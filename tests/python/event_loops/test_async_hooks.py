"""Hooks that are coroutine functions: run by tasks of whichever event loop is there, for everybody who waits."""

import asyncio
import contextvars
import functools
import itertools
import logging
import threading
import time
import weakref

import pytest

import opool
from loops import ASYNCIO, TRIO, collect, every_asyncio, every_loop, queue_up, until
from opool.testing import check_invariants
from support import LIMIT, Thing, background, eventually


class Hooks:
    """The four hooks, each of which notes its calls, and is plain or a coroutine function."""

    def __init__(self, asynchronous, sleep=asyncio.sleep):
        self.calls = []
        self.threads = set()
        self._numbers = itertools.count()
        for name in ("factory", "check", "reset", "dispose"):
            make = self._coroutine_function if name in asynchronous else self._function
            setattr(self, name, make(name, sleep))

    def _note(self, name, args):
        self.calls.append((name, *args))
        self.threads.add(threading.get_ident())
        return Thing(next(self._numbers)) if name == "factory" else True

    def _function(self, name, sleep):
        return lambda *args: self._note(name, args)

    def _coroutine_function(self, name, sleep):
        async def hook(*args):
            await sleep(0)
            return self._note(name, args)

        return hook

    def names(self):
        return [name for name, *_ in self.calls]

    @property
    def all(self):
        return {"factory": self.factory, "check": self.check, "reset": self.reset, "dispose": self.dispose}


async def enter(pool, **kwargs):
    async with pool.lease_async(**kwargs) as obj:
        return obj


def in_a_thread(loop, function, *args):
    """Runs an event loop in a thread of its own."""
    thread = threading.Thread(target=lambda: loop.run(function, *args), daemon=True)
    thread.start()
    return thread


NAMES = ["factory", "check", "reset", "dispose"]
SUBSETS = [subset for n in (1, 2, 3, 4) for subset in itertools.combinations(NAMES, n)]


@pytest.mark.parametrize("asynchronous", SUBSETS, ids="+".join)
def test_any_of_the_hooks_may_be_coroutine_functions(asynchronous):
    hooks = Hooks(asynchronous)

    async def main():
        async with opool.Pool(max_size=1, check_after=0, **hooks.all) as pool:
            async with pool.lease_async() as first:
                pass
            await until(ASYNCIO, lambda: pool.idle == 1)  # else whoever waits has it without a check
            async with pool.lease_async() as second:
                assert second is first
            await until(ASYNCIO, lambda: pool.idle == 1)
            check_invariants(pool)
        assert pool.size == 0

    ASYNCIO.run(main)
    assert hooks.names() == ["factory", "reset", "check", "reset", "dispose"]


@every_loop
def test_in_each_event_loop_they_run_in_tasks_of_it(loop):
    hooks = Hooks(NAMES, loop.sleep)

    async def main():
        async with opool.Pool(max_size=3, check_after=0, **hooks.all) as pool:
            async with loop.group() as group:
                for _ in range(20):
                    group.start(enter, pool)
            assert 1 <= pool.size <= 3
            check_invariants(pool)
            await until(loop, lambda: pool.idle == pool.size)

    loop.run(main)
    assert hooks.threads == {threading.get_ident()}
    names = hooks.names()
    assert names.count("dispose") == names.count("factory") <= 3 and names.count("reset") == 20


@every_loop
def test_plain_hooks_beside_them_run_in_threads_and_never_block_the_event_loop(loop):
    gate = threading.Event()
    threads = set()

    def factory():
        threads.add(threading.get_ident())
        assert gate.wait(60)
        return Thing()

    async def dispose(_): ...

    async def main():
        pool = opool.Pool(factory=factory, dispose=dispose, max_size=1)
        async with loop.group() as group:
            task = group.start(enter, pool)
            await until(loop, lambda: threads)
            for _ in range(50):
                await loop.sleep(0)
            assert not task.ended
            gate.set()
        assert task.get() is not None
        await pool.aclose()

    loop.run(main)
    assert threading.get_ident() not in threads


@every_loop
def test_a_blocking_factory_of_a_pool_of_plain_hooks_does_not_either(loop):
    gate = threading.Event()
    pool = opool.Pool(factory=lambda: (gate.wait(60), Thing())[1], max_size=1)

    async def main():
        async with loop.group() as group:
            task = await queue_up(loop, group, pool, enter, pool)
            for _ in range(50):
                await loop.sleep(0)
            assert not task.ended
            gate.set()
        assert task.get() is not None

    loop.run(main)
    pool.close()


@pytest.mark.parametrize("ask", ["lease", "acquire", "try_lease"])
def test_who_asks_without_an_event_loop_is_told_why_it_gets_nothing(ask):
    async def factory(): ...

    async def reset(_): ...

    pool = opool.Pool(factory=factory, name="conns")
    with pytest.raises(opool.PoolError, match="pool 'conns': factory is a coroutine function.*use lease_async"):
        getattr(pool, ask)()
    pool = opool.Pool([1], reset=reset)
    with pytest.raises(opool.PoolError, match="reset is a coroutine function"):
        getattr(pool, ask)()
    pool = opool.Pool(factory=factory, reset=reset)
    with pytest.raises(opool.PoolError, match="factory and reset are coroutine functions"):
        getattr(pool, ask)()
    assert background(pool.name or "") == []


def test_a_coroutine_function_in_any_disguise_is_one():
    async def make(kind):
        return kind()

    class Factory:
        async def __call__(self):
            return Thing()

        async def method(self):
            return Thing()

    for factory in (functools.partial(make, Thing), Factory(), Factory().method):
        pool = opool.Pool(factory=factory, max_size=1)
        assert isinstance(ASYNCIO.run(enter, pool), Thing)


def test_a_plain_factory_that_returns_a_coroutine_is_told_so():
    async def make():
        return Thing()

    pool = opool.Pool(factory=lambda: make(), max_size=1)
    with pytest.raises(opool.FactoryError) as failure:
        ASYNCIO.run(enter, pool)
    assert "is no coroutine function: write it with async def" in str(failure.value.__cause__)
    pool.close()


@pytest.mark.parametrize("hook", ["check", "reset"])
def test_a_plain_hook_that_returns_a_coroutine_is_awaited_and_what_that_raises_is_its_failure(hook, caplog):
    async def fails(obj):
        raise AssertionError("awaited")

    caplog.set_level("INFO", logger="opool")
    options = {hook: lambda obj: fails(obj), **({"check_after": 0} if hook == "check" else {})}
    pool = opool.Pool(factory=Thing, max_size=1, **options)
    pool.lease().release()
    if hook == "check":
        pool.lease(timeout=60).release()
    eventually(lambda: pool.stats().retired["unfit" if hook == "check" else "not_reset"] == 1)
    assert f"{hook} failed: AssertionError('awaited'); object discarded" in caplog.text
    pool.close()


# ----------------------------------------------------------------------------------------------------------------------
# Nobody's own


@every_loop
def test_what_is_being_made_comes_to_whoever_waits_when_who_asked_for_it_has_gone(loop):
    made = []

    async def main():
        async def factory():
            await until(loop, lambda: go)
            made.append(Thing())
            return made[-1]

        go = []
        pool = opool.Pool(factory=factory, max_size=1)
        async with loop.group() as group:
            first = await queue_up(loop, group, pool, enter, pool)
            await until(loop, lambda: pool.stats().creating == 1)
            second = await queue_up(loop, group, pool, enter, pool)
            first.cancel()
            await until(loop, lambda: first.ended)
            go.append(True)
        assert second.get() is made[0] and first.cancelled
        check_invariants(pool)

    loop.run(main)
    assert len(made) == 1


def test_hooks_run_in_nobodys_context():
    who = contextvars.ContextVar("who", default="nobody")
    seen = []

    async def factory():
        seen.append(who.get())
        return Thing()

    async def main():
        who.set("somebody")
        await enter(opool.Pool(factory=factory))

    ASYNCIO.run(main)
    assert seen == ["nobody"]


def begun(hooks_ended, sleep=asyncio.sleep):
    """A factory of which the first call does not return; the others do. It notes how each of them ended."""

    async def factory():
        number = len(hooks_ended)
        hooks_ended.append("begun")
        try:
            if number == 0:
                await sleep(1000)
        except BaseException as error:
            hooks_ended[number] = type(error).__name__
            raise
        hooks_ended[number] = "made"
        return Thing()

    return factory


@every_loop
def test_an_event_loop_that_ends_during_a_creation_is_no_failure_of_the_factory(loop, caplog):
    ends = []
    pool = opool.Pool(factory=begun(ends, loop.sleep), max_size=1, timeout=60)

    async def leave():
        async with loop.group() as group:
            task = group.start(enter, pool)
            await until(loop, lambda: ends)
            task.cancel()

    loop.run(leave)
    assert ends == ["Cancelled" if loop is TRIO else "CancelledError"]
    stats = pool.stats()
    assert (stats.create_failures, stats.creating, stats.size) == (0, 0, 0)
    assert loop.run(enter, pool) is not None
    assert ends[1:] == ["made"] and "failed" not in caplog.text
    check_invariants(pool)


@pytest.mark.parametrize("first", [ASYNCIO, TRIO], ids=repr)
@pytest.mark.parametrize("second", [ASYNCIO, TRIO], ids=repr)
def test_another_event_loop_goes_on_with_what_one_that_ends_has_begun(first, second):
    ends, go = [], threading.Event()

    async def factory():
        ends.append(threading.get_ident())
        if len(ends) == 1:
            await first.sleep(1000)
        return Thing()

    pool = opool.Pool(factory=factory, max_size=1, timeout=60)
    got = []

    async def begin():
        async with first.group() as group:
            task = group.start(enter, pool)
            await until(first, go.is_set)
            task.cancel()

    async def wait():
        got.append(await enter(pool))

    one = in_a_thread(first, begin)
    eventually(lambda: ends)
    two = in_a_thread(second, wait)
    eventually(lambda: pool.waiting == 2)
    go.set()
    for thread in (one, two):
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert len(ends) == 2 and ends[0] != ends[1] and len(got) == 1
    assert pool.stats().create_failures == 0
    check_invariants(pool)


@every_asyncio
@pytest.mark.parametrize("step", ["not begun", "begun", "half done"])
def test_an_event_loop_that_is_closed_over_its_tasks_keeps_nobody_waiting(loop, step):
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    try:
        ends = []
        pool = opool.Pool(factory=begun(ends), max_size=1, timeout=60)
        dead = loop.new()
        task = dead.create_task(enter(pool))
        for _ in range({"not begun": 1, "begun": 2, "half done": 6}[step]):
            dead.call_soon(dead.stop)
            dead.run_forever()
        assert pool.waiting == 1 and (ends or step != "half done")
        dead.close()
        del dead, task
        if not ends:
            ends.append("never begun")
        assert loop.run(enter, pool) is not None
        collect()
        assert ends[-1] == "made"
        assert (pool.stats().create_failures, pool.stats().creating, pool.size) == (0, 0, 1)
        check_invariants(pool)
    finally:
        logging.getLogger("asyncio").setLevel(logging.NOTSET)


def test_who_waits_in_one_event_loop_is_served_after_another_was_closed_over_the_creation():
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    try:
        ends = []
        pool = opool.Pool(factory=begun(ends), max_size=1, timeout=60)
        dead = asyncio.new_event_loop()
        task = dead.create_task(enter(pool))
        while not ends:
            dead.call_soon(dead.stop)
            dead.run_forever()
        got = []

        async def wait():
            got.append(await enter(pool))

        thread = in_a_thread(ASYNCIO, wait)
        eventually(lambda: pool.waiting == 2)
        dead.close()
        del dead, task
        thread.join(LIMIT)
        assert got and ends[1:] == ["made"]
    finally:
        logging.getLogger("asyncio").setLevel(logging.NOTSET)


@every_loop
def test_a_check_that_an_event_loop_breaks_off_takes_its_object_out(loop):
    disposed = []

    async def check(obj):
        checking.append(obj)
        if len(checking) == 1:
            await loop.sleep(1000)
        return True

    async def factory():
        return Thing()

    async def dispose(obj):
        disposed.append(obj)

    checking = []
    pool = opool.Pool(factory=factory, check=check, check_after=0, dispose=dispose, max_size=1, timeout=60)

    async def leave():
        await enter(pool)
        async with loop.group() as group:
            task = group.start(enter, pool)
            await until(loop, lambda: checking)
            task.cancel()

    loop.run(leave)
    assert pool.stats().checking == 0
    assert loop.run(enter, pool) is not checking[0]
    assert checking[0] in disposed
    check_invariants(pool)


def test_a_pool_serves_two_event_loops_at_once():
    hooks = Hooks(NAMES)
    pool = opool.Pool(max_size=3, check_after=0, timeout=60, **hooks.all)

    async def crowd():
        await asyncio.gather(*(enter(pool) for _ in range(50)))

    pair = [in_a_thread(ASYNCIO, crowd) for _ in range(2)]
    for thread in pair:
        thread.join(LIMIT)
        assert not thread.is_alive()
    ASYNCIO.run(pool.aclose)
    names = hooks.names()
    assert names.count("reset") >= 90  # those that the end of an event loop broke off are disposed of at once
    assert names.count("dispose") == names.count("factory")
    assert (pool.size, pool.waiting) == (0, 0)


# ----------------------------------------------------------------------------------------------------------------------
# Failures


@every_loop
def test_a_coroutine_that_fails_is_a_failure_of_the_factory_and_the_next_attempt_waits(loop):
    calls = []

    async def factory():
        await loop.sleep(0)
        calls.append(time.monotonic())
        if len(calls) < 3:
            raise LookupError("no way")
        return Thing()

    pool = opool.Pool([], factory=factory, max_size=1, timeout=60)

    async def main():
        for _ in range(2):
            with pytest.raises(opool.FactoryError, match="with LookupError") as failure:
                await enter(pool)
            assert isinstance(failure.value.__cause__, LookupError)
        return await enter(pool)

    assert loop.run(main) is not None
    assert pool.stats().create_failures == 2
    assert calls[1] - calls[0] > 0.045 and calls[2] - calls[1] > 0.09


@pytest.mark.parametrize("name", ["check", "reset", "dispose"])
@pytest.mark.parametrize("how", ["raises", "says no"])
def test_other_hooks_that_fail_cost_the_object(name, how, caplog):
    async def broken(_):
        if how == "raises":
            raise LookupError("broken")
        return False

    hooks = {**Hooks(NAMES).all, name: broken}

    async def main():
        async with opool.Pool(max_size=1, check_after=0, timeout=60, **hooks) as pool:
            first = await enter(pool)
            await until(ASYNCIO, lambda: pool.stats().checking == 0)
            second = await enter(pool)
            gone = name == "check" or (name == "reset" and how == "raises")
            assert (first is not second) == gone
            check_invariants(pool)

    with caplog.at_level(logging.INFO, "opool"):
        ASYNCIO.run(main)
    assert ("broken" in caplog.text) == (how == "raises")


def test_a_factory_that_awaits_something_that_was_cancelled_has_failed():
    if not hasattr(asyncio.Task, "cancelling"):
        pytest.skip("nobody can tell the two apart before 3.11")

    async def factory():
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    pool = opool.Pool(factory=factory, max_size=1, timeout=60)
    with pytest.raises(opool.FactoryError):
        ASYNCIO.run(enter, pool)
    assert pool.stats().create_failures == 1


@every_loop
def test_a_creation_that_takes_too_long_is_given_up_and_what_comes_late_is_used(loop):
    calls, given_up = [], []

    async def factory():
        calls.append(True)
        await until(loop, lambda: len(calls) == 1 and given_up)
        return Thing()

    pool = opool.Pool(factory=factory, max_size=1, create_timeout=0.05, timeout=60)

    async def main():
        with pytest.raises(opool.FactoryError) as failure:
            await enter(pool)
        assert "0.05 s" in str(failure.value.__cause__)
        given_up.append(True)
        await until(loop, lambda: pool.idle == 1)

    loop.run(main)
    assert pool.stats().create_failures >= 1


@every_loop
def test_a_check_that_takes_too_long_is_given_up(loop):
    calls = []

    async def factory():
        return Thing()

    async def check(_):
        calls.append(True)
        if len(calls) == 1:
            await loop.sleep(1000)

    pool = opool.Pool(factory=factory, check=check, check_after=0, check_timeout=0.05, max_size=1, timeout=60)

    async def main():
        first = await enter(pool)
        assert await enter(pool) is not first

    loop.run(main)
    assert pool.stats().retired["unfit"] == 1


@every_loop
def test_deadlines_are_for_everything_together(loop):
    async def factory():
        await loop.sleep(1000)

    pool = opool.Pool(factory=factory, max_size=1)

    async def main():
        with pytest.raises(opool.PoolTimeout, match=r"within 0.05 s.*creating"):
            await enter(pool, timeout=0.05)

    loop.run(main)


# ----------------------------------------------------------------------------------------------------------------------
# Time, sizes, and the end


@pytest.mark.parametrize("loop", [ASYNCIO, TRIO], ids=repr)
def test_objects_that_are_idle_too_long_go_while_nobody_asks(loop):
    disposed = []

    async def factory():
        return Thing()

    async def dispose(obj):
        disposed.append(obj)

    pool = opool.Pool(factory=factory, dispose=dispose, max_size=1, max_idle=0.1, timeout=60)

    async def main():
        async with pool.lease_async() as obj:
            await loop.sleep(1.2)  # longer than anything the pool looks for meanwhile
        await until(loop, lambda: pool.size == 0)
        await until(loop, lambda: disposed == [obj])

    loop.run(main)
    assert pool.stats().retired["idle"] == 1


@every_loop
def test_objects_that_are_too_old_are_replaced_while_nobody_asks(loop):
    hooks = Hooks(NAMES, loop.sleep)
    pool = opool.Pool(min_size=1, max_size=2, max_lifetime=0.1, jitter=0.0, **hooks.all)

    async def main():
        async with pool:
            await until(loop, lambda: pool.stats().retired["lifetime"] >= 2)

    loop.run(main)
    names = hooks.names()
    assert names.count("factory") == names.count("dispose") >= 3


def test_there_is_one_timer_however_often_there_is_something_to_do():
    hooks = Hooks(NAMES)
    pool = opool.Pool(max_size=2, max_idle=500.0, max_lifetime=1000.0, check_after=0, **hooks.all)

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(100):
            await enter(pool)
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]
        # One for the time of the pool, one for those who wait, one that looks after the others, one for deadlocks.
        assert len(timers) <= 4, timers

    ASYNCIO.run(main)


@every_loop
def test_min_size_is_made_when_an_event_loop_first_enters_the_pool(loop):
    hooks = Hooks(["factory"], loop.sleep)
    pool = opool.Pool(factory=hooks.factory, min_size=3)
    assert pool.size == 0

    async def main():
        async with pool:
            await until(loop, lambda: pool.idle == 3)

    loop.run(main)


@every_loop
def test_reload_and_resize_work_on_objects_that_coroutines_make(loop):
    hooks = Hooks(NAMES, loop.sleep)
    pool = opool.Pool(max_size=2, timeout=60, **hooks.all)

    async def main():
        first = await enter(pool)
        pool.reload()
        await until(loop, lambda: pool.stats().retired["reloaded"] == 1)
        assert await enter(pool) is not first
        pool.resize(min_size=4, max_size=4)
        await until(loop, lambda: pool.idle == 4)
        pool.resize(min_size=0, max_size=1)
        await until(loop, lambda: pool.size == 1)
        await pool.aclose()

    loop.run(main)
    names = hooks.names()
    assert names.count("factory") == names.count("dispose") >= 5
    assert pool.size == 0


@every_loop
def test_aclose_waits_until_all_are_disposed_of(loop):
    disposed = []

    async def factory():
        return Thing()

    async def dispose(obj):
        for _ in range(10):
            await loop.sleep(0)
        disposed.append(obj)

    pool = opool.Pool(factory=factory, dispose=dispose, min_size=3, max_size=3)

    async def main():
        async with pool:
            await until(loop, lambda: pool.idle == 3)
        assert len(disposed) == 3

    loop.run(main)


@every_loop
def test_with_force_what_is_out_is_disposed_of_under_its_holders_hands(loop):
    hooks = Hooks(NAMES, loop.sleep)
    pool = opool.Pool(max_size=1, **hooks.all)

    async def main():
        async with pool.lease_async() as obj:
            await pool.aclose(force=True)
            await until(loop, lambda: ("dispose", obj) in hooks.calls)
        assert hooks.names().count("dispose") == 1

    loop.run(main)
    assert pool.size == 0


@every_loop
def test_closing_as_a_thread_would_does_not_stop_the_event_loop_that_the_hooks_need(loop):
    pool = opool.Pool(max_size=1, **Hooks(NAMES, loop.sleep).all)

    async def main():
        await enter(pool)
        with pytest.raises(opool.PoolError, match=r"would stop the event loop .*: use await pool.aclose\(\)"):
            pool.close()
        assert not pool.closed
        await enter(pool)
        await pool.aclose()

    loop.run(main)
    assert pool.closed


def test_closing_where_no_event_loop_runs_any_more_says_that_nobody_disposes_and_does_not_wait(caplog):
    hooks = Hooks(NAMES)
    pool = opool.Pool(max_size=1, name="db", **hooks.all)
    ASYNCIO.run(enter, pool)
    pool.close()  # had it waited, the log would say that a hook still runs
    assert pool.closed and "dispose" not in hooks.names()
    (said,) = caplog.messages
    assert said == "pool 'db': closed, but no event loop runs that could dispose of its objects: use aclose()"


def test_a_thread_may_close_it_while_its_event_loop_runs_elsewhere():
    hooks = Hooks(NAMES)
    pool = opool.Pool(max_size=1, **hooks.all)

    async def main():
        await enter(pool)
        await asyncio.get_running_loop().run_in_executor(None, pool.close)

    ASYNCIO.run(main)
    assert pool.closed and hooks.names()[-1] == "dispose"


def test_a_plain_with_is_not_for_it():
    pool = opool.Pool(**Hooks(["dispose"]).all)
    with pytest.raises(opool.PoolError, match="dispose is a coroutine function, which a plain with .*: use async with"):
        with pool:
            pass


@pytest.mark.parametrize("loop", [ASYNCIO, TRIO], ids=repr)
def test_a_hook_that_hangs_at_the_end_is_waited_for_for_a_moment_only(loop, caplog):
    async def factory():
        return Thing()

    async def dispose(_):
        await loop.sleep(1000)

    pool = opool.Pool(factory=factory, dispose=dispose, max_size=1)

    async def main():
        await enter(pool)
        began = time.monotonic()
        await pool.aclose(timeout=None)  # the hook sleeps for longer than a test may take
        assert time.monotonic() - began > 0.9

    loop.run(main)
    assert "a hook still runs in the background" in caplog.text


def test_a_pool_that_nobody_has_any_more_goes_with_its_event_loop_running():
    async def main():
        pool = opool.Pool(max_size=1, max_idle=500.0, **Hooks(NAMES).all)
        await enter(pool)
        await asyncio.sleep(0.01)
        gone = weakref.ref(pool)
        del pool
        for _ in range(5):
            await asyncio.sleep(0)
        collect()
        assert gone() is None

    ASYNCIO.run(main)
