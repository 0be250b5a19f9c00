"""`opool.testing`: time passes when it is told to, scripts are followed, and misuse is named."""

import asyncio
import dataclasses
import random
import threading
import time

import pytest

import opool
import opool.testing
from loops import ASYNCIO, every_loop, until
from opool.testing import Clock, Scripted, ScriptedError, check_invariants
from support import threads

# ---------------------------------------------------------------------------------------------------------------------
# The clock


def test_a_pool_on_a_clock_starts_no_thread_and_takes_no_time():
    before, began = threading.active_count(), time.monotonic()
    clock = Clock()
    pool = opool.Pool(factory=Scripted(("slow", 3600.0)), clock=clock, create_timeout=None)
    with pool.lease(timeout=7200):
        assert threading.active_count() == before
    assert clock.time == 3600
    assert time.monotonic() - began < 60


@every_loop
def test_a_task_that_waits_has_what_is_due_now_done_for_it(loop):
    clock = Clock()
    pool = opool.Pool(factory=Scripted("ok", ("slow", 3.0), clock=clock), max_size=1, clock=clock)

    async def main():
        async with pool.lease_async(timeout=5) as obj:
            assert clock.time == 0
        (await pool.lease_async()).discard()
        async with loop.group() as group:
            task = group.start(enter, pool)
            await until(loop, lambda: pool.waiting == 1)
            clock.advance(3)
        return obj, task.get()

    first, second = loop.run(main)
    assert [first.number, second.number, clock.time] == [0, 1, 3]


async def enter(pool):
    async with pool.lease_async(timeout=5) as obj:
        return obj


@every_loop
def test_hooks_that_are_coroutine_functions_are_run_at_once(loop):
    clock, gone = Clock(), []

    async def factory():
        return [clock.time]

    async def dispose(obj):
        gone.append((obj, clock.time))

    pool = opool.Pool(factory=factory, dispose=dispose, max_idle=60, max_size=1, clock=clock)

    async def main():
        await enter(pool)
        clock.advance(61)
        assert gone == [([0.0], 60.0)]
        await enter(pool)
        await pool.aclose()

    loop.run(main)
    assert gone[1:] == [([61.0], 61.0)]


def test_a_coroutine_function_that_waits_for_something_is_told_that_no_time_passes():
    async def factory():
        await asyncio.sleep(1)

    pool = opool.Pool(factory=factory, clock=Clock())
    with pytest.raises(opool.FactoryError) as failure:
        ASYNCIO.run(enter, pool)
    assert "cannot be suspended on a test's clock" in str(failure.value.__cause__)


def test_what_is_due_at_the_same_time_happens_in_the_order_in_which_it_was_asked_for():
    clock, said = Clock(), []
    for word in "abc":
        clock.call_later(1, lambda word=word: said.append(word))
    clock.call_later(0.5, lambda: said.append("first"))
    clock.advance(0.999)
    assert said == ["first"]
    clock.advance(0.001)
    assert said == ["first", "a", "b", "c"]


def test_to_advance_by_nothing_lets_happen_what_is_due_now():
    clock, said = Clock(), []
    clock.call_later(0, lambda: said.append(clock.time))
    assert said == []
    clock.advance(0)
    assert said == [0.0]


def test_pools_do_their_work_in_the_order_in_which_they_were_made():
    clock, order, pools = Clock(), [], []
    for number in range(20):
        make = lambda number=number: order.append(number) or object()  # noqa: E731
        pools.append(opool.Pool(factory=make, min_size=1, clock=clock))
        # Whatever lies between them in memory.
        pools.append([bytearray(random.randrange(5000)) for _ in range(20)])
    clock.advance(0)
    assert order == list(range(20))


def test_a_clock_keeps_no_pool_alive():
    clock = Clock()
    for _ in range(100):
        opool.Pool(factory=dict, clock=clock)
    assert len(clock._pools) <= 2
    assert clock._live_pools() == []


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e30])
def test_time_that_cannot_pass_is_refused_with_the_number(seconds):
    clock = Clock()
    with pytest.raises(ValueError, match=f"not {seconds!r}".replace("+", "[+]")):
        clock.advance(seconds)
    with pytest.raises(ValueError, match="seconds must be between 0 and "):
        clock.call_later(seconds, print)
    with pytest.raises(ValueError, match="seconds must be between 0 and "):
        Scripted(("slow", seconds))
    assert clock.time == 0


def test_what_cannot_be_called_later_is_refused_now():
    with pytest.raises(TypeError, match="function must be callable, not 3"):
        Clock().call_later(1, 3)


def test_another_thread_cannot_let_time_pass_and_is_told_so():
    clock = Clock()
    pool = opool.Pool(["a"], clock=clock)
    lease = pool.lease()

    def other(_):
        said = []
        for call in (lambda: clock.advance(1), lambda: clock.call_later(1, print), lambda: pool.lease(timeout=1)):
            with pytest.raises(RuntimeError, match="cannot advance this clock: it belongs to 'MainThread'"):
                call()
            said.append(call)
        return said

    assert len(threads(1, other)[0]) == 3
    lease.release()
    # What need not wait may be done by anybody.
    assert threads(1, lambda _: pool.acquire()) == ["a"]
    pool.release("a")
    assert (clock.time, pool.waiting) == (0, 0)


def test_a_wait_that_nothing_could_end_is_an_error_and_leaves_the_queue():
    pool = opool.Pool([], clock=Clock(), name="empty")
    with pytest.raises(RuntimeError, match="'empty'.*would wait for ever"):
        pool.lease(timeout=None)
    assert pool.waiting == 0
    check_invariants(pool)


