"""What errors say: a timeout tells what was going on, a misuse is named, and all of it survives a trip elsewhere."""

import copy
import gc
import logging
import pickle
import re
import sys
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import opool
from opool._text import duration, seconds, shown, thread_name, thread_names
from opool.errors import Oldest, TimeoutFacts
from opool.testing import Clock, Scripted, ScriptedError
from support import Crew, Thing, eventually, queue_up, things, threads


def raised(call, *args, **kwargs):
    with pytest.raises(opool.PoolError) as caught:
        call(*args, **kwargs)
    return caught.value


def scripted(*script, **options):
    """A pool on a clock, whose factory does what the script says."""
    clock = Clock()
    return opool.Pool(factory=Scripted(*script, clock=clock), clock=clock, name="db", **options)


# ----------------------------------------------------------------------------------------------------------------------
# PoolTimeout


def test_a_timeout_tells_pool_time_counts_holder_and_what_to_do():
    clock = Clock()
    pool = opool.Pool(["a"], name="db", timing=True, clock=clock)
    with pool.lease():
        clock.advance(40)
        error = raised(pool.lease, timeout=2.5)
        assert str(error) == (
            "pool 'db': no object came free within 2.5 s (size 1, idle 0, leased 1, waiting 1). Held longest: thread "
            "'MainThread' (this one), for 42.5 s. This very thread has an object already: give it back first, or add "
            "objects."
        )


def test_a_timeout_of_nothing_does_not_speak_of_time():
    pool = opool.Pool(["a"], name="db")
    lease = pool.lease()
    assert str(raised(pool.acquire, timeout=0)).startswith("pool 'db': no object is free (size 1, ")
    lease.release()


def test_a_timeout_has_its_facts_as_numbers():
    pool = scripted("ok", ("slow", 5), max_size=2, timing=True)
    lease = pool.lease()
    facts = raised(pool.lease, timeout=3).facts
    ident = threading.get_ident()
    assert facts == TimeoutFacts(
        pool="pool 'db'",
        timeout=3.0,
        queued=0.0,
        creating=3.0,
        checking=0.0,
        position=1,
        size=1,
        idle=0,
        leased=1,
        waiting=1,
        max_size=2,
        oldest=Oldest(thread_name(ident), 3.0, exact=True, asked=True),
        failure=None,
    )
    lease.release()


def test_a_timeout_says_how_long_it_was_queued_creating_and_checking():
    clock = Clock()
    factory, check = Scripted("ok", ("slow", 3), clock=clock), Scripted(("slow", 2), clock=clock, make=lambda _: False)
    pool = opool.Pool(factory=factory, check=check, max_size=1, clock=clock)
    pool.lease().release()
    clock.advance(10)
    error = raised(pool.lease, timeout=4)
    facts = error.facts
    assert (facts.queued, facts.creating, facts.checking) == pytest.approx((0, 2, 2))
    assert "Of that: creating 2 s, checking 2 s." in str(error)


def test_a_timeout_behind_others_tells_the_place_in_the_queue():
    pool = opool.Pool(things(1))
    lease = pool.lease()
    ahead = queue_up(pool, 2, lambda i: pool.acquire(timeout=60))
    error = raised(pool.lease, timeout=0.05)
    assert error.facts.position == 3 and "Position 3 of 3 in the queue." in str(error)
    lease.release()
    for crew in ahead:
        pool.release(*crew.join())


def test_a_timeout_names_another_threads_lease_as_the_oldest():
    pool, done = opool.Pool(things(2), timing=True), threading.Event()

    def keep():
        with pool.lease():
            done.wait(60)

    keeper = threading.Thread(target=keep, name="slow report", daemon=True)
    keeper.start()
    eventually(lambda: pool.leased == 1)
    with pool.lease():
        error = raised(pool.lease, timeout=0.05)
    done.set()
    keeper.join(60)
    assert error.facts.oldest.exact and error.facts.oldest.age >= 0.05
    assert re.search(r"Held longest: thread 'slow report', for [0-9.]+ s\.", str(error))
    assert "look for a lease that is kept too long" in str(error)


