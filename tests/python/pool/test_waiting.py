"""Waiting: strictly in order, woken by whatever gives an object, over when the time is."""

import gc
import random
import re
import sys
import threading
import time

import pytest

import opool
from support import (
    Crew,
    Thing,
    assert_whole,
    drain,
    eager_switching,
    eventually,
    queue_up,
    run_child,
    state,
    things,
    threads,
)

LONG = 60.0
LATE = 0.5


def lease_and_note(pool, served):
    """A thread's target: waits for an object, notes its own number, gives back."""

    def target(i):
        with pool.lease(timeout=LONG) as obj:
            served.append(i)
            return obj

    return target


def test_threads_are_served_in_the_order_in_which_they_came():
    x, served = Thing(), []
    pool = opool.Pool([x])
    lease = pool.lease()
    crews = queue_up(pool, 12, lease_and_note(pool, served))
    lease.release()
    for crew in crews:
        assert crew.join() == [x]
    assert served == list(range(12))
    assert_whole(pool, [x])


def test_lease_and_acquire_stand_in_one_queue():
    x, served = Thing(), []
    pool = opool.Pool([x])
    held = pool.acquire()

    def target(i):
        if i % 2:
            obj = pool.acquire(timeout=LONG)
            served.append(i)
            pool.release(obj)
        else:
            with pool.lease(timeout=LONG):
                served.append(i)

    crews = queue_up(pool, 8, target)
    pool.release(held)
    for crew in crews:
        crew.join()
    assert served == list(range(8))
    assert_whole(pool, [x])


def give_by_exit(pool, lease):
    lease.__enter__()
    lease.__exit__(None, None, None)


def give_by_release(pool, lease):
    lease.release()


def give_by_error(pool, lease):
    with pytest.raises(KeyError), lease:
        raise KeyError


@pytest.mark.parametrize("give", [give_by_exit, give_by_release, give_by_error])
def test_a_waiter_is_woken_by_whatever_ends_a_lease(give):
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.lease()
    (crew,) = queue_up(pool, 1, lease_and_note(pool, []))
    give(pool, lease)
    assert crew.join() == [x]
    assert_whole(pool, [x])


def test_a_waiter_is_woken_by_a_lease_that_is_dropped():
    x = Thing()
    pool = opool.Pool([x])
    box = [pool.lease()]
    (crew,) = queue_up(pool, 1, lease_and_note(pool, []))
    box.clear()
    assert crew.join() == [x]


def test_a_waiter_is_woken_by_the_collector_that_finds_a_lost_lease():
    x = Thing()
    pool = opool.Pool([x])
    loop = [pool.lease()]
    loop.append(loop)
    (crew,) = queue_up(pool, 1, lease_and_note(pool, []))
    del loop
    gc.collect()
    assert crew.join() == [x]


def test_a_waiter_is_woken_by_release_and_by_add_obj():
    x, y = things(2)
    pool = opool.Pool([x])
    held = pool.acquire()
    (crew,) = queue_up(pool, 1, lease_and_note(pool, []))
    pool.release(held)
    assert crew.join() == [x]
    held = pool.acquire()
    (crew,) = queue_up(pool, 1, lease_and_note(pool, []))
    pool.add_obj(y)
    assert crew.join() == [y]
    pool.release(held)
    assert_whole(pool, [x, y])


def test_a_waiter_of_an_empty_pool_is_served_by_add_obj():
    x = Thing()
    pool = opool.Pool()
    (crew,) = queue_up(pool, 1, lease_and_note(pool, []))
    pool.add_obj(x)
    assert crew.join() == [x]
    assert_whole(pool, [x])


def test_many_objects_added_at_once_go_to_the_waiters_in_order():
    pool, stay = opool.Pool(), threading.Event()

    def target(i):
        with pool.lease(timeout=LONG) as obj:
            stay.wait(LONG)
            return obj

    crews = queue_up(pool, 6, target)
    objects = things(6)
    for i, obj in enumerate(objects):
        pool.add_obj(obj)
        assert state(pool) == (i + 1, 0, i + 1, 5 - i)
    stay.set()
    assert [crew.join() for crew in crews] == [[obj] for obj in objects]
    assert_whole(pool, objects)


def test_an_object_is_handed_over_at_once_and_a_newcomer_cannot_take_it():
    x = Thing()
    pool = opool.Pool([x])
    for _ in range(100):
        lease, stay = pool.lease(timeout=LONG), threading.Event()

        def target(_, stay=stay):
            with pool.lease(timeout=LONG):
                stay.wait(LONG)

        (crew,) = queue_up(pool, 1, target)
        lease.release()
        assert pool.try_lease() is None
        assert state(pool) == (1, 0, 1, 0)
        stay.set()
        crew.join()
    assert_whole(pool, [x])