def test_what_a_function_called_later_raises_comes_out_of_the_wait():
    clock = Clock()
    pool = opool.Pool([], clock=clock)
    clock.call_later(1, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        pool.lease(timeout=5)
    assert (clock.time, pool.waiting) == (1, 0)


def test_a_hook_that_lets_time_pass_takes_that_long():
    clock = Clock()

    def factory():
        clock.advance(2)
        return object()

    pool = opool.Pool(factory=factory, clock=clock, create_timeout=None)
    pool.lease(timeout=3).release()
    assert clock.time == 2
    assert pool.stats().create_time.sum == 2


def test_a_hook_that_lets_too_much_time_pass_is_given_up_as_if_it_were_slow():
    clock = Clock()

    def factory():
        clock.advance(10)
        return object()

    pool = opool.Pool(factory=factory, clock=clock, create_timeout=3)
    with pytest.raises(opool.FactoryError) as failure:
        pool.lease(timeout=5)
    assert "create_timeout" in str(failure.value.__cause__)
    check_invariants(pool)


# ---------------------------------------------------------------------------------------------------------------------
# Scripts


@pytest.mark.parametrize("word", ["fine", ("slow",), ("ok", 1.0), ("slow", 1.0, 2), 3, None, ()])
def test_a_word_that_is_in_no_script_is_named(word):
    with pytest.raises(ValueError, match="a word must be 'ok', .* not "):
        Scripted(word)


def test_a_script_is_followed_word_by_word_and_begins_again():
    clock = Clock()
    hook = Scripted("ok", "error", ("slow", 2), clock=clock, make=lambda *args: args)
    for _ in range(2):
        began = clock.time
        assert hook(1) == (1,)
        with pytest.raises(ScriptedError, match="call"):
            hook(2)
        assert hook(3) == (3,)
        assert clock.time == began + 2
    assert (hook.calls, hook.running, hook.args) == (6, 0, [(1,), (2,), (3,)] * 2)


def test_a_slow_factory_serves_who_waits_at_the_moment_when_it_is_done():
    clock = Clock()
    factory = Scripted(("slow", 2.5), clock=clock)
    pool = opool.Pool(factory=factory, clock=clock)
    clock.call_later(1, lambda: pytest.fail("nothing is there yet") if pool.try_lease() else None)
    pool.lease(timeout=3)
    assert (clock.time, factory.running) == (2.5, 0)


def test_a_factory_that_never_returns_hangs_until_it_is_released_and_what_it_makes_is_used():
    clock = Clock()
    factory = Scripted("never", clock=clock)
    pool = opool.Pool(factory=factory, clock=clock, create_timeout=None)
    with pytest.raises(opool.PoolTimeout):
        pool.lease(timeout=4)
    assert factory.running == pool.stats().creating == 1
    factory.release()
    assert factory.running == 0
    assert pool.idle == 1
    pool.lease(timeout=0).discard()
    pool.lease(timeout=1)  # released for good
    assert factory.calls == 2


def test_a_reset_that_would_never_return_is_an_error_on_a_clock():
    clock = Clock()
    pool = opool.Pool(["a"], reset=Scripted("never", clock=clock), clock=clock)
    pool.lease().release()
    assert (pool.size, pool.stats().retired["not_reset"]) == (0, 1)


def test_an_error_of_the_script_keeps_no_lease_of_the_test_alive():
    clock = Clock()
    pool = opool.Pool(["a"], factory=Scripted("error", clock=clock), clock=clock)
    mine = [pool.lease()]
    clock.call_later(1, lambda: mine.pop().release())

    def waits():
        lease = pool.lease(timeout=5)  # the factory fails meanwhile, and the pool remembers the error
        assert lease.obj == "a"

    waits()
    assert (pool.idle, pool.leased) == (1, 0)


def test_what_make_raises_is_the_error_of_the_hook():
    clock = Clock()
    pool = opool.Pool(factory=Scripted(clock=clock, make=lambda: 1 // 0), clock=clock)
    with pytest.raises(opool.FactoryError) as caught:
        pool.lease(timeout=5)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_without_a_clock_never_lasts_until_it_is_released_and_calls_of_many_threads_are_counted():
    hook = Scripted("never", "ok", "error", ("slow", 0.001))
    released = threading.Timer(0.01, hook.release)
    released.start()
    outcomes = threads(8, lambda i: [outcome(hook) for _ in range(25)])
    released.join()
    assert (hook.calls, hook.running, len(hook.args)) == (200, 0, 200)
    flat = [outcome for part in outcomes for outcome in part]
    assert sorted(map(str, flat)).count("error") == 50
    assert len({made.number for made in flat if made != "error"}) == 150


def outcome(hook):
    try:
        return hook()
    except ScriptedError:
        return "error"


# ---------------------------------------------------------------------------------------------------------------------
# Invariants


class Odd(opool.Pool):
    """Its figures are what a test says."""

    figures = {}

    def stats(self):
        return dataclasses.replace(super().stats(), **self.figures)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"created": 3}, "lost or duplicated"),
        ({"size": 3}, "size is not idle"),
        ({"checking": 1}, "more objects are being checked"),
        ({"waiting": 1}, "idle although somebody waits"),
        ({"max_size": 1}, "max_size is exceeded"),
    ],
)
def test_figures_that_cannot_be_are_noticed(figures, message):
    pool = Odd(["a", "b"])
    check_invariants(pool)
    pool.figures = figures
    with pytest.raises(AssertionError, match=message):
        check_invariants(pool)
