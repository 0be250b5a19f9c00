"""A pool that makes its objects: when, how many at a time, and what happens when that fails, hangs, or comes late."""

import gc
import threading
import time

import pytest

import opool
from opool.testing import Clock, Scripted, ScriptedError, check_invariants
from support import Crew, Thing, drain, eventually, queue_up, things


class Line:
    """A pool on a clock, and what its factory does."""

    def __init__(self, *script, objects=(), **options):
        self.clock = Clock()
        self.factory = Scripted(*script, clock=self.clock)
        self.pool = opool.Pool(objects, factory=self.factory, clock=self.clock, **options)

    def fails(self, kind=opool.FactoryError, **arguments):
        with pytest.raises(kind) as caught:
            self.pool.lease(**arguments)
        return caught.value


class Gate:
    """A factory that is slow for as long as a test wants."""

    def __init__(self):
        self.open = threading.Event()
        self.running = self.most = 0
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.open.wait(60)
        with self.lock:
            self.running -= 1
        return Thing("made")


# ----------------------------------------------------------------------------------------------------------------------
# Making


def test_nothing_is_made_before_somebody_asks():
    line = Line()
    line.clock.advance(1000)
    assert (line.factory.calls, line.pool.size) == (0, 0)


def test_what_was_made_is_used_again():
    line = Line()
    for _ in range(5):
        with line.pool.lease() as obj:
            assert obj.number == 0
    assert (line.factory.calls, line.pool.size, line.pool.idle) == (1, 1, 1)


def test_there_are_never_more_than_max_size():
    line = Line(max_size=3)
    leases = [line.pool.lease() for _ in range(3)]
    line.fails(opool.PoolTimeout, timeout=60)
    assert line.factory.calls == line.pool.size == 3
    del leases


def test_min_size_is_made_although_nobody_asks():
    line = Line(min_size=3)
    line.clock.advance(0)
    assert (line.pool.size, line.pool.idle, line.factory.calls) == (3, 3, 3)


def test_min_size_is_made_in_the_background():
    pool = opool.Pool(factory=threading.current_thread, min_size=2)
    eventually(lambda: pool.idle == 2)
    assert threading.current_thread() not in drain(pool)


def test_who_leases_never_runs_the_factory_itself():
    with opool.Pool(factory=threading.get_ident).lease(timeout=60) as ident:
        assert ident != threading.get_ident()


def test_an_object_that_comes_back_reaches_who_waits_for_a_slow_factory():
    line = Line("ok", ("slow", 10), max_size=2)
    first = line.pool.lease()
    line.clock.call_later(2, first.release)
    with line.pool.lease(timeout=5) as obj:
        assert (obj.number, line.clock.time) == (0, 2)


def test_a_creation_outlives_who_asked_for_it():
    line = Line(("slow", 3))
    line.fails(opool.PoolTimeout, timeout=1)
    line.clock.advance(2)
    with line.pool.lease(timeout=0) as obj:
        assert (obj.number, line.factory.calls) == (0, 1)


def test_a_creation_that_nobody_needs_any_more_is_not_begun():
    line = Line()
    line.fails(opool.PoolTimeout, timeout=0)
    line.clock.advance(100)
    assert line.factory.calls == 0


def test_no_more_than_four_attempts_begin_at_the_same_time():
    line = Line(("slow", 0.9), min_size=10)
    line.clock.advance(0.5)
    assert line.factory.running == line.pool.stats().creating == 4
    line.clock.advance(0.5)
    assert (line.factory.running, line.pool.size) == (4, 4)
    line.clock.advance(2)
    assert line.pool.size == 10


def test_attempts_that_hang_do_not_keep_others_from_beginning():
    line = Line(*["never"] * 4, *["ok"] * 6, min_size=10)
    line.clock.advance(0.99)
    assert line.pool.size == 0
    line.clock.advance(0.02)
    assert (line.pool.size, line.factory.running) == (6, 4)


def test_with_threads_the_factory_is_as_bounded_and_everybody_is_served():
    gate, began = Gate(), time.monotonic()
    pool = opool.Pool(factory=gate, max_size=12)
    crews = queue_up(pool, 12, lambda i: pool.acquire(timeout=60))
    eventually(lambda: gate.running >= 4)
    # Those that hang for a second do not count.
    assert gate.most == 4 or time.monotonic() - began > 0.9
    gate.open.set()
    objects = [crew.join()[0] for crew in crews]
    assert len(set(map(id, objects))) == 12 == pool.size
    check_invariants(pool)


