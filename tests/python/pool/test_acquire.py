"""Bare objects: what goes out by `acquire()` comes back by `release()`, once, and nothing else does."""

import pytest

import opool
from support import Thing, assert_whole, drain, state, things


def test_acquire_gives_the_bare_object_and_release_takes_it_back():
    a, b = objects = things(2)
    pool = opool.Pool(objects)
    assert pool.acquire() is a and pool.acquire() is b
    assert pool.release(b) is None
    pool.release(a)
    assert drain(pool) == [b, a]


def test_a_second_release_of_an_acquired_object_is_refused():
    x = Thing()
    pool = opool.Pool([x])
    pool.release(pool.acquire())
    with pytest.raises(opool.LeaseError):
        pool.release(x)
    assert_whole(pool, [x])


def test_an_object_that_is_idle_foreign_or_of_another_pool_is_refused():
    a, b, foreign = things(3)
    pool, other = opool.Pool([a, b], name="mine"), opool.Pool([foreign])
    other.acquire()
    mine = pool.acquire()
    for wrong in (b, foreign, Thing(), None, 7):
        with pytest.raises(opool.LeaseError, match="mine"):
            pool.release(wrong)
        assert state(pool) == (2, 1, 1, 0)
    pool.release(mine)
    other.release(foreign)
    assert_whole(pool, [a, b])
    assert_whole(other, [foreign])


def test_release_refuses_an_object_that_a_lease_holds():
    x = Thing()
    pool = opool.Pool([x])
    with pool.lease():
        with pytest.raises(opool.LeaseError):
            pool.release(x)
        assert state(pool) == (1, 0, 1, 0)
    assert_whole(pool, [x])


def test_release_of_an_old_acquire_cannot_take_what_a_lease_now_holds():
    x = Thing()
    pool = opool.Pool([x])
    stale = pool.acquire()
    pool.release(stale)
    lease = pool.lease()
    with pytest.raises(opool.LeaseError):
        pool.release(stale)
    assert pool.try_lease() is None
    lease.release()
    assert_whole(pool, [x])


def test_release_compares_by_identity_and_not_by_equality():
    class Same:
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 1

    x = Same()
    pool = opool.Pool([x])
    pool.acquire()
    with pytest.raises(opool.LeaseError):
        pool.release(Same())
    pool.release(x)
    assert_whole(pool, [x])


def test_objects_that_cannot_be_compared_hashed_or_shown_can_be_pooled():
    class Hostile:
        def __eq__(self, other):
            raise RuntimeError("compared")

        def __hash__(self):
            raise RuntimeError("hashed")

        def __bool__(self):
            raise RuntimeError("asked for truth")

        def __len__(self):
            raise RuntimeError("measured")

    a, b = Hostile(), Hostile()
    pool = opool.Pool([a, b])
    with pool.lease() as obj:
        assert obj is a
    bare = pool.acquire()
    assert bare is b
    pool.release(bare)
    with pytest.raises(opool.LeaseError):
        pool.release(bare)
    assert pool.idle == 2


def test_an_object_whose_repr_raises_still_gets_a_lease_error():
    class Shy:
        def __repr__(self):
            raise RuntimeError("shown")

    pool = opool.Pool([1])
    with pytest.raises(opool.LeaseError):
        pool.release(Shy())
    assert_whole(pool, [1])


def test_one_object_may_be_in_a_pool_several_times():
    x = Thing()
    pool = opool.Pool([x] * 3)
    bare = [pool.acquire(timeout=0) for _ in range(2)]
    with pool.lease(timeout=0) as obj:
        assert obj is x and bare == [x, x]
        assert pool.try_lease() is None
        pool.release(x)
        pool.release(x)
        with pytest.raises(opool.LeaseError):
            pool.release(x)
        assert state(pool) == (3, 2, 1, 0)
    assert_whole(pool, [x] * 3)


def test_adding_what_is_already_there_adds_it_once_more():
    x = Thing()
    pool = opool.Pool([x])
    pool.add_obj(x)
    with pool.lease():
        pool.add_obj(x)
    assert_whole(pool, [x] * 3)


def test_many_acquired_objects_are_released_in_any_order():
    objects = things(500)
    pool = opool.Pool(objects)
    bare = [pool.acquire(timeout=0) for _ in objects]
    for obj in bare[::2] + bare[1::2][::-1]:
        pool.release(obj)
    assert_whole(pool, objects)
