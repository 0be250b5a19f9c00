"""What has left a pool still takes its place until it is disposed of; but if that hangs, it holds nobody up."""

import threading

import opool
from opool.testing import Clock, Scripted, check_invariants
from support import Thing, threads


def test_objects_that_are_being_disposed_of_count_until_that_is_over():
    lock, gauge = threading.Lock(), {"open": 0, "peak": 0}

    def make():
        with lock:
            gauge["open"] += 1
            gauge["peak"] = max(gauge.values())
        return Thing()

    def dispose(thing):
        closing.wait(0.002)  # for nobody: it takes its time
        with lock:
            gauge["open"] -= 1

    closing = threading.Event()
    with opool.Pool(factory=make, dispose=dispose, max_size=3) as pool:

        def work(_):
            for _ in range(50):
                pool.lease().discard()

        threads(8, work)
        check_invariants(pool)
        assert pool.stats().retired["discarded"] == 400
    assert gauge == {"open": 0, "peak": 3}


def test_a_dispose_that_hangs_holds_its_place_for_a_second_and_no_longer():
    clock = Clock()
    never = Scripted("never", clock=clock)
    pool = opool.Pool(factory=Thing, dispose=never, max_size=1, clock=clock)
    for count in range(1, 13):  # more than are disposed of at once
        pool.lease(timeout=2).discard()
        assert clock.time <= count
    assert never.running == 8
    assert 7 <= clock.time < 9
    check_invariants(pool)


def test_a_dispose_that_is_slow_gives_its_place_back_when_it_is_done():
    clock = Clock()
    pool = opool.Pool(factory=Thing, dispose=Scripted(("slow", 0.25), clock=clock), max_size=1, clock=clock)
    pool.lease().discard()
    pool.lease().discard()
    assert clock.time == 0.25


def test_without_a_dispose_nothing_is_waited_for():
    clock = Clock()
    pool = opool.Pool(factory=Thing, max_size=1, clock=clock)
    for _ in range(10):
        pool.lease().discard()
    assert clock.time == 0
