"""What only threads that really run at once can break. Right with a GIL too, where it is merely less likely."""

import contextlib
import sys
import sysconfig
import threading
import time

import pytest

import opool
from support import Crew, Thing, assert_whole, eager_switching, run_child, things, threads


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter has a GIL")
def test_importing_the_package_does_not_bring_the_gil_back():
    run_child("import sys, opool, design.opool, algorithms.triplets\nassert sys._is_gil_enabled() is False")
    assert sys._is_gil_enabled() is False


def contest(crew, rounds, prepare, attempt):
    """In each round `crew` threads attempt the same at once; returns how many succeeded in each."""
    start, done = threading.Barrier(crew), threading.Barrier(crew)
    prize, won = [None], []

    def target(i):
        for _ in range(rounds):
            if i == 0:
                prize[0] = prepare()
                won.append([])
            start.wait(60)
            try:
                attempt(prize[0])
                won[-1].append(i)
            except opool.LeaseError:
                pass
            done.wait(60)

    with eager_switching(1e-5):
        threads(crew, target)
    return [len(winners) for winners in won]


def test_of_many_who_release_one_lease_at_once_one_succeeds():
    x = Thing()
    pool = opool.Pool([x])
    assert contest(4, 300, lambda: pool.lease(timeout=0), lambda lease: lease.release()) == [1] * 300
    assert_whole(pool, [x])


def test_of_many_who_drive_one_async_lease_at_once_one_gets_the_object():
    pool, entered = opool.Pool(things(3)), []

    def prepare():
        if entered:
            entered.pop().__aexit__(None, None, None)
        entered.append(pool.lease_async())
        return entered[-1].__aenter__()

    def drive(awaitable):
        with pytest.raises(StopIteration):
            awaitable.send(None)

    assert contest(3, 2000, prepare, drive) == [1] * 2000
    entered.pop().__aexit__(None, None, None)
    assert (pool.idle, pool.leased) == (3, 0)


def test_of_many_who_enter_one_lease_at_once_one_succeeds():
    x = Thing()
    pool = opool.Pool([x])
    leases = []

    def prepare():
        if leases:
            leases.pop().release()
        leases.append(pool.lease(timeout=0))
        return leases[0]

    assert contest(4, 300, prepare, lambda lease: lease.__enter__()) == [1] * 300
    leases.pop().release()
    assert_whole(pool, [x])


def test_of_many_who_release_one_bare_object_at_once_one_succeeds():
    x = Thing()
    pool = opool.Pool([x])
    assert contest(4, 300, lambda: pool.acquire(timeout=0), pool.release) == [1] * 300
    assert_whole(pool, [x])


def test_leases_that_somebody_kept_stay_over_while_their_slots_go_from_thread_to_thread():
    objects = things(2)
    pool = opool.Pool(objects, timeout=None)

    def target(i):
        kept = []
        for n in range(4000):
            lease = pool.lease()
            with lease as obj:
                assert obj is lease.obj and not lease.released
            if n % (i + 2) == 0:
                kept.append(lease)
        assert all(lease.released for lease in kept)
        assert len(set(map(id, kept))) == len(kept)
        for lease in kept[::50]:
            with pytest.raises(opool.LeaseError):
                lease.release()

    with eager_switching(1e-5):
        threads(4, target)
    assert_whole(pool, objects)


def taken_from(letters):
    """What is in the box until it is empty: looking first and taking then would be two steps."""
    with contextlib.suppress(IndexError):
        while True:
            yield letters.pop()


def test_a_lease_may_be_handed_over_and_ended_in_another_thread():
    objects = things(3)
    pool = opool.Pool(objects, timeout=None)
    inbox = [[], []]

    def target(i):
        for _ in range(3000):
            inbox[1 - i].append(pool.lease())
            for lease in taken_from(inbox[i]):
                with lease as obj:
                    assert lease.obj is obj
            lease = None

    # Whoever is ready no longer empties its box: somebody has to, or the other would wait for ever.
    crew = Crew(2, target)
    with eager_switching(1e-5):
        while crew.running:
            for letters in inbox:
                for lease in taken_from(letters):
                    lease.release()
            time.sleep(0.001)
    crew.join()
    for letters in inbox:
        for lease in letters:
            lease.release()
    assert_whole(pool, objects)


def test_an_object_is_alive_when_it_arrives_whoever_releases_it_and_takes_it_out_meanwhile():
    run_child(
        """
        import opool
        from opool import _opool
        from support import Crew, Thing, eager_switching, threads
        pool = opool.Pool()
        rounds = 10_000

        def taker(i):
            for _ in range(rounds):
                try:
                    assert type(pool.acquire(timeout=0)) is Thing
                except opool.PoolTimeout:
                    pass

        def meddler(i):
            # Releases what others have only just taken, and takes it out for good.
            for _ in range(rounds):
                thing = Thing()
                pool.add_obj(thing)
                for _ in range(3):
                    try:
                        pool.release(thing)
                        _opool._remove(pool, 0)
                    except (opool.LeaseError, opool.PoolTimeout):
                        pass
                del thing

        with eager_switching(1e-5):
            threads(2, lambda i: (taker, meddler)[i](i))
        """
    )
