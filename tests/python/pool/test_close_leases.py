"""The end of a pool: who waits is sent away, what is out is waited for, and everything is disposed of once."""

import gc
import threading
import weakref

import pytest

import opool
from design import opool as original
from opool.testing import check_invariants
from support import Crew, Thing, background, eventually, queue_up, run_child, state, things


def made(disposed, **options):
    return opool.Pool(factory=Thing, dispose=disposed, **options)


def test_all_who_wait_get_pool_closed_at_once_though_the_object_stays_out(disposed):
    pool = made(disposed, max_size=1, name="shut", timeout=None)
    with pool.lease():

        def wait(_):
            with pytest.raises(opool.PoolClosed, match="^pool 'shut': it is closed$"):
                pool.lease()

        crews = queue_up(pool, 5, wait)
        with pytest.raises(opool.PoolCloseTimeout):
            pool.close(timeout=0)
        for crew in crews:
            crew.join()
        assert disposed == []
    check_invariants(pool)


def test_those_who_wait_for_a_factory_that_hangs_are_sent_away_too(hung):
    pool = opool.Pool(factory=hung.wait, timeout=None)

    def wait(_):
        with pytest.raises(opool.PoolClosed):
            pool.acquire()

    crews = queue_up(pool, 3, wait)
    pool.close(timeout=0)
    for crew in crews:
        crew.join()


def test_an_object_that_was_handed_over_before_is_its_waiters(disposed):
    run_child("""
import sys, opool
from support import *
gone, got = [], []
pool = opool.Pool(factory=Thing, max_size=1, dispose=gone.append, fairness="strict")
sys.setswitchinterval(10)               # the waiter cannot take what it is given before the pool is closed
lease = pool.lease()

def wait(_):
    with pool.lease() as obj:
        got.append(obj)
        eventually(lambda: pool.closed)
        assert gone == []

crew = Crew(1, wait)
eventually(lambda: pool.waiting == 1)
lease.__enter__()
give_back, close = lease.release, pool.close
give_back(); close()
crew.join()
assert len(got) == 1 and gone == got
""")


@pytest.mark.parametrize("call", ["lease", "try_lease", "acquire", "reload", "resize", "add_obj"])
def test_a_closed_pool_gives_nothing_and_takes_nothing(call, disposed):
    pool = made(disposed, min_size=2, name="shut")
    eventually(lambda: pool.idle == 2)
    pool.close()
    argument = (Thing(),) if call == "add_obj" else ()
    with pytest.raises(opool.PoolClosed, match="pool 'shut': it is closed"):
        getattr(pool, call)(*argument)
    assert state(pool) == (0, 0, 0, 0) and len(disposed) == 2


def test_it_is_pool_closed_and_no_timeout_even_where_there_is_no_time_to_wait():
    pool = opool.Pool([1])
    pool.close()
    with pytest.raises(opool.PoolClosed):
        pool.lease(timeout=0)


def test_close_waits_for_what_is_out_and_disposes_of_it(disposed):
    pool = made(disposed, max_size=3)
    lease, entered, bare = pool.lease(), pool.lease(), pool.acquire()
    obj, other = lease.obj, entered.__enter__()
    crew = Crew(1, lambda _: pool.close(timeout=None))
    eventually(lambda: pool.closed)
    lease.release()
    entered.__exit__(None, None, None)
    eventually(lambda: len(disposed) == 2)
    assert crew.running == 1
    pool.release(bare)
    crew.join()
    assert set(disposed) == {obj, other, bare} and len(disposed) == 3


def test_the_time_is_up_and_the_error_says_who_holds_what(disposed):
    pool = made(disposed, max_size=3, name="db")
    stay, entered = threading.Event(), threading.Event()

    def hold():
        with pool.lease():
            entered.set()
            stay.wait(60)

    holder = threading.Thread(target=hold, name="the-holder")
    holder.start()
    entered.wait(60)
    bare = pool.acquire()
    with pytest.raises(opool.PoolCloseTimeout) as caught:
        pool.close(timeout=0.05)
    stay.set()
    holder.join()
    message = str(caught.value)
    assert message.startswith("pool 'db': closed, but 2 objects are still out after 0.05 s: ")
    assert "with thread 'the-holder' for" in message and "Thing(None)" in message
    assert isinstance(caught.value, TimeoutError) and isinstance(caught.value, opool.PoolError)
    by_thread = {found.thread_id: found for found in caught.value.holders}
    assert set(by_thread) == {holder.ident, threading.get_ident()}
    assert by_thread[threading.get_ident()].obj is bare
    assert (by_thread[holder.ident].entered, by_thread[threading.get_ident()].entered) == (True, False)
    pool.release(bare)