def test_without_options_that_need_the_time_an_age_is_at_least_or_unknown():
    pool = opool.Pool(things(1))
    lease = pool.lease()
    assert "for an unknown time" in str(raised(pool.lease, timeout=0))
    second = raised(pool.lease, timeout=0.05)
    assert not second.facts.oldest.exact and second.facts.oldest.age >= 0.05
    assert re.search(r"for at least [0-9.]+ s", str(second))
    lease.release()


def test_who_has_waited_for_long_knows_how_long_others_had_their_objects():
    clock = Clock()
    pool = opool.Pool(things(1), clock=clock)
    lease = pool.lease()
    error = raised(pool.lease, timeout=30)
    assert not error.facts.oldest.exact and 29 <= error.facts.oldest.age <= 30
    lease.release()


def test_the_real_error_of_the_factory_is_the_cause_of_a_timeout():
    pool = scripted("ok", "error", max_size=2)
    with pool.lease():
        error = raised(pool.lease, timeout=0.01)
    assert type(error.__cause__) is ScriptedError
    assert "The latest attempt to create an object failed: ScriptedError('call 1 of the script')." in str(error)
    assert str(error).endswith("Fix the factory error above (see __cause__).")
    assert "ScriptedError" in error.facts.failure


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        ({"failure": "OSError()"}, "Fix the factory error above (see __cause__)."),
        ({"creating": 3.0}, "The factory is slow: keep more objects ready with min_size, or wait longer."),
        ({"checking": 3.0}, "The check is slow: make it quicker, lower check_timeout, or wait longer."),
        ({"size": 0, "leased": 0}, "The pool is empty: add objects with add_obj."),
        ({}, "Wait longer, add objects, or look for a lease that is kept too long."),
        ({"max_size": 1}, "Wait longer, raise max_size (now 1), or look for a lease that is kept too long."),
        ({"max_size": 9}, "Wait longer: there was room to create more objects."),
    ],
)
def test_a_timeout_ends_with_one_sentence_of_advice_that_fits(facts, advice):
    plain = TimeoutFacts("pool", 5.0, 5.0, 0.0, 0.0, 1, 1, 0, 1, 1, None, None, None)
    assert plain._replace(**facts).explain().endswith(f". {advice}")


def test_an_empty_pool_says_how_to_fill_it():
    assert str(raised(opool.Pool().lease, timeout=0)).endswith("The pool is empty: add objects with add_obj.")


@pytest.mark.parametrize(
    ("time", "words"),
    [(0, "0 s"), (1e-5, "0 s"), (0.0123, "0.0123 s"), (2.0, "2 s"), (59.96, "60 s"), (7262.4, "7262 s")],
)
def test_times_are_written_as_people_write_them(time, words):
    assert seconds(time) == words == duration(time, exact=True)


def test_a_timeout_shows_its_message_in_its_repr_too():
    error = raised(opool.Pool(name="db").lease, timeout=0)
    assert repr(error) == f"PoolTimeout({str(error)!r})"
    assert repr(opool.PoolTimeout("mine")) == "PoolTimeout('mine')"


def test_the_message_does_not_change_when_a_user_chains_the_error():
    error = raised(opool.Pool(name="db").lease, timeout=0)
    before = str(error)
    with pytest.raises(opool.PoolTimeout):
        raise error from KeyError("of the user")
    assert str(error) == before


def test_a_repr_that_is_long_or_fails_does_not_spoil_a_message():
    class Rude:
        def __repr__(self):
            raise ValueError("no")

    assert shown(Rude()) == "an object of type Rude"
    assert shown("x" * 1000) == "'" + "x" * 199 + "..."


# ----------------------------------------------------------------------------------------------------------------------
# The others


def test_a_factory_error_has_the_real_one_as_its_cause_and_says_so():
    pool = scripted("error")
    error = raised(pool.lease)
    assert type(error) is opool.FactoryError and type(error.__cause__) is ScriptedError
    assert str(error).startswith(
        "pool 'db': it has no object, and creating one failed with ScriptedError (see __cause__). The next attempt "
        "may begin in 0.0"
    )


def test_a_factory_error_says_how_often_and_when_it_goes_on():
    pool = scripted("error")
    for _ in range(3):
        error = raised(pool.lease)
    assert "creating one failed 3 times in a row with ScriptedError (see" in str(error)
    assert " The next attempt may begin in 0." in str(error)