def test_while_the_factory_runs_the_pool_does_everything_else():
    gate = Gate()
    pool = opool.Pool(factory=gate, max_size=3)
    (crew,) = queue_up(pool, 1, lambda i: pool.acquire(timeout=60))
    eventually(lambda: gate.running == 1)
    given = Thing("given")
    pool.add_obj(given)
    assert crew.join() == [given]
    pool.release(given)
    with pool.lease(timeout=0) as obj:
        assert obj is given and pool.stats().creating == 1
    gate.open.set()
    eventually(lambda: pool.idle == 2)


def test_the_background_threads_end_when_there_is_nothing_to_do():
    pool = opool.Pool(factory=Thing, name="short lived")
    pool.lease(timeout=60).release()
    eventually(lambda: "opool short lived" not in {thread.name for thread in threading.enumerate()})
    assert pool.idle == 1


def test_what_is_made_for_a_pool_that_is_gone_is_disposed_of():
    gate, gone = Gate(), []
    pool = opool.Pool(factory=gate, dispose=gone.append, min_size=1)
    eventually(lambda: gate.running == 1)
    del pool
    gc.collect()
    gate.open.set()
    eventually(lambda: [thing.label for thing in gone] == ["made"])


# ----------------------------------------------------------------------------------------------------------------------
# Given objects and a factory


def test_given_objects_go_out_first_and_then_others_are_made():
    line = Line(objects=["a", "b"], max_size=3)
    leases = [line.pool.lease() for _ in range(3)]
    assert [str(lease.obj) for lease in leases] == ["a", "b", "Made(0)"]
    line.fails(opool.PoolTimeout, timeout=5)


def test_given_objects_count_for_min_size():
    line = Line(objects=things(2), min_size=3)
    line.clock.advance(10)
    assert (line.factory.calls, line.pool.size) == (1, 3)


def test_an_object_added_later_reaches_who_waits_for_the_factory():
    line = Line(("slow", 10), max_size=2)
    line.clock.call_later(1, lambda: line.pool.add_obj("added"))
    with line.pool.lease(timeout=5) as obj:
        assert (obj, line.clock.time) == ("added", 1)


def test_what_is_being_made_has_its_room_already():
    line = Line(("slow", 10), max_size=1)
    line.fails(opool.PoolTimeout, timeout=1)
    with pytest.raises(ValueError, match="max_size=1"):
        line.pool.add_obj("no room")


# ----------------------------------------------------------------------------------------------------------------------
# Failing


def test_where_nothing_could_come_back_the_error_comes_at_once():
    line = Line("error")
    error = line.fails(timeout=60)
    assert type(error.__cause__) is ScriptedError and line.clock.time == 0


def test_all_who_wait_get_the_error_at_once():
    ready = threading.Event()

    def factory():
        ready.wait(60)
        raise OSError("down")

    pool = opool.Pool(factory=factory, max_size=1)

    def target(i):
        with pytest.raises(opool.FactoryError) as caught:
            pool.lease(timeout=60)
        return caught.value.__cause__

    crews = queue_up(pool, 5, target)
    ready.set()
    causes = [crew.join()[0] for crew in crews]
    assert len(set(map(id, causes))) == 1 and causes[0].args == ("down",)


def test_where_something_could_come_back_the_error_is_the_cause_of_the_timeout():
    line = Line("ok", *["error"] * 50, max_size=2)
    kept = line.pool.lease()
    error = line.fails(opool.PoolTimeout, timeout=3)
    assert type(error.__cause__) is ScriptedError and line.clock.time == pytest.approx(3)
    kept.release()


def test_while_the_factory_fails_what_comes_back_is_lent():
    line = Line("ok", *["error"] * 50, max_size=2)
    kept = line.pool.lease()
    line.clock.call_later(3, kept.release)
    with line.pool.lease(timeout=5) as obj:
        assert (obj.number, line.clock.time) == (0, 3)


def attempts(count=12):
    """When a factory that always fails was called."""
    clock, times = Clock(), []

    def factory():
        times.append(clock.time)
        raise OSError("down")

    pool = opool.Pool(factory=factory, min_size=1, clock=clock)
    while len(times) < count:
        clock.advance(1)
    assert pool.stats().create_failures == len(times)
    return times[:count]


def test_each_attempt_after_a_failure_waits_twice_as_long_up_to_five_seconds():
    times = attempts()
    pauses = [after - before for before, after in zip(times, times[1:])]
    for n, pause in enumerate(pauses):
        longest = min(0.1 * 2**n, 5.0)
        assert longest / 2 <= pause <= longest * 1.0001, (n, pause)


def test_pauses_are_jittered():
    pauses = [after - before for before, after in zip(attempts()[7:], attempts()[8:])]
    assert len(set(pauses)) == len(pauses) and max(pauses) < 5