def test_the_one_who_gives_back_and_wants_more_goes_to_the_end_of_the_queue():
    x, served, stay = Thing(), [], threading.Event()
    pool = opool.Pool([x])
    lease = pool.lease()

    def target(i):
        with pool.lease(timeout=LONG):
            served.append(i)
            stay.wait(LONG)

    crews = queue_up(pool, 3, target)
    lease.release()
    assert pool.try_lease() is None
    crews += queue_up(pool, 1, lambda _: target("again"))
    stay.set()
    for crew in crews:
        crew.join()
    assert served == [0, 1, 2, "again"]
    assert_whole(pool, [x])


def test_two_hundred_waiters_are_all_served():
    objects = things(200)
    pool = opool.Pool()
    crew = Crew(200, lambda i: pool.acquire(timeout=LONG))
    eventually(lambda: pool.waiting == 200)
    for obj in objects:
        pool.add_obj(obj)
    got = crew.join()
    assert sorted(map(id, got)) == sorted(map(id, objects))
    assert state(pool) == (200, 0, 200, 0)
    for obj in got:
        pool.release(obj)
    assert_whole(pool, objects)


def measured(call):
    start = time.perf_counter()
    with pytest.raises(opool.PoolTimeout) as caught:
        call()
    return time.perf_counter() - start, caught.value


def on_time(call, timeout):
    """The error of a call that times out: never before its time, and not much later. A busy machine has ten tries."""
    for _ in range(10):
        took, error = measured(call)
        assert took >= timeout - 0.0005
        if took < timeout + LATE:
            return error
    raise AssertionError(f"{took} s instead of {timeout}, ten times")


@pytest.mark.parametrize("method", ["lease", "acquire"])
@pytest.mark.parametrize("timeout", [0.001, 0.05, 0.3])
def test_a_timeout_comes_when_it_should(method, timeout):
    pool = opool.Pool()
    error = on_time(lambda: getattr(pool, method)(timeout=timeout), timeout)
    assert isinstance(error, TimeoutError) and isinstance(error, opool.PoolError)
    assert pool.waiting == 0


def test_the_pools_own_timeout_is_used_when_none_is_said_and_can_be_overruled():
    pool = opool.Pool(timeout=0.02)
    for call in (pool.lease, pool.acquire, lambda: pool.lease(timeout=0.02), lambda: pool.lease(0.02)):
        on_time(call, 0.02)
    assert opool.Pool().timeout == 30.0
    assert opool.Pool(timeout=None).timeout is None
    assert opool.Pool(timeout=5).timeout == 5


def test_none_waits_for_ever_whatever_the_pool_says():
    pool = opool.Pool(timeout=0.001)
    crew = Crew(1, lambda _: pool.lease(None).obj)
    eventually(lambda: pool.waiting == 1)
    time.sleep(0.1)
    assert pool.waiting == 1
    pool.add_obj("late")
    assert crew.join() == ["late"]


@pytest.mark.parametrize(
    "timeout", [1e9, 1e300, float("inf"), 2**40, 2**63, 2**64, 10**30, sys.maxsize, sys.float_info.max]
)
def test_a_huge_timeout_waits_for_ever(timeout):
    pool = opool.Pool(timeout=timeout)
    crews = [Crew(1, lambda _: pool.lease().obj), Crew(1, lambda _: pool.acquire(timeout=timeout))]
    eventually(lambda: pool.waiting == 2)
    time.sleep(0.02)
    assert pool.waiting == 2
    pool.add_obj("late")
    pool.add_obj("late")
    assert [crew.join() for crew in crews] == [["late"], ["late"]]


@pytest.mark.parametrize("zero", [0, 0.0, -0.0, 5e-324, False])
def test_a_timeout_of_nothing_takes_what_is_there_and_never_waits(zero):
    x = Thing()
    pool = opool.Pool([x])
    with pool.lease(timeout=zero) as obj:
        assert obj is x
        on_time(lambda: pool.lease(timeout=zero), 0)
        on_time(lambda: pool.acquire(zero), 0)
    assert_whole(pool, [x])


def test_the_message_of_a_timeout_tells_the_whole_story():
    pool = opool.Pool(things(7), name="db-main")
    leases = [pool.lease() for _ in range(7)]
    _, error = measured(lambda: pool.lease(timeout=0.0625))
    message = str(error)
    for word in ("db-main", "0.0625", "size", "leased", "waiting"):
        assert word in message, message
    assert len(re.findall(r"\b7\b", message)) >= 2, message
    del leases


def test_a_pool_without_a_name_and_one_with_an_odd_name_time_out_as_well():
    for name in (None, "", "{}", "%s", "\N{SNOWMAN}", "a\nb", "x" * 10_000):
        _, error = measured(lambda name=name: opool.Pool(name=name).lease(timeout=0))
        assert (name or "") in str(error) or repr(name)[1:-1] in str(error)