def test_what_comes_back_later_is_disposed_of_and_nobody_gets_it(disposed):
    pool = made(disposed, max_size=2)
    lease, dropped = pool.lease(), pool.lease()
    objects = {lease.obj, dropped.obj}
    with pytest.raises(opool.PoolCloseTimeout):
        pool.close(timeout=0)
    lease.release()
    del dropped
    eventually(lambda: set(disposed) == objects and len(disposed) == 2)
    assert state(pool) == (0, 0, 0, 0)
    assert pool.stats().retired["closed"] == 2
    check_invariants(pool)


def test_what_is_dirty_is_reset_and_what_is_discarded_is_disposed_of_once(disposed):
    resets = []
    pool = made(disposed, max_size=2, reset=resets.append)
    lease, broken = pool.lease(), pool.lease()
    objects = {lease.obj, broken.obj}
    with pytest.raises(opool.PoolCloseTimeout):
        pool.close(timeout=0)
    lease.release()
    broken.discard()
    pool.close(timeout=10)
    assert set(disposed) == objects and len(disposed) == 2
    assert set(resets) <= objects


def test_close_by_the_one_who_holds_something_is_a_timeout_and_not_for_ever(disposed):
    pool = made(disposed)
    with pool.lease():
        with pytest.raises(opool.PoolCloseTimeout, match="1 object is still out, and this thread itself is inside"):
            pool.close(timeout=None)
    eventually(lambda: len(disposed) == 1)


def test_the_default_is_the_timeout_of_the_pool():
    pool = opool.Pool([1], timeout=0.015)
    lease = pool.lease()
    with pytest.raises(opool.PoolCloseTimeout, match=r"after 0\.015 s"):
        pool.close()
    lease.release()


@pytest.mark.parametrize("timeout", ["-1", "float('nan')", "'1'"])
def test_an_impossible_timeout_is_refused_and_the_pool_stays_open(timeout):
    pool = opool.Pool([1])
    with pytest.raises((TypeError, ValueError), match="timeout must be seconds"):
        pool.close(timeout=eval(timeout))
    assert not pool.closed and pool.lease().obj == 1


def test_what_is_out_is_disposed_of_under_its_holders_hands_and_once(disposed):
    pool = made(disposed, max_size=4)
    lease, entered, bare, dropped = pool.lease(), pool.lease(), pool.acquire(), pool.lease()
    objects = [lease.obj, entered.__enter__(), bare, dropped.obj]
    pool.close(force=True)
    assert sorted(map(id, disposed)) == sorted(map(id, objects))
    lease.release()
    entered.__exit__(None, None, None)
    pool.release(bare)
    del dropped
    pool.close()
    pool.close(force=True)
    assert len(disposed) == 4
    assert state(pool) == (0, 0, 0, 0)
    check_invariants(pool)


def test_it_does_not_wait_for_what_is_out(disposed):
    pool = made(disposed, timeout=None)
    lease = pool.lease()
    pool.close(force=True)
    assert disposed == [lease.obj] and not lease.released


def test_what_was_taken_by_force_is_neither_reset_nor_checked_when_it_comes_back(disposed):
    resets = []
    pool = made(disposed, reset=resets.append)
    lease, dropped = pool.lease(), [pool.lease()]
    pool.close(force=True)
    lease.release()
    dropped.clear()
    assert resets == [] and len(disposed) == 2


def test_discarding_what_was_taken_by_force_disposes_of_nothing(disposed):
    pool = made(disposed)
    lease = pool.lease()
    pool.close(force=True)
    lease.discard()
    assert len(disposed) == 1 and pool.size == 0


def test_force_after_an_ordinary_close_that_timed_out(disposed):
    pool = made(disposed)
    lease = pool.lease()
    with pytest.raises(opool.PoolCloseTimeout):
        pool.close(timeout=0)
    pool.close(force=True)
    assert disposed == [lease.obj]
    lease.release()
    assert disposed == [lease.obj]


