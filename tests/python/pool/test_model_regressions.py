"""What the model of `test_model.py` has found, and what it would find only by luck."""

import pytest

import opool
from opool.testing import Clock, Scripted


def test_a_check_that_returns_too_late_says_nothing_about_the_object_that_came_instead():
    clock = Clock()
    factory, check = Scripted(clock=clock), Scripted(("slow", 4.0), "never", "ok", clock=clock)
    pool = opool.Pool(factory=factory, check=check, max_size=1, check_after=0, check_timeout=2, clock=clock)
    for number in (0, 1, 2):
        with pool.lease(timeout=3) as obj:
            assert obj.number == number
        clock.advance(0.1)
    # The first check ends at 4.1, while the second, of another object in the same place, still has until 4.2.
    assert clock.time == pytest.approx(4.3)
    assert (pool.size, pool.stats().retired["unfit"]) == (1, 2)


def test_what_was_being_made_when_the_pool_became_smaller_is_not_kept():
    clock = Clock()
    pool = opool.Pool(factory=Scripted("slow", clock=clock), min_size=4, max_size=4, clock=clock)
    clock.advance(0)
    assert pool.stats().creating == 4
    pool.resize(min_size=0, max_size=1)
    clock.advance(5)
    assert (pool.size, pool.stats().retired["surplus"]) == (1, 3)


@pytest.mark.parametrize("how", ["add", "resize"])
def test_a_reload_goes_on_when_its_room_is_taken_by_others(how):
    clock = Clock()
    old = object()
    pool = opool.Pool([old], factory=Scripted(clock=clock), max_size=2, clock=clock)
    pool.reload()  # there is room: a new one is to come before the old one goes
    if how == "add":
        pool.add_obj(object())
    else:
        pool.resize(max_size=1)
    clock.advance(1)
    assert old not in pool
    assert pool.size == (2 if how == "add" else 1)


def test_a_reload_goes_on_when_somebody_else_replaces_what_it_has_let_go():
    clock = Clock()
    old = [object(), object()]
    pool = opool.Pool(old, factory=Scripted(clock=clock), max_size=2, clock=clock)
    pool.reload()
    pool.add_obj(object())  # the first is out already, and what was to replace it has not been begun
    clock.advance(1)
    assert not [obj for obj in old if obj in pool]
    assert pool.size == 2


def test_a_reload_goes_on_when_the_replacement_came_too_late_for_its_room():
    clock = Clock()
    old = [object(), object()]
    pool = opool.Pool(old, factory=Scripted("slow", clock=clock), max_size=3, clock=clock)
    leases = [pool.lease(), pool.lease()]
    pool.reload()
    clock.advance(0)
    assert pool.stats().creating == 1
    pool.resize(max_size=2)
    clock.advance(1)
    for lease in leases:
        lease.release()
    clock.advance(5)
    assert not [obj for obj in old if obj in pool]
    assert pool.size == 2


def test_nothing_that_was_handed_over_can_be_taken_back_once_the_pool_is_closed():
    clock = Clock()
    pool = opool.Pool(["only"], clock=clock)
    lease, seen = pool.lease(), []

    def other():
        lease.release()  # handed to the one who waits
        pool.lease().release()  # and again, in the giver's turn
        with pytest.raises(opool.PoolCloseTimeout):
            pool.close(timeout=0)
        with pytest.raises(opool.PoolClosed):
            pool.lease(timeout=0)
        seen.append(pool.waiting)

    clock.call_later(0.01, other)
    with pool.lease(timeout=5) as obj:
        assert obj == "only"
    assert (clock.time, seen, pool.size) == (0.01, [0], 0)
