"""Who holds what: holders and their stacks, leaks in the log, and deadlocks that are seen instead of waited for."""

import gc
import logging
import threading

import pytest

import opool
from opool import _deadlock, _task_holders
from opool.testing import Clock, Scripted
from progress import computing
from support import LIMIT, Crew, Thing, eventually, queue_up, things, threads


class Keeper:
    """A thread that has an object until it is told to give it back."""

    def __init__(self, pool, name):
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.keep_it_busy, args=(pool,), name=name, daemon=True)
        self.thread.start()
        eventually(lambda: (self.thread.ident, True) in [(h.thread_id, h.entered) for h in pool.holders()])

    def keep_it_busy(self, pool):
        with pool.lease(timeout=60) as self.obj:
            self.done.wait(60)

    def stop(self):
        self.done.set()
        self.thread.join(LIMIT)


# ----------------------------------------------------------------------------------------------------------------------
# holders


def test_nobody_holds_anything_of_a_pool_at_rest():
    pool = opool.Pool(things(2))
    pool.lease().release()
    assert pool.holders() == []


def test_a_holder_has_object_thread_and_age():
    pool = opool.Pool(things(2), timing=True)
    keeper = Keeper(pool, "slow report")
    (holder,) = pool.holders()
    assert (holder.obj, holder.thread_id, holder.thread) == (keeper.obj, keeper.thread.ident, "thread 'slow report'")
    assert holder.exact and 0 <= holder.age < 60 and holder.place is None
    assert str(holder).startswith("Thing(0), with thread 'slow report' for ")
    keeper.stop()
    assert pool.holders() == []


def test_the_one_who_has_held_for_longest_comes_first():
    clock = Clock()
    pool = opool.Pool("abc", timing=True, clock=clock)
    leases = []
    for _ in range(3):
        leases.append(pool.lease())
        clock.advance(10)
    assert [(holder.obj, holder.age) for holder in pool.holders()] == [("a", 30), ("b", 20), ("c", 10)]
    del leases


@pytest.mark.parametrize("option", [{"timing": True}, {"track": True}, {"leak_after": 500.0}, {"max_idle": 500.0}])
def test_ages_are_exact_where_an_option_needs_the_time_anyway(option):
    clock = Clock()
    pool = opool.Pool(factory=Thing, clock=clock, **option)
    with pool.lease():
        clock.advance(42)
        (holder,) = pool.holders()
        assert (holder.age, holder.exact) == (42, True)


def test_else_an_age_is_at_least_the_time_since_somebody_first_looked():
    clock = Clock()
    pool = opool.Pool(["a"], clock=clock)
    lease = pool.lease()
    clock.advance(100)
    assert "for an unknown time" in str(pool.holders()[0])
    clock.advance(7)
    (holder,) = pool.holders()
    assert (holder.age, holder.exact) == (7, False)
    assert str(holder) == "'a', with thread 'MainThread' for at least 7 s"
    lease.release()
    with pool.lease():
        assert pool.holders()[0].age == 0


def test_the_holder_is_who_entered_the_lease_and_not_who_took_it():
    pool = opool.Pool(things(1))
    lease = pool.lease()
    (before,) = pool.holders()

    def enter(_):
        with lease:
            return pool.holders()[0]

    (inside,) = threads(1, enter)
    assert (before.thread_id, before.entered) == (threading.get_ident(), False)
    assert (inside.thread_id != threading.get_ident(), inside.entered) == (True, True)


def test_a_bare_object_has_a_holder_too():
    pool = opool.Pool(things(1))
    obj = pool.acquire()
    (holder,) = pool.holders()
    assert (holder.obj, holder.thread_id, holder.entered) == (obj, threading.get_ident(), False)
    pool.release(obj)


def test_a_holder_shows_what_its_thread_is_doing_now():
    pool = opool.Pool(things(1))
    keeper = Keeper(pool, "k")
    (holder,) = pool.holders()
    assert "in keep_it_busy" in holder.stack() and "self.done.wait(60)" in holder.stack()
    keeper.stop()
    eventually(lambda: holder.stack() == "  thread 'k' has no stack\n")