def test_force_ends_the_waiting_of_an_ordinary_close(disposed):
    pool = made(disposed)
    lease = pool.lease()
    crew = Crew(1, lambda _: pool.close(timeout=None))
    eventually(lambda: pool.closed)
    pool.close(force=True)
    crew.join()
    assert disposed == [lease.obj]


def test_the_object_lives_until_its_holder_lets_go_of_it():
    pool = opool.Pool(factory=Thing, dispose=lambda obj: None)
    lease = pool.lease()
    lives = weakref.ref(lease.obj)
    pool.close(force=True)
    pool.close(force=True)
    gc.collect()
    assert lives() is lease.obj
    del lease
    eventually(lambda: lives() is None)


def test_closing_again_does_nothing(disposed):
    pool = made(disposed, min_size=1)
    eventually(lambda: pool.idle == 1)
    pool.close()
    pool.close()
    pool.close(force=True)
    assert len(disposed) == 1 and pool.closed


def test_closing_again_waits_again_for_what_was_left(disposed):
    pool = made(disposed)
    lease = pool.lease()
    for _ in range(2):
        with pytest.raises(opool.PoolCloseTimeout):
            pool.close(timeout=0.01)
    crew = Crew(1, lambda _: pool.close(timeout=None))
    lease.release()
    crew.join()
    assert len(disposed) == 1


def test_two_threads_close_at_once_and_both_come_back_when_it_is_over(disposed):
    for _ in range(50):
        pool = made(disposed, max_size=2)
        lease = pool.lease()
        after = []

        def close(i, pool=pool, lease=lease, after=after):
            if i == 2:
                return lease.release()
            pool.close(timeout=None)
            return after.append(pool.size)

        before = len(disposed)
        Crew(3, close).join()
        assert after == [0, 0] and len(disposed) == before + 1


def test_with_closes_the_pool_at_the_end_and_gives_the_pool_itself(disposed):
    with made(disposed, min_size=2) as pool:
        assert type(pool) is opool.Pool and not pool.closed
        with pool.lease() as obj:
            assert obj is not None
        eventually(lambda: pool.size == 2)
    assert pool.closed and len(disposed) == 2


def test_an_error_in_the_block_comes_out_and_the_pool_is_closed(disposed):
    with pytest.raises(KeyError, match="mine"):
        with made(disposed) as pool, pool.lease():
            raise KeyError("mine")
    assert pool.closed and len(disposed) == 1


def test_a_pool_can_be_closed_within_its_block(disposed):
    with made(disposed) as pool:
        pool.lease().release()
        pool.close()
    assert len(disposed) == 1


def test_a_closed_pool_cannot_be_entered():
    pool = opool.Pool([1])
    pool.close()
    with pytest.raises(opool.PoolClosed), pool:
        raise AssertionError("entered")


def test_given_objects_are_disposed_of_too(disposed):
    objects = things(3)
    with opool.Pool(objects, dispose=disposed) as pool:
        pool.release(pool.acquire())
    assert sorted(map(id, disposed)) == sorted(map(id, objects))


def test_a_pool_of_plain_objects_can_be_closed_and_lets_them_go():
    pool = opool.Pool(things(3))
    lease = pool.lease()
    lives = weakref.ref(lease.obj)
    with pytest.raises(opool.PoolCloseTimeout):
        pool.close(timeout=0)
    assert state(pool) == (1, 0, 1, 0)
    lease.release()
    del lease
    assert lives() is None and state(pool) == (0, 0, 0, 0)
    pool.close(timeout=0)


def test_closing_it_starts_no_thread():
    before = threading.active_count()
    pool = opool.Pool(things(3), name="no threads")
    pool.close()
    assert threading.active_count() == before and not background("no threads")


def test_the_original_pool_works_as_ever_unless_somebody_closes_it():
    pool = original.Pool(things(2))
    before = threading.active_count()
    with pool.lease() as obj:
        assert (pool.timeout, pool.fairness, pool.closed) == (None, "strict", False)
    assert pool.pool.get() is not obj
    pool.pool.put(obj)
    assert pool.qsize() == 2 and threading.active_count() == before
    with pool:
        pass
    with pytest.raises(opool.PoolClosed):
        pool.lease()
    with pytest.raises(opool.PoolClosed):
        pool.get()
