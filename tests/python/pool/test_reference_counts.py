"""Pools, leases and objects live exactly as long as somebody needs them."""

import gc
import sys
import weakref

import pytest

import opool
from support import Hit, Thing, assert_whole, drain, things


def test_an_acquired_object_that_was_lost_cannot_be_replaced_by_a_newcomer_at_its_address():
    pool = opool.Pool([Thing("lost")])
    lost = pool.acquire()
    address, alive = id(lost), weakref.ref(lost)
    del lost
    if alive() is not None:  # the pool keeps it, so that nobody can get its address
        return
    crowd = [Thing("newcomer") for _ in range(10_000)]
    for newcomer in crowd:
        if id(newcomer) == address:
            with pytest.raises(opool.LeaseError):
                pool.release(newcomer)


def test_a_weak_reference_to_a_pool_lives_as_long_as_the_pool():
    pool = opool.Pool([1])
    watched = weakref.ref(pool)
    assert watched() is pool
    del pool
    gc.collect()
    assert watched() is None


def test_a_lease_keeps_its_pool_and_its_object_alive_and_no_longer_than_needed():
    x = Thing()
    pool = opool.Pool([x])
    object_lives, pool_lives = weakref.ref(x), weakref.ref(pool)
    lease = pool.lease()
    del x, pool
    gc.collect()
    assert object_lives() is lease.obj and pool_lives() is lease.pool
    with lease:
        pass
    del lease
    gc.collect()
    assert object_lives() is None and pool_lives() is None


def test_idle_objects_live_in_the_pool_and_die_with_it():
    pool = opool.Pool(things(10))
    lives = [weakref.ref(obj) for obj in drain(pool)]
    gc.collect()
    assert all(ref() is not None for ref in lives)
    del pool
    gc.collect()
    assert all(ref() is None for ref in lives)


def test_a_lease_used_as_a_temporary_outlives_the_name_of_its_pool():
    with opool.Pool([Thing("only")]).lease() as obj:
        gc.collect()
        assert obj.label == "only"


def test_a_failed_constructor_frees_what_it_had_taken():
    taken = []

    def three_and_then_an_error():
        for i in range(3):
            thing = Thing(i)
            taken.append(weakref.ref(thing))
            yield thing
            del thing
        raise LookupError("the fourth")

    with pytest.raises(LookupError, match="the fourth") as caught:
        opool.Pool(three_and_then_an_error())
    del caught
    gc.collect()
    assert len(taken) == 3 and all(ref() is None for ref in taken)


def use_with(pool):
    with pool.lease():
        pass


def use_release(pool):
    pool.lease().release()


def use_drop(pool):
    pool.lease(timeout=1)


def use_acquire(pool):
    pool.release(pool.acquire())


def use_try(pool):
    lease = pool.try_lease()
    assert pool.try_lease() is None
    lease.release()


def use_timeout(pool):
    with pool.lease():
        try:
            pool.lease(timeout=0)
        except opool.PoolTimeout:
            pass


def use_stale(pool):
    lease = pool.lease()
    lease.release()
    for misuse in (lease.release, lease.__enter__):
        try:
            misuse()
        except opool.LeaseError:
            pass


def use_foreign(pool):
    try:
        pool.release(pool)
    except opool.LeaseError:
        pass


def use_error(pool):
    try:
        with pool.lease():
            raise Hit
    except Hit:
        pass


USES = [use_with, use_release, use_drop, use_acquire, use_try, use_timeout, use_stale, use_foreign, use_error]


@pytest.mark.parametrize("use", USES)
def test_ten_thousand_uses_leave_every_reference_count_as_it_was(use):
    x = Thing()
    pool = opool.Pool([x], name="counted")
    watched = [x, pool, opool.Pool, opool.Lease, opool.PoolTimeout, opool.LeaseError]
    for _ in range(10):
        use(pool)
    gc.collect()
    before = [sys.getrefcount(it) for it in watched]
    blocks = sys.getallocatedblocks()
    for _ in range(10_000):
        use(pool)
    gc.collect()
    after = [sys.getrefcount(it) for it in watched]
    assert all(abs(a - b) <= 2 for a, b in zip(after, before)), (before, after)
    assert sys.getallocatedblocks() - blocks < 500
    assert_whole(pool, [x])


def test_adding_and_dropping_pools_leaves_no_memory_behind():
    x = Thing()
    before = sys.getrefcount(x)

    def live():
        pool = opool.Pool([x] * 20)
        kept = [pool.lease() for _ in range(3)]
        pool.add_obj(x)
        kept[0].release()
        pool.acquire()

    for _ in range(20):
        live()
    gc.collect()
    blocks = sys.getallocatedblocks()
    for _ in range(2000):
        live()
    gc.collect()
    assert sys.getrefcount(x) == before
    assert sys.getallocatedblocks() - blocks < 500