def test_a_stack_of_the_asking_thread_ends_where_it_asks():
    pool = opool.Pool(things(1))
    with pool.lease():
        stack = pool.holders()[0].stack()
    assert stack.rstrip().endswith("stack = pool.holders()[0].stack()")


def test_a_thread_that_ended_with_an_object_is_named_so():
    pool = opool.Pool(things(1))
    threads(1, lambda _: pool.acquire())
    eventually(lambda: "(ended)" in pool.holders()[0].thread)
    assert pool.holders()[0].stack().endswith(" (ended) has no stack\n")


def test_with_track_a_holder_knows_where_it_took_its_object():
    pool = opool.Pool(things(3), track=True)
    with pool.lease():
        bare = pool.acquire()
        tried = pool.try_lease()
        places = [holder.place for holder in pool.holders()]
    line = test_with_track_a_holder_knows_where_it_took_its_object.__code__.co_firstlineno
    where = f"in {test_with_track_a_holder_knows_where_it_took_its_object.__name__}"
    assert sorted(places) == [f"{__file__}:{line + n} {where}" for n in (2, 3, 4)]
    pool.release(bare)
    tried.release()


def test_a_thread_that_had_to_wait_has_its_place_too():
    pool = opool.Pool(things(1), track=True)
    lease = pool.lease()
    (crew,) = queue_up(pool, 1, lambda i: pool.acquire(timeout=60))
    lease.release()
    crew.join()
    (holder,) = pool.holders()
    assert holder.place.endswith("in <lambda>") and __file__ in holder.place


def test_an_object_whose_repr_fails_does_not_hide_its_holder():
    class Rude:
        def __repr__(self):
            raise OSError("no")

    pool = opool.Pool([Rude()])
    with pool.lease():
        assert str(pool.holders()[0]).startswith("an object of type Rude, with thread ")


def test_a_coroutine_that_runs_is_not_asked_what_it_awaits():
    class Coroutine:
        """That of a task which another thread runs at this moment."""

        cr_running = True

        @property
        def cr_await(self):
            raise AssertionError("the answer may be no object at all")

    class Task:
        coro = Coroutine()

    assert _task_holders.awaited_chain(Task) == [Task.coro]


def test_holders_of_a_thousand_threads_are_found_at_once():
    pool, done = opool.Pool(range(1000)), threading.Event()

    def keep(_):
        with pool.lease():
            done.wait(60)

    threading.stack_size(256 * 1024)
    try:
        crew = Crew(1000, keep)
    finally:
        threading.stack_size(0)
    eventually(lambda: pool.leased == 1000)
    with computing() as seconds:
        found = pool.holders()
    assert len({holder.thread for holder in found}) == 1000 and seconds() < 5
    with pytest.raises(opool.PoolCloseTimeout) as caught:
        pool.close(timeout=0)
    assert len(caught.value.holders) == 1000
    assert len(str(caught.value)) < 1000 and str(caught.value).endswith("; and 990 more")
    done.set()
    crew.join()


# ----------------------------------------------------------------------------------------------------------------------
# Leaks


def leaks(caplog):
    return [record for record in caplog.records if "kept too long" in record.message]


def test_a_lease_that_lasts_too_long_is_logged_once_with_place_and_stack(caplog):
    clock = Clock()
    pool = opool.Pool(["a"], name="db", leak_after=60, track=True, clock=clock)
    with pool.lease():
        clock.advance(59)
        assert leaks(caplog) == []
        clock.advance(500)
    (record,) = leaks(caplog)
    assert (record.name, record.levelname) == ("opool", "WARNING")
    assert record.message.startswith(
        "pool 'db': a lease is kept too long: 'a', with thread 'MainThread' for 60 s, taken at "
    )
    assert "in test_a_lease_that_lasts_too_long_is_logged_once_with_place_and_stack" in record.message