def test_the_interpreter_runs_on_while_a_thread_waits():
    run_child(
        """
        import threading, opool
        from support import Crew, eventually
        pool = opool.Pool(timeout=None)
        crew = Crew(4, lambda i: pool.lease())
        eventually(lambda: pool.waiting == 4)
        assert sum(range(1_000_000)) == 499999500000
        for i in range(4):
            pool.add_obj(i)
        assert sorted(lease.obj for lease in crew.join()) == [0, 1, 2, 3]
        """,
    )


@pytest.mark.parametrize("quitter", range(4))
def test_a_waiter_that_gives_up_leaves_the_others_in_order(quitter):
    x, served = Thing(), []
    pool = opool.Pool([x])
    lease = pool.lease()

    def target(i):
        try:
            with pool.lease(timeout=0.1 if i == quitter else LONG):
                served.append(i)
        except opool.PoolTimeout:
            served.append("gone")

    crews = []
    for i in range(4):
        crews.append(Crew(1, lambda _, i=i: target(i)))
        # The one that gives up may do so before the others have come.
        eventually(lambda came=i + 1: pool.waiting + pool.stats().timeouts == came)
    eventually(lambda: served == ["gone"])
    assert pool.waiting == 3
    lease.release()
    for crew in crews:
        crew.join()
    assert served == ["gone", *(i for i in range(4) if i != quitter)]
    assert_whole(pool, [x])


def test_all_waiters_give_up_and_the_pool_is_as_before():
    x = Thing()
    pool = opool.Pool([x])
    with pool.lease():
        crew = Crew(20, lambda i: measured(lambda: pool.lease(timeout=0.01 * (i % 5))))
        crew.join()
        assert state(pool) == (1, 0, 1, 0)
    assert_whole(pool, [x])


def test_a_timeout_that_races_with_a_hand_off_loses_nothing():
    x = Thing()
    pool = opool.Pool([x])
    got, missed = [0] * 4, [0] * 4

    def over():
        return sum(got) > 1000 and sum(missed) > 1000

    def impatient(i):
        rng = random.Random(i)
        while not over():
            try:
                with pool.lease(timeout=rng.uniform(0, 3e-4)) as obj:
                    assert obj is x
                    got[i] += 1
            except opool.PoolTimeout:
                missed[i] += 1

    def holder(_):
        rng = random.Random(99)
        while not over():
            with pool.lease(timeout=LONG):
                end = time.perf_counter() + rng.uniform(0, 3e-4)
                while time.perf_counter() < end:
                    pass

    with eager_switching(5e-5):
        threads(4, lambda i: impatient(i) if i else holder(i))
    assert_whole(pool, [x])


def test_a_release_at_the_very_moment_of_the_timeout_is_never_lost():
    x = Thing()
    pool = opool.Pool([x])
    rng = random.Random(5)
    outcomes, rounds = set(), 0
    while rounds < 300 or outcomes != {"served", "late"}:
        rounds += 1
        lease = pool.lease(timeout=LONG)
        wait = rng.uniform(0.001, 0.003)

        def target(_, wait=wait):
            try:
                with pool.lease(timeout=wait):
                    return "served"
            except opool.PoolTimeout:
                return "late"

        crew = Crew(1, target)
        eventually(lambda crew=crew: pool.waiting == 1 or not crew.running)
        end = time.perf_counter() + wait + rng.uniform(-0.0007, 0.0012)
        with eager_switching(5e-5):
            while time.perf_counter() < end:
                pass
        lease.release()
        outcomes.update(crew.join())
        assert_whole(pool, [x])


def test_a_waiting_call_keeps_its_pool_alive():
    pools = [opool.Pool(name="nobody else knows me")]

    def target(_):
        with pytest.raises(opool.PoolTimeout, match="nobody else"):
            pools.pop().lease(timeout=0.2)

    threads(1, target)
    gc.collect()


def test_the_size_never_changes_while_objects_change_hands():
    pool = opool.Pool(things(3))
    over = time.monotonic() + 1.0
    sizes = set()

    def target(i):
        while time.monotonic() < over:
            if i == 0:
                sizes.add(pool.size)
            else:
                with pool.lease(timeout=LONG):
                    time.sleep(0)

    threads(9, target)
    assert sizes == {3}
    assert drain(pool) and state(pool) == (3, 3, 0, 0)


def test_objects_added_while_others_wait_and_leave_are_all_there_at_the_end():
    pool = opool.Pool()
    objects = things(400)

    def target(i):
        rng = random.Random(i)
        if i == 0:
            for obj in objects:
                pool.add_obj(obj)
                time.sleep(0)
            return
        for _ in range(400):
            try:
                with pool.lease(timeout=rng.choice([0, 1e-4, 1e-3])):
                    time.sleep(0)
            except opool.PoolTimeout:
                pass

    threads(7, target)
    assert_whole(pool, objects)


def test_a_thread_waiting_for_an_object_it_holds_itself_times_out():
    pool = opool.Pool([1])
    with pool.lease():
        measured(lambda: pool.lease(timeout=0.02))
        measured(lambda: pool.acquire(timeout=0.02))
    assert_whole(pool, [1])
