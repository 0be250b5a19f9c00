"""At no moment do two holders have one object, and at the end all are back.

The pooled objects are locks. Whoever holds one tries to lock it, without waiting: should another holder have it at that
moment, the try fails. That is one atomic step, with and without the interpreter's own lock, and adds no order of its
own that could hide a mistake of the pool.
"""

import gc
import random
import threading
import time

import pytest

import opool
from support import Thing, assert_whole, eager_switching, state, things, threads

LONG = 60.0


def locks(n):
    return [threading.Lock() for _ in range(n)]


@pytest.mark.parametrize(("crew", "interval"), [(8, 1e-4), (64, 1e-3)])
def test_a_million_leases_never_share_an_object(crew, interval):
    objects = locks(4)
    pool = opool.Pool(objects, timeout=None)
    clashes = []

    def target(_):
        lease = pool.lease
        for _ in range(1_000_000 // crew):
            with lease() as lock:
                if not lock.acquire(False):
                    clashes.append(lock)
                lock.release()

    with eager_switching(interval):
        threads(crew, target)
    assert clashes == []
    assert_whole(pool, objects)


@pytest.mark.parametrize(("crew", "rounds"), [(8, 4000), (64, 500)])
def test_holders_that_let_others_run_never_share_an_object(crew, rounds):
    objects = locks(4)
    pool = opool.Pool(objects, timeout=None)
    clashes = []

    def target(_):
        for _ in range(rounds):
            with pool.lease() as lock:
                if not lock.acquire(False):
                    clashes.append(lock)
                time.sleep(0)
                lock.release()

    threads(crew, target)
    assert clashes == []
    assert_whole(pool, objects)


def by_with(pool, rng):
    with pool.lease() as lock:
        yield lock


def by_acquire(pool, rng):
    lock = pool.acquire()
    yield lock
    pool.release(lock)


def by_try(pool, rng):
    lease = pool.try_lease()
    if lease is not None:
        yield lease.obj
        lease.release()


def by_timeout(pool, rng):
    try:
        lease = pool.lease(timeout=rng.choice((0, 1e-6, 1e-5, 1e-4, 1e-3)))
    except opool.PoolTimeout:
        return
    with lease as lock:
        yield lock


def by_acquire_with_timeout(pool, rng):
    try:
        lock = pool.acquire(timeout=rng.choice((0, 1e-5, 1e-3)))
    except opool.PoolTimeout:
        return
    yield lock
    pool.release(lock)


def by_drop(pool, rng):
    lease = pool.lease()
    yield lease.obj
    del lease


def by_cycle(pool, rng):
    loop = [pool.lease()]
    loop.append(loop)
    yield loop[0].obj
    loop[0].release()


def by_error(pool, rng):
    try:
        with pool.lease() as lock:
            yield lock
            raise KeyError
    except KeyError:
        pass


def by_hand(pool, rng):
    lease = pool.lease()
    lock = lease.__enter__()
    yield lock
    lease.__exit__(None, None, None)
    for misuse in (lease.release, lease.__enter__, lambda: lease.__exit__(None, None, None)):
        try:
            misuse()
        except opool.LeaseError:
            continue
        raise AssertionError("an ended lease did something")


WAYS = [by_with, by_acquire, by_try, by_timeout, by_acquire_with_timeout, by_drop, by_cycle, by_error, by_hand]


@pytest.mark.parametrize("crew", [8, 64])
def test_all_ways_of_holding_an_object_at_once_never_share_it(crew):
    objects = locks(4)
    pool = opool.Pool(objects, timeout=LONG)
    clashes = []
    held = [0] * crew

    def target(i):
        rng = random.Random(i)
        for _ in range(64_000 // crew):
            for lock in rng.choice(WAYS)(pool, rng):
                held[i] += 1
                if not lock.acquire(False):
                    clashes.append(lock)
                if rng.random() < 0.2:
                    time.sleep(0)
                lock.release()

    with eager_switching(1e-4):
        threads(crew, target)
    gc.collect()
    assert clashes == [] and sum(held) > 30_000
    assert_whole(pool, objects)


def test_objects_that_arrive_while_threads_fight_are_given_once():
    pool = opool.Pool(timeout=LONG)
    objects = locks(64)
    clashes = []

    def target(i):
        for step in range(800):
            if step % 100 == 0:
                pool.add_obj(objects[i * 8 + step // 100])
            with pool.lease() as lock:
                if not lock.acquire(False):
                    clashes.append(lock)
                time.sleep(0)
                lock.release()

    with eager_switching(1e-4):
        threads(8, target)
    assert clashes == []
    assert_whole(pool, objects)


def test_leases_passed_between_threads_and_released_by_whoever_comes_first():
    objects = things(4)
    pool = opool.Pool(objects, timeout=LONG)
    table = [None] * 16
    wins = [0] * 8

    def target(i):
        rng = random.Random(i)
        for _ in range(4000):
            place = rng.randrange(16)
            lease = table[place]
            if lease is not None:
                try:
                    lease.release()
                    wins[i] += 1
                except opool.LeaseError:
                    pass
            lease = table[place] = pool.try_lease()

    with eager_switching(1e-5):
        threads(8, target)
    table.clear()
    gc.collect()
    assert sum(wins) > 0
    assert state(pool) == (4, 4, 0, 0)
    assert_whole(pool, objects)


def test_one_acquired_object_released_by_many_threads_comes_back_once():
    x = Thing()
    pool = opool.Pool([x], timeout=LONG)

    def target(_):
        for _ in range(2000):
            lease = pool.try_lease()
            if lease is not None:
                lease.release()
            try:
                pool.release(x)
            except opool.LeaseError:
                pass
            try:
                pool.acquire(timeout=0)
            except opool.PoolTimeout:
                pass

    with eager_switching(1e-5):
        threads(8, target)
    assert pool.size == 1
    if pool.leased:
        pool.release(x)
    with pytest.raises(opool.LeaseError):
        pool.release(x)
    assert_whole(pool, [x])


def test_two_pools_over_the_same_threads_do_not_mix():
    left, right = things(3), things(3)
    pools = [opool.Pool(left, timeout=LONG), opool.Pool(right, timeout=LONG)]
    owners = {id(obj): 0 for obj in left} | {id(obj): 1 for obj in right}

    def target(i):
        rng = random.Random(i)
        for _ in range(3000):
            which = rng.randrange(2)
            with pools[which].lease() as obj:
                assert owners[id(obj)] == which
                if rng.random() < 0.05:
                    time.sleep(0)

    with eager_switching(1e-5):
        threads(8, target)
    assert_whole(pools[0], left)
    assert_whole(pools[1], right)