def test_the_next_lease_of_the_same_object_is_a_lease_of_its_own(caplog):
    clock = Clock()
    pool = opool.Pool(["a"], leak_after=60, clock=clock)
    for seconds in (61, 30, 61):
        with pool.lease():
            clock.advance(seconds)
    assert len(leaks(caplog)) == 2


def test_a_bare_object_and_a_thread_that_has_ended_leak_as_well(caplog):
    clock = Clock()
    pool = opool.Pool(["a"], leak_after=60, clock=clock)
    (ident,) = threads(1, lambda _: (pool.acquire(), threading.get_ident())[1])
    eventually(lambda: "(ended)" in pool.holders()[0].thread)
    clock.advance(60)
    (record,) = leaks(caplog)
    assert f"'a', with thread {ident} (ended) for 60 s" in record.message and "has no stack" in record.message


def test_with_threads_a_leak_is_seen_while_it_lasts(caplog):
    pool = opool.Pool(things(2), leak_after=0.1)
    keeper = Keeper(pool, "slow report")
    eventually(lambda: leaks(caplog))
    assert "thread 'slow report'" in leaks(caplog)[0].message and "in keep_it_busy" in leaks(caplog)[0].message
    keeper.stop()


# ----------------------------------------------------------------------------------------------------------------------
# Deadlocks


def test_who_waits_for_what_it_holds_itself_is_told():
    pool = opool.Pool(factory=Thing, max_size=1, name="db")
    with pool.lease():
        with pytest.raises(opool.PoolDeadlock) as caught:
            pool.lease(timeout=None)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "pool 'db': a deadlock: its only object is with a thread that waits for this pool itself. "
        "Give one back before you take the next, or raise max_size (now 1)."
    )
    assert lines[1] == "thread 'MainThread' (this one) holds 1, at:"
    assert lines[-1].strip() == "pool.lease(timeout=None)"
    assert isinstance(caught.value, opool.PoolTimeout) and pool.idle == 1


def test_threads_that_wait_for_each_other_are_all_shown_and_one_gives_way():
    pool = opool.Pool(factory=Thing, max_size=2)
    both = threading.Barrier(2)
    errors = []

    def first_one_then_another(i):
        with pool.lease(timeout=60):
            both.wait(60)
            try:
                with pool.lease(timeout=60):
                    pass
            except opool.PoolDeadlock as error:
                errors.append(str(error))

    threads(2, first_one_then_another)
    assert 1 <= len(errors) <= 2 and pool.idle == 2
    assert "all 2 objects are with threads that wait for this pool themselves" in errors[0]
    # Both stand at the same line, which is shown once.
    assert errors[0].count("in first_one_then_another") == 1 and errors[0].count(" holds 1") == 2


def test_a_deadlock_is_seen_on_a_tests_clock_too():
    clock = Clock()
    pool = opool.Pool(factory=Scripted(clock=clock), max_size=1, clock=clock)
    with pool.lease():
        with pytest.raises(opool.PoolDeadlock):
            pool.lease(timeout=60)
    assert clock.time == pytest.approx(0.1)


def test_it_is_no_deadlock_while_somebody_holds_one_who_does_not_wait():
    pool = opool.Pool(factory=Thing, max_size=2)
    keeper = Keeper(pool, "k")
    with pool.lease(timeout=60):
        with pytest.raises(opool.PoolTimeout) as caught:
            pool.lease(timeout=0.3)
    assert type(caught.value) is opool.PoolTimeout
    keeper.stop()


def test_it_is_no_deadlock_while_there_is_room_to_make_one():
    clock = Clock()
    pool = opool.Pool(factory=Scripted("ok", ("slow", 5), clock=clock), max_size=2, clock=clock)
    with pool.lease(), pool.lease(timeout=10):
        assert clock.time == 5


def stuck(pool, take):
    """The kind of timeout, where the only object is taken like this and not entered."""
    kept = take(pool)
    with pytest.raises(opool.PoolTimeout) as caught:
        pool.lease(timeout=3)
    del kept
    return type(caught.value)


