"""Keeping objects fit: check before they go out, reset when they come back."""

import gc
import logging
import sys
import threading
import weakref

import pytest

import opool
from opool.testing import Clock, Scripted, ScriptedError, check_invariants
from scripted_pool import Line, of
from support import Hit, eventually, queue_up, things


def checked(answer, **options):
    """A pool of one object that has been idle for so long that it is checked, by a check that answers this."""
    calls = []

    def check(obj):
        calls.append(obj)
        return answer() if callable(answer) else answer

    line = of(Line(check=check, **options), 1)
    line.clock.advance(2)
    with line.pool.lease() as obj:
        return obj.number, calls, line


# ----------------------------------------------------------------------------------------------------------------------
# check


@pytest.mark.parametrize("answer", [None, True, 1, "yes", [0], object()])
def test_an_object_is_fit_if_its_check_returns_none_or_something_true(answer):
    number, calls, line = checked(lambda: answer)
    assert (number, len(calls), line.gone) == (0, 1, [])


@pytest.mark.parametrize("answer", [False, 0, "", [], 0.0])
def test_an_object_whose_check_returns_something_else_that_is_false_goes(answer):
    number, _, line = checked(answer)
    assert (number, line.retired) == (1, {"unfit": 1})
    line.clock.advance(0)
    assert [obj.number for obj in line.gone] == [0]


@pytest.mark.parametrize("kind", [OSError, SystemExit, KeyboardInterrupt])
def test_an_object_whose_check_raises_goes(kind):
    def check():
        raise kind("broken")

    number, _, line = checked(check)
    assert (number, line.retired) == (1, {"unfit": 1})


def test_an_object_whose_check_returns_what_is_neither_true_nor_false_goes():
    class Undecided:
        def __bool__(self):
            raise ValueError("who knows")

    number, _, line = checked(Undecided)
    assert (number, line.retired) == (1, {"unfit": 1})


@pytest.mark.parametrize(("idle_for", "calls"), [(0, 0), (5, 0), (5.001, 1), (100, 1)])
def test_an_object_is_checked_only_after_more_than_check_after(idle_for, calls):
    check = Scripted()
    line = of(Line(check=check, check_after=5), 1)
    line.clock.advance(idle_for)
    line.pool.lease().release()
    assert check.calls == calls


def test_with_check_after_zero_each_object_is_checked_that_was_idle_at_all():
    check = Scripted()
    line = of(Line(check=check, check_after=0), 1)
    line.clock.advance(1e-6)
    line.pool.lease().release()
    assert check.calls == 1


def test_an_object_that_passes_from_hand_to_hand_is_not_checked():
    check = Scripted("ok", "error")
    pool = opool.Pool(things(1), check=check, check_after=0)
    lease = pool.lease()
    (crew,) = queue_up(pool, 1, lambda i: pool.acquire(timeout=60))
    lease.release()
    pool.release(*crew.join())
    assert check.calls == 1


def test_instead_of_an_unfit_object_the_next_comes_within_the_same_deadline():
    line = Line(check=Scripted(*["error"] * 3, "ok"), max_size=4, max_waiting=0)
    of(line, 4).clock.advance(2)
    with line.pool.lease(timeout=0.5) as obj:
        assert (obj.number, line.factory.calls, line.retired) == (3, 4, {"unfit": 3})


def test_one_deadline_covers_checking_and_creating():
    clock = Clock()
    factory, check = Scripted("ok", ("slow", 2), clock=clock), Scripted(("slow", 2), clock=clock, make=lambda _: False)
    pool = opool.Pool(factory=factory, check=check, max_size=1, clock=clock)
    pool.lease().release()
    clock.advance(2)
    with pytest.raises(opool.PoolTimeout):
        pool.lease(timeout=3)
    assert clock.time == 5