def test_a_factory_that_is_given_up_is_a_cause_as_well():
    error = raised(scripted("never", create_timeout=2).lease)
    assert type(error.__cause__) is TimeoutError
    assert str(error.__cause__) == "the factory took longer than create_timeout (2 s)"
    assert "creating one failed with TimeoutError (see __cause__)" in str(error)


def test_with_threads_a_factory_that_is_given_up_is_the_cause_at_once():
    gate = threading.Event()
    try:
        for _ in range(10):
            error = raised(opool.Pool(factory=lambda: gate.wait(60), create_timeout=0.01).lease, timeout=60)
            assert type(error) is opool.FactoryError and type(error.__cause__) is TimeoutError
    finally:
        gate.set()


def test_what_was_given_up_and_comes_late_does_not_hide_the_errors_since():
    clock = Clock()
    factory = Scripted(("slow", 3), *["error"] * 9, clock=clock)
    pool = opool.Pool(factory=factory, create_timeout=2, clock=clock)
    assert type(raised(pool.lease).__cause__) is TimeoutError
    assert type(raised(pool.lease).__cause__) is ScriptedError
    clock.advance(3)
    with pool.lease(timeout=0) as late:
        assert late.number == 0
        assert type(raised(pool.lease, timeout=0).__cause__) is ScriptedError


@pytest.mark.parametrize("failure", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(5), OSError()])
def test_whatever_a_factory_raises_reaches_the_one_who_waits_as_a_cause(failure):
    def factory():
        raise failure

    error = raised(opool.Pool(factory=factory).lease, timeout=60)
    assert type(error) is opool.FactoryError and error.__cause__ is failure


def test_a_factory_that_returns_none_is_told_so():
    error = raised(opool.Pool(factory=lambda: None).lease, timeout=60)
    assert str(error.__cause__) == "the factory returned None instead of an object"


def test_too_many_waiters_are_told_the_limit_and_what_to_do():
    pool = opool.Pool(things(1), name="db", max_waiting=1)
    lease = pool.lease()
    (crew,) = queue_up(pool, 1, lambda i: pool.acquire(timeout=60))
    assert str(raised(pool.lease)) == (
        "pool 'db': max_waiting=1 wait already (size 1, idle 0, leased 1, waiting 1). "
        "Try again later, or raise max_waiting or max_size."
    )
    lease.release()
    pool.release(*crew.join())


def test_where_nobody_may_wait_the_message_says_that():
    pool = opool.Pool(things(1), name="db", max_waiting=0)
    with pool.lease():
        assert "nothing is free, and with max_waiting=0 nobody may wait" in str(raised(pool.lease))


# ----------------------------------------------------------------------------------------------------------------------
# Misuse


def test_each_misuse_has_a_message_of_its_own():
    pool, other = opool.Pool(["a"], name="db"), opool.Pool(["b"], name="other")
    obj, foreign = pool.acquire(), other.acquire()
    wrong_pool = str(raised(pool.release, foreign))
    pool.release(obj)
    released_twice = str(raised(pool.release, obj))
    lease = pool.lease()
    lease_has_it = str(raised(pool.release, obj))
    lease.release()
    lease_released_twice = str(raised(lease.release))
    used_after = str(raised(lease.__enter__))
    discarded_after = str(raised(lease.discard))
    messages = {
        wrong_pool: "'b': it is not an object of this pool: give it back to the one that it came from",
        released_twice: "'a': it is back already: it was released twice, or was never acquired",
        lease_has_it: "'a': it is held by a lease, which gives it back itself",
        lease_released_twice: "released> cannot be released twice: its object may be leased again",
        used_after: "cannot be entered: it is already released, and its object may be leased again; take a new lease",
        discarded_after: "cannot be released twice",
    }
    for message, words in messages.items():
        assert message.startswith("pool 'db': ") and words in message
    other.release(foreign)


# ----------------------------------------------------------------------------------------------------------------------
# Elsewhere


class Stubborn(Thing):
    """As a connection: it does not go through pickle."""

    def __reduce__(self):
        raise TypeError("cannot pickle a connection")


def every_error():
    failing = scripted("ok", "error", max_size=2)
    out = opool.Pool([Stubborn("a")], name="db", max_waiting=0, track=True)
    lease, kept = out.lease(), failing.lease()
    errors = [raised(out.lease), raised(failing.lease, timeout=0.01), raised(scripted("error").lease)]
    errors += [raised(opool.Pool().lease, timeout=0), raised(out.release, 5), raised(out.close, timeout=0)]
    errors += [raised(out.lease), opool.PoolDeadlock("stacks"), opool.PoolError("any")]
    lease.release()
    kept.release()
    return errors


