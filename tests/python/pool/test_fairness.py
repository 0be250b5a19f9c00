"""Who gets what when threads ask again at once: in either mode nobody starves."""

import threading
import time

import pytest

import design.opool
import opool
from support import Crew, assert_whole, eventually, things


def leases_per_thread(pool, count, body, enough):
    """How many leases each of so many threads has had when that is enough."""
    counts, over = [0] * count, threading.Event()

    def work(number):
        while not over.is_set():
            with pool.lease():
                body()
            counts[number] += 1

    crew = Crew(count, work)
    try:
        eventually(lambda: enough(counts))
    finally:
        over.set()
    crew.join()
    return counts


@pytest.mark.parametrize("fairness", ["adaptive", "strict"])
@pytest.mark.parametrize("count", [8, 64])
def test_bodies_that_release_the_gil_are_served_evenly(fairness, count):
    objects = things(4)
    pool = opool.Pool(objects, fairness=fairness)
    counts = leases_per_thread(pool, count, lambda: time.sleep(1e-4), lambda counts: min(counts) >= 100)
    assert max(counts) - min(counts) <= max(5, 0.2 * max(counts)), counts
    assert_whole(pool, objects)


@pytest.mark.parametrize("count", [8, 64])
def test_no_thread_starves_although_bodies_are_empty_and_turns_are_taken(count):
    objects = things(4)
    pool = opool.Pool(objects)
    # Who has the GIL takes many at a time, and when each thread has had it is up to the machine: but not for ever.
    leases_per_thread(pool, count, lambda: None, lambda counts: min(counts) > max(50, 0.02 * sum(counts) / count))
    assert_whole(pool, objects)


def test_the_drop_in_is_strict_and_the_pool_adaptive_unless_asked():
    assert design.opool.Pool([]).fairness == opool.Pool(fairness="strict").fairness == "strict"
    assert opool.Pool().fairness == opool.Pool(fairness="adaptive").fairness == "adaptive"


def test_an_unknown_fairness_is_refused_by_name():
    with pytest.raises(ValueError, match="fairness must be 'adaptive' or 'strict', not 'random'"):
        opool.Pool([1], fairness="random")
    with pytest.raises(TypeError):
        opool.Pool([1], fairness=1)