def test_check_timeout_says_when_to_give_up_on_a_check():
    line = of(Line(check=("never",), check_timeout=3, max_size=1), 1)
    line.clock.advance(2)
    with line.pool.lease(timeout=10) as obj:
        assert (obj.number, line.clock.time, line.retired) == (1, 5, {"unfit": 1})


def test_a_check_that_ends_after_it_was_given_up_changes_nothing():
    clock = Clock()
    check = Scripted(("slow", 10), clock=clock)
    pool = opool.Pool(factory=Scripted(clock=clock), check=check, check_timeout=3, max_size=1, clock=clock)
    pool.lease().release()
    clock.advance(2)
    with pool.lease(timeout=10):
        clock.advance(20)
        assert (pool.size, pool.stats().retired["unfit"], check.running) == (1, 1, 0)
    check_invariants(pool)


def test_a_pool_without_a_factory_loses_what_is_unfit():
    clock = Clock()
    pool = opool.Pool("ab", check=Scripted("error", "ok"), clock=clock)
    clock.advance(2)
    with pool.lease(timeout=0.1) as obj:
        assert (obj, pool.size) == ("b", 1)


def test_a_check_holds_up_nobody_who_waits_for_what_comes_back():
    slow, running, go_on = threading.Event(), threading.Event(), threading.Event()

    def check(obj):
        if slow.is_set():
            running.set()
            go_on.wait(60)

    pool = opool.Pool(things(2), check=check, check_after=0)
    held = pool.acquire()
    slow.set()
    (crew,) = queue_up(pool, 1, lambda i: pool.acquire(timeout=60))
    assert running.wait(60) and pool.stats().checking == 1
    pool.release(held)
    assert crew.join() == [held]
    go_on.set()
    eventually(lambda: pool.idle == 1)
    check_invariants(pool)


# ----------------------------------------------------------------------------------------------------------------------
# reset


@pytest.mark.parametrize("give", ["with", "release", "call", "acquire"])
def test_whoever_gives_back_resets_before_anybody_else_gets_the_object(give):
    seen = []
    pool = opool.Pool(things(1), reset=lambda obj: seen.append((obj, threading.get_ident(), pool.idle)))
    if give == "with":
        with pool.lease() as obj:
            assert seen == []
    elif give == "acquire":
        obj = pool.acquire()
        pool.release(obj)
    else:
        lease = pool.lease()
        obj = lease.obj
        lease.release() if give == "release" else lease(None, None, None)
    assert seen == [(obj, threading.get_ident(), 0)] and pool.idle == 1


def test_an_object_that_could_not_be_reset_goes_and_nobody_is_bothered():
    line = Line(reset=("error", "ok", "ok"))
    for number in (0, 1, 1):
        with line.pool.lease() as obj:
            assert obj.number == number
    line.clock.advance(0)
    assert (line.retired, [obj.number for obj in line.gone]) == ({"not_reset": 1}, [0])


def test_the_exception_of_the_body_passes_a_reset_that_fails():
    line = Line(reset=Scripted("error"))
    with pytest.raises(Hit, match="body"):
        with line.pool.lease():
            raise Hit("body")
    assert line.retired == {"not_reset": 1}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("bare", [False, True])
def test_an_interrupt_in_a_reset_comes_out_and_the_object_goes(kind, bare):
    def reset(obj):
        raise kind("now")

    line = Line(reset=reset)
    with pytest.raises(kind, match="now"):
        if bare:
            line.pool.release(line.pool.acquire())
        else:
            with line.pool.lease():
                pass
    assert (line.retired, line.pool.leased) == ({"not_reset": 1}, 0)


def lose_by_dropping(pool):
    lease = pool.lease()
    return lease.obj


def lose_in_a_cycle(pool):
    loop = [pool.lease()]
    loop.append(loop)
    return loop[0].obj