def pickled(protocol):
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


@pytest.mark.parametrize("trip", [copy.copy, copy.deepcopy, *map(pickled, range(pickle.HIGHEST_PROTOCOL + 1))])
def test_every_error_can_be_copied_and_pickled_and_says_the_same(trip):
    for error in every_error():
        twin = trip(error)
        assert type(twin) is type(error) and str(twin) == str(error) and repr(twin) == repr(error)
        assert getattr(twin, "facts", None) == getattr(error, "facts", None)


def test_who_holds_what_stays_in_the_process():
    pool = opool.Pool([Stubborn("a")])
    with pool.lease():
        error = raised(pool.close, timeout=0)
        assert [holder.obj.label for holder in error.holders] == ["a"]
        twin = pickle.loads(pickle.dumps(error))
    assert twin.holders == [] and "Thing('a'), with thread 'MainThread'" in str(twin)


def time_out():
    scripted_pool = scripted("ok", max_size=1)
    with scripted_pool.lease():
        scripted_pool.lease(timeout=0)


def test_a_timeout_in_a_process_pool_says_there_what_it_said_here():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        with pytest.raises(opool.PoolTimeout) as caught:
            executor.submit(time_out).result(60)
    # The executor puts the other process's traceback where the factory's error would be.
    assert caught.value.__cause__ is not None and "factory" not in str(caught.value)
    assert "pool 'db': no object is free" in str(caught.value)


# ----------------------------------------------------------------------------------------------------------------------
# Threads, and what errors keep alive


def test_a_thread_that_threading_does_not_know_is_not_said_to_have_ended():
    import _thread

    ident, go_on = [], threading.Event()
    _thread.start_new_thread(lambda: (ident.append(_thread.get_ident()), go_on.wait(60)), ())
    eventually(lambda: ident)
    eventually(lambda: ident[0] in sys._current_frames())
    # Waiting for an event makes `threading` know it on some versions.
    assert "ended" not in thread_name(ident[0], names={})
    go_on.set()


def test_a_thread_that_has_ended_is_said_to_have_ended():
    (ident,) = threads(1, lambda _: threading.get_ident())
    eventually(lambda: ident not in sys._current_frames())
    assert thread_name(ident) == f"thread {ident} (ended)"


def test_threads_are_called_by_their_names():
    assert thread_name(threading.get_ident()) == f"thread {threading.current_thread().name!r}"
    crew_done = threading.Event()
    crew = Crew(3, lambda _: crew_done.wait(60))
    known = thread_names()
    assert all(thread_name(ident, known) == thread_name(ident) for ident in crew.idents)
    crew_done.set()
    crew.join()


def test_a_timeout_keeps_neither_its_pool_nor_an_object_alive():
    class Weak(opool.Pool):
        pass

    pool, obj = Weak([thing := Thing("kept?")]), weakref.ref(thing)
    del thing
    lease = pool.lease()
    error = raised(pool.lease, timeout=0)
    error.__traceback__ = None
    gone = weakref.ref(pool)
    lease.release()
    del pool, lease
    gc.collect()
    assert (gone(), obj()) == (None, None) and "pool" in str(error)


@pytest.fixture
def nobody_logs(monkeypatch):
    """Else pytest keeps every error that was logged."""
    monkeypatch.setattr(logging.getLogger("opool"), "disabled", True)


@pytest.mark.usefixtures("nobody_logs")
def test_a_stored_error_whose_traceback_leads_to_the_pool_does_not_keep_it_alive():
    class Owner:
        def __init__(self):
            self.pool = opool.Pool(factory=self.connect, clock=Clock())

        def connect(self):
            raise OSError("down")

    owner = Owner()
    error = raised(owner.pool.lease)
    assert error.__cause__ is not None
    gone = weakref.ref(owner)
    del owner, error
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("nobody_logs")
def test_the_cause_is_forgotten_when_creating_works_again():
    pool = scripted("error", "ok", max_size=2)
    cause = weakref.ref(raised(pool.lease).__cause__)
    pool.lease(timeout=10).release()
    gc.collect()
    assert cause() is None