@pytest.mark.parametrize("take", [opool.Pool.acquire, opool.Pool.lease])
def test_what_any_thread_could_give_back_is_only_suspicious(take, caplog):
    clock = Clock()
    pool = opool.Pool(factory=Scripted(clock=clock), max_size=1, name="db", clock=clock)
    assert stuck(pool, take) is opool.PoolTimeout
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("pool 'db': probably a deadlock: its only object is with a thread that waits ")


def test_where_somebody_could_add_an_object_it_is_only_suspicious(caplog):
    clock = Clock()
    pool = opool.Pool(["a"], name="db", clock=clock)
    clock.call_later(2, lambda: pool.add_obj("b"))
    with pool.lease(), pool.lease(timeout=10) as second:
        assert (second, clock.time) == ("b", 2)
    (record,) = caplog.records
    assert "probably a deadlock" in record.message and "or add objects." in record.message


def test_to_have_told_of_a_deadlock_keeps_no_lease_alive(caplog):
    clock = Clock()
    pool = opool.Pool(["a"], clock=clock)

    def take(held):
        taken = pool.lease(timeout=2)
        held.append(taken)

    held, first = [], pool.lease()
    clock.call_later(1.5, first.release)
    gc.disable()
    try:
        take(held)
        assert "probably a deadlock" in caplog.text
        held.clear()
        assert pool.idle == 1
    finally:
        gc.enable()


def test_those_who_wait_already_when_a_deadlock_begins_are_served_after_it():
    pool = opool.Pool(factory=Thing, max_size=1)
    held = pool.lease(timeout=60)
    with held:
        crews = queue_up(pool, 3, lambda i: pool.release(pool.acquire(timeout=60)))
        with pytest.raises(opool.PoolDeadlock):  # begun at once: all of them look while this thread waits
            pool.lease(timeout=60)
    for crew in crews:
        crew.join()
    assert pool.idle == 1


# ----------------------------------------------------------------------------------------------------------------------
# The log


def test_the_background_speaks_on_the_logger_opool_and_names_the_pool(caplog):
    clock = Clock()
    options = {"check": Scripted("error", "ok"), "reset": Scripted("ok", "error"), "dispose": Scripted("error")}
    with caplog.at_level(logging.INFO, "opool"):
        pool = opool.Pool(factory=Scripted("ok", "error", "ok"), name="db", clock=clock, **options)
        pool.lease().release()
        clock.advance(2)
        with pytest.raises(opool.FactoryError):
            pool.lease(timeout=5)
        pool.lease(timeout=5).release()
        clock.advance(0)
    said = {(record.levelname, record.message) for record in caplog.records}
    assert {record.name for record in caplog.records} == {"opool"}
    assert said == {
        ("INFO", "pool 'db': check failed: ScriptedError('call 0 of the script'); object discarded"),
        ("WARNING", "pool 'db': reset failed: ScriptedError('call 1 of the script'); object discarded"),
        ("WARNING", "pool 'db': dispose failed: ScriptedError('call 0 of the script')"),
        ("WARNING", "pool 'db': dispose failed: ScriptedError('call 1 of the script')"),
    }
    assert all(record.exc_info for record in caplog.records)


def test_a_check_that_says_no_is_worth_a_word_and_no_traceback(caplog):
    clock = Clock()
    with caplog.at_level(logging.INFO, "opool"):
        pool = opool.Pool("ab", check=Scripted(make=lambda obj: obj == "b"), clock=clock)
        clock.advance(2)
        pool.lease(timeout=5).release()
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert record.message == "pool: check returned False; object discarded"


def test_a_deadlock_whose_objects_have_come_back_meanwhile_is_reported_without_holders():
    pool = opool.Pool(things(1), name="letters")
    message = str(_deadlock.deadlock_error(pool))
    assert message.startswith("pool 'letters': all its objects were with those that waited for it themselves")