@pytest.mark.parametrize("lose", [lose_by_dropping, lose_in_a_cycle])
def test_an_object_whose_lease_was_lost_is_reset_in_the_background_first(lose):
    done = []
    pool = opool.Pool(things(1), reset=lambda obj: done.append((obj, threading.get_ident())))
    obj = lose(pool)
    gc.collect()
    eventually(lambda: pool.idle == 1)
    ((what, who),) = done
    assert what is obj and who != threading.get_ident()
    check_invariants(pool)


@pytest.mark.parametrize("lose", [lose_by_dropping, lose_in_a_cycle])
def test_a_lost_object_that_cannot_be_reset_goes(lose):
    line = Line(reset=Scripted("error"))
    lose(line.pool)
    gc.collect()
    line.clock.advance(0)
    assert (line.retired, line.pool.size) == ({"not_reset": 1}, 0)


def test_a_reset_in_the_background_that_hangs_is_given_up_and_called_a_reset(caplog):
    line = Line(reset=("never",), check_timeout=3, name="db")
    with caplog.at_level(logging.INFO, "opool"):
        lose_by_dropping(line.pool)
        line.clock.advance(10)
    assert line.retired == {"not_reset": 1}
    assert "pool 'db': reset failed: TimeoutError('it took longer than check_timeout (3 s)')" in caplog.text


def test_a_waiter_gets_a_lost_object_only_after_its_reset():
    reset = Scripted()
    pool = opool.Pool(things(1), reset=reset)
    box = [pool.lease()]
    (crew,) = queue_up(pool, 1, lambda i: (pool.acquire(timeout=60), reset.calls))
    box.clear()
    ((obj, calls),) = crew.join()
    assert calls == 1
    pool.release(obj)


def test_a_discarded_object_is_not_reset():
    reset = Scripted()
    opool.Pool(things(1), reset=reset).lease().discard()
    assert reset.calls == 0


@pytest.mark.parametrize("option", ["reset", "track"])
def test_many_leases_refer_to_hooks_and_places_no_more_than_one_does(option):
    def reset(obj):
        pass

    pool = opool.Pool(things(1), **{option: reset if option == "reset" else True})
    watched = reset if option == "reset" else sys._getframe().f_code
    with pool.lease():
        pass
    before = sys.getrefcount(watched)
    for _ in range(500):
        with pool.lease():
            pass
    assert sys.getrefcount(watched) < before + 10


def test_what_a_failed_reset_raised_is_gone_with_the_lease(monkeypatch):
    monkeypatch.setattr(logging.getLogger("opool"), "disabled", True)
    errors = []

    def reset(obj):
        error = Hit("cannot")
        errors.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    lease = opool.Pool(things(1), reset=reset).lease()
    lease.release()
    assert [error() for error in errors] == [None]


def test_a_factory_that_raises_what_a_check_may_is_told_apart():
    line = of(Line("ok", "error", check=("error",)), 1)
    line.clock.advance(2)
    with pytest.raises(opool.FactoryError) as caught:
        line.pool.lease(timeout=5)
    assert type(caught.value.__cause__) is ScriptedError
    assert line.retired == {"unfit": 1} and line.pool.stats().create_failures == 1


def test_a_check_that_hangs_does_not_keep_another_idle_object_from_who_waits():
    line = of(Line(check=("never", "ok"), check_timeout=60), 2)
    line.clock.advance(2)
    lease = line.pool.lease(timeout=5)
    assert lease.obj.number == 1
    assert line.clock.time == pytest.approx(3)


def test_try_lease_has_what_is_idle_checked_so_that_the_next_one_finds_it():
    line = of(Line(check=("ok",), max_size=1), 1)
    line.clock.advance(2)
    assert line.pool.try_lease() is None
    line.clock.advance(0)
    assert line.pool.try_lease().obj.number == 0


def test_the_with_of_a_lease_that_was_discarded_ends_in_silence():
    line = of(Line(), 1)
    lease = line.pool.lease()
    with lease:
        lease.discard()
    assert line.retired == {"discarded": 1}
    with pytest.raises(opool.LeaseError, match="released twice"):
        lease.release()