def test_after_a_success_the_next_failure_waits_as_little_as_the_first():
    line = Line(*["error"] * 6, "ok", "error", "ok", max_size=2)
    line.pool.resize(min_size=1)
    line.clock.advance(30)
    assert line.pool.idle == 1
    began = line.clock.time
    first, second = line.pool.lease(), line.pool.lease(timeout=5)
    assert line.factory.calls == 9 and line.clock.time - began <= 0.1
    del first, second


def test_after_three_failures_everybody_fails_fast_and_nothing_is_tried():
    line = Line("error")
    for _ in range(3):
        line.fails(timeout=60)
    calls, before = line.factory.calls, line.clock.time
    for _ in range(100):
        assert type(line.fails(timeout=60).__cause__) is ScriptedError
    assert (line.factory.calls, line.clock.time) == (calls, before) == (3, before)
    assert line.pool.stats().refused == 100


def test_then_one_waits_for_a_probe_and_the_others_still_fail_fast():
    line = Line(*["error"] * 3, ("slow", 2), "ok")
    for _ in range(3):
        line.fails(timeout=60)
    line.clock.advance(1)
    others = []
    line.clock.call_later(1, lambda: others.append(line.fails(timeout=60)))
    began = line.clock.time
    with line.pool.lease(timeout=60) as obj:
        assert obj.number == 3 and line.clock.time - began == pytest.approx(2)
        assert type(others[0].__cause__) is ScriptedError and line.factory.calls == 4
        line.pool.lease(timeout=60).release()  # all is well again


# ----------------------------------------------------------------------------------------------------------------------
# Hanging, and coming late


def test_create_timeout_says_when_to_give_up():
    line = Line("never", create_timeout=4)
    error = line.fails(timeout=60)
    assert type(error.__cause__) is TimeoutError and line.clock.time == 4
    assert (line.pool.stats().create_failures, line.pool.stats().creating) == (1, 0)


def test_without_a_limit_a_creation_is_never_given_up():
    line = Line(("slow", 500), create_timeout=None)
    with line.pool.lease(timeout=1000):
        assert (line.clock.time, line.pool.stats().create_failures) == (500, 0)


def test_what_comes_late_is_used():
    line = Line(("slow", 5), create_timeout=2)
    line.fails(timeout=60)
    line.clock.advance(3)
    with line.pool.lease(timeout=0) as obj:
        assert (obj.number, line.factory.calls) == (0, 1)
    check_invariants(line.pool)


def test_what_comes_late_and_has_no_room_is_disposed_of():
    dispose = Scripted()
    line = Line(("slow", 5), "ok", create_timeout=2, min_size=1, max_size=1, dispose=dispose)
    line.clock.advance(4)
    assert [obj.number for obj in drain(line.pool)] == [1]
    line.clock.advance(4)
    assert [obj.number for (obj,) in dispose.args] == [0]
    assert [obj.number for obj in drain(line.pool)] == [1]
    assert line.pool.stats().retired["surplus"] == 1
    check_invariants(line.pool)


def test_a_failure_that_comes_late_counts_once():
    class Late(Scripted):
        def _begin(self, clock, job):
            clock.call_later(5, lambda: job.fail(OSError("late")))

    clock = Clock()
    pool = opool.Pool(factory=Late(), create_timeout=2, clock=clock)
    with pytest.raises(opool.FactoryError):
        pool.lease(timeout=60)
    clock.advance(10)
    assert pool.stats().create_failures == 1
    check_invariants(pool)


def test_a_factory_that_hangs_holds_up_neither_returns_nor_given_objects():
    gate = Gate()
    pool = opool.Pool(things(1), factory=gate, max_size=3)
    held = pool.acquire()
    (crew,) = queue_up(pool, 1, lambda i: pool.acquire(timeout=60))
    eventually(lambda: gate.running == 1)
    pool.release(held)
    assert crew.join() == [held]
    pool.release(held)
    assert Crew(1, lambda i: pool.lease(timeout=0).obj).join() == [held]
    gate.open.set()


def test_an_attempt_that_takes_very_long_gets_company():
    line = Line("never", "ok", create_timeout=60)
    assert line.pool.lease(timeout=10).obj.number == 1
    assert line.clock.time == pytest.approx(5)


def test_try_lease_has_an_object_made_for_the_next_one():
    line = Line(("slow", 1))
    assert line.pool.try_lease() is None
    assert line.pool.try_lease() is None
    line.clock.advance(1)
    with line.pool.try_lease() as obj:
        assert obj.number == 0
    line.clock.advance(10)
    assert line.factory.calls == 1
