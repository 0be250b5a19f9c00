"""`pool.stats()`: each figure counts what its docstring says, and all of them are of one moment."""

import copy
import dataclasses
import json
import pickle
import threading

import pytest

import opool
from opool.testing import Clock, Scripted, check_invariants
from support import Crew, Hit, eager_switching, eventually, run_child, things

REASONS = ["discarded", "unfit", "not_reset", "idle", "lifetime", "reloaded", "surplus", "closed", "forked"]


@pytest.fixture
def clock():
    return Clock()


def refuse(*_):
    raise Hit


def which(histogram):
    """The bounds of the buckets that are not empty; None stands for what lies above all of them."""
    bounds = [*histogram.bounds, None]
    return {bound: count for bound, count in zip(bounds, histogram.counts) if count}


# ----------------------------------------------------------------------------------------------------------------------
# The snapshot


def test_the_figures_of_a_new_pool_are_zero_but_for_its_objects_and_limits():
    stats = opool.Pool(["a", "b"], name="letters").stats()
    assert dataclasses.asdict(stats) == {
        **dict.fromkeys(["leased", "checking", "waiting", "creating", "min_size", "create_failures"], 0),
        **dict.fromkeys(["leases", "timeouts", "refused"], 0),
        "name": "letters",
        "size": 2,
        "idle": 2,
        "created": 2,
        "max_size": None,
        "retired": dict.fromkeys(REASONS, 0),
        **dict.fromkeys(
            ["wait_time", "create_time", "use_time"],
            {"bounds": stats.wait_time.bounds, "counts": (0,) * 12, "sum": 0.0},
        ),
    }
    assert stats.made == 2
    assert stats.wait_time.count == 0


def test_nothing_in_a_snapshot_can_be_changed():
    stats = opool.Pool(["a"]).stats()
    for shown in (stats, stats.wait_time):
        for field in dataclasses.fields(shown):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(shown, field.name, None)
    assert isinstance(stats.wait_time.counts, tuple)
    for change in (
        lambda retired: retired.__setitem__("idle", 1),
        lambda retired: retired.__delitem__("idle"),
        lambda retired: retired.update(idle=1),
        lambda retired: retired.setdefault("mine", 1),
        lambda retired: retired.__ior__({"idle": 1}),
        lambda retired: retired.pop("idle"),
        lambda retired: retired.popitem(),
        lambda retired: retired.clear(),
    ):
        with pytest.raises(TypeError, match="a snapshot"):
            change(stats.retired)
    assert stats.retired == dict.fromkeys(REASONS, 0)


def test_a_snapshot_does_not_follow_its_pool():
    pool = opool.Pool(["a"])
    before = pool.stats()
    with pool.lease():
        assert (before.idle, before.leases) == (1, 0)
        assert (pool.stats().idle, pool.stats().leases) == (0, 1)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda stats: pickle.loads(pickle.dumps(stats))])
def test_a_snapshot_can_be_copied_and_sent_elsewhere(again):
    stats = opool.Pool(["a"], name="x").stats()
    assert again(stats) == stats
    assert again(stats).retired == stats.retired
    with pytest.raises(TypeError, match="a snapshot"):
        again(stats).retired["idle"] = 1


def test_a_snapshot_as_a_dict_goes_into_json():
    stats = opool.Pool(["a"], name="x").stats()
    said = json.loads(json.dumps(dataclasses.asdict(stats)))
    assert (said["name"], said["retired"]["idle"], said["wait_time"]["sum"]) == ("x", 0, 0.0)


# ----------------------------------------------------------------------------------------------------------------------
# Waits


def test_who_finds_an_object_does_not_wait(clock):
    pool = opool.Pool(["a"], clock=clock)
    for _ in range(3):
        with pool.lease(timeout=1):
            assert pool.try_lease() is None
    stats = pool.stats()
    assert (stats.leases, stats.wait_time.count, stats.timeouts) == (3, 0, 0)


@pytest.mark.parametrize(("waited", "bound"), [(0.25, 0.5), (0.5, 0.5), (0.500_000_001, 1.0), (11.0, None)])
def test_a_wait_lasts_from_the_queue_to_the_object_and_a_bound_belongs_to_its_bucket(clock, waited, bound):
    pool = opool.Pool(["a"], clock=clock)
    lease = pool.lease()
    clock.call_later(waited, lease.release)
    with pool.lease(timeout=60):
        stats = pool.stats()
    assert which(stats.wait_time) == {bound: 1}
    assert stats.wait_time.sum == pytest.approx(waited, abs=1e-12)
    assert (stats.leases, stats.timeouts) == (2, 0)


def test_a_wait_that_times_out_counts_as_a_wait_and_as_a_timeout(clock):
    pool = opool.Pool([], clock=clock)
    for timeout in (2.0, 0.0):
        with pytest.raises(opool.PoolTimeout):
            pool.lease(timeout=timeout)
    stats = pool.stats()
    assert (stats.timeouts, stats.leases, stats.waiting) == (2, 0, 0)
    assert which(stats.wait_time) == {5.0: 1, 0.00001: 1}
    assert stats.wait_time.sum == 2.0


def test_a_deadlock_counts_as_a_timeout(clock):
    pool = opool.Pool(factory=object, max_size=1, clock=clock)
    with pool.lease():
        with pytest.raises(opool.PoolDeadlock):
            pool.lease(timeout=60)
    stats = pool.stats()
    assert (stats.timeouts, stats.wait_time.count) == (1, 2)
    assert stats.wait_time.sum == pytest.approx(0.1)


def test_a_wait_that_an_exception_ends_counts_and_is_no_timeout(clock):
    pool = opool.Pool([], clock=clock)
    clock.call_later(0.5, refuse)
    with pytest.raises(Hit):
        pool.lease(timeout=60)
    stats = pool.stats()
    assert (stats.wait_time.count, stats.wait_time.sum, stats.timeouts) == (1, 0.5, 0)


def test_a_wait_that_an_exception_ends_when_the_object_is_there_already_counts_once(clock):
    pool = opool.Pool(["a"], clock=clock)
    lease = pool.lease()

    def give_back_and_raise():
        lease.release()
        raise Hit

    clock.call_later(0.5, give_back_and_raise)
    with pytest.raises(Hit):
        pool.lease(timeout=60)
    stats = pool.stats()
    assert (stats.wait_time.count, stats.wait_time.sum, stats.timeouts, stats.idle) == (1, 0.5, 0, 1)


def test_a_wait_that_the_end_of_the_pool_ends_counts(clock):
    pool = opool.Pool([], clock=clock)
    clock.call_later(0.75, pool.close)
    with pytest.raises(opool.PoolClosed):
        pool.lease(timeout=60)
    stats = pool.stats()
    assert (stats.wait_time.count, stats.wait_time.sum, stats.timeouts, stats.refused) == (1, 0.75, 0, 0)


def test_who_is_not_let_into_the_queue_is_refused_and_has_not_waited(clock):
    pool = opool.Pool(["a"], max_waiting=0, clock=clock)
    with pool.lease():
        with pytest.raises(opool.TooManyWaiters):
            pool.lease(timeout=60)
    stats = pool.stats()
    assert (stats.refused, stats.wait_time.count, stats.timeouts, clock.time) == (1, 0, 0, 0.0)


def test_who_is_told_at_once_that_the_factory_fails_is_refused(clock):
    pool = opool.Pool(factory=Scripted("error", clock=clock), clock=clock)
    for _ in range(3):
        with pytest.raises(opool.FactoryError):
            pool.lease(timeout=60)
    waited = pool.stats()
    assert (waited.refused, waited.create_failures, waited.wait_time.count) == (0, 3, 3)
    with pytest.raises(opool.FactoryError):
        pool.lease(timeout=60)
    stats = pool.stats()
    assert (stats.refused, stats.create_failures, stats.wait_time) == (1, 3, waited.wait_time)


def test_every_lease_and_every_timeout_of_many_threads_is_counted():
    pool = opool.Pool(things(1))
    rounds = 200

    def work(i):
        timeouts = 0
        for _ in range(rounds):
            try:
                with pool.lease(timeout=0.0005 if i % 2 else 60):
                    sum(range(1000))
            except opool.PoolTimeout:
                timeouts += 1
        return timeouts

    with eager_switching(1e-5):
        timeouts = sum(Crew(4, work).join())
    stats = pool.stats()
    assert stats.timeouts == timeouts
    assert stats.leases + stats.timeouts == 4 * rounds
    assert stats.timeouts <= stats.wait_time.count <= 4 * rounds
    check_invariants(pool)


# ----------------------------------------------------------------------------------------------------------------------
# Making


def test_the_time_of_making_is_the_factory_s_and_given_objects_have_none(clock):
    pool = opool.Pool(["given"], factory=Scripted(("slow", 2.0), clock=clock), min_size=3, clock=clock)
    clock.advance(10)
    stats = pool.stats()
    assert (stats.created, stats.create_failures) == (3, 0)
    assert which(stats.create_time) == {5.0: 2}
    assert stats.create_time.sum == 4.0


def test_a_failure_is_counted_and_not_timed(clock):
    pool = opool.Pool(factory=Scripted("error", "ok", clock=clock), min_size=1, clock=clock)
    clock.advance(10)
    stats = pool.stats()
    assert (stats.created, stats.create_failures, stats.create_time.count) == (1, 1, 1)


def test_an_attempt_that_is_given_up_is_a_failure_even_if_its_object_comes_in_the_end(clock):
    factory = Scripted(("slow", 5.0), "never", clock=clock)
    pool = opool.Pool(factory=factory, min_size=1, max_size=1, create_timeout=1.0, clock=clock)
    clock.advance(1.0)
    assert (pool.stats().creating, pool.stats().create_failures) == (0, 1)
    clock.advance(4.5)
    stats = pool.stats()
    assert (stats.created, stats.size, stats.create_time.count) == (1, 1, 0)
    check_invariants(pool)


def test_what_is_made_for_a_closed_pool_was_made_well_and_goes_at_once(clock):
    pool = opool.Pool(factory=Scripted(("slow", 5.0), clock=clock), min_size=1, clock=clock)
    clock.advance(0)
    assert (pool.stats().creating, pool.stats().made) == (1, 1)
    pool.close()
    clock.advance(10)
    stats = pool.stats()
    assert (stats.created, stats.retired["closed"], stats.size, stats.creating) == (1, 1, 0, 0)
    assert (stats.create_time.count, stats.create_time.sum) == (1, 5.0)


# ----------------------------------------------------------------------------------------------------------------------
# Use


def leave(pool, clock, seconds):
    with pool.lease():
        clock.advance(seconds)


def acquire(pool, clock, seconds):
    obj = pool.acquire()
    clock.advance(seconds)
    pool.release(obj)


def discard(pool, clock, seconds):
    lease = pool.lease()
    clock.advance(seconds)
    lease.discard()


def drop(pool, clock, seconds):
    lease = pool.lease()
    clock.advance(seconds)
    del lease


@pytest.mark.parametrize("use", [leave, acquire, discard, drop])
@pytest.mark.parametrize("options", [{}, {"reset": str}, {"reset": refuse}], ids=["plain", "reset", "reset fails"])
def test_each_use_is_timed_once_however_it_ends(clock, use, options):
    pool = opool.Pool([object()], timing=True, clock=clock, **options)
    use(pool, clock, 3.0)
    clock.advance(100)
    stats = pool.stats()
    assert (stats.leases, stats.use_time.count, stats.use_time.sum) == (1, 1, 3.0)
    check_invariants(pool)


def test_the_use_of_an_object_that_goes_when_it_comes_back_is_timed_once(clock):
    pool = opool.Pool(factory=object, max_size=2, timing=True, clock=clock)
    leases = [pool.lease(), pool.lease()]
    pool.resize(max_size=1)
    clock.advance(2.0)
    for lease in leases:
        lease.release()
    stats = pool.stats()
    assert (stats.use_time.count, stats.use_time.sum, stats.retired["surplus"]) == (2, 4.0, 1)


def test_uses_are_not_timed_unless_that_was_asked_for(clock):
    pool = opool.Pool(["a"], clock=clock)
    leave(pool, clock, 3.0)
    assert pool.stats().use_time.count == 0


# ----------------------------------------------------------------------------------------------------------------------
# Why objects go


def provoke_discarded(clock):
    pool = opool.Pool(["a"], clock=clock)
    pool.lease().discard()
    return pool


def provoke_unfit(clock):
    pool = opool.Pool(["a"], check=Scripted("error", clock=clock), check_after=1.0, clock=clock)
    clock.advance(2)
    with pytest.raises(opool.PoolTimeout):
        pool.lease(timeout=1)
    return pool


def provoke_not_reset(clock):
    pool = opool.Pool(["a"], reset=refuse, clock=clock)
    with pool.lease():
        pass
    return pool


def provoke_idle(clock):
    pool = opool.Pool(factory=object, max_idle=10, clock=clock)
    pool.lease().release()
    clock.advance(20)
    return pool


def provoke_lifetime(clock):
    pool = opool.Pool(factory=object, min_size=1, max_size=1, max_lifetime=10, jitter=0, clock=clock)
    clock.advance(15)
    return pool


def provoke_reloaded(clock):
    pool = opool.Pool(factory=object, min_size=1, clock=clock)
    clock.advance(0)
    pool.reload()
    clock.advance(1)
    return pool


def provoke_surplus(clock):
    pool = opool.Pool(factory=object, min_size=2, max_size=2, clock=clock)
    clock.advance(0)
    pool.resize(min_size=0, max_size=1)
    return pool


def provoke_closed(clock):
    pool = opool.Pool(["a"], clock=clock)
    pool.close()
    return pool


@pytest.mark.parametrize("reason", [reason for reason in REASONS if reason != "forked"])
def test_what_goes_is_counted_under_its_reason_and_no_other(clock, reason):
    pool = globals()[f"provoke_{reason}"](clock)
    assert pool.stats().retired == {**dict.fromkeys(REASONS, 0), reason: 1}
    check_invariants(pool)


def test_in_the_child_of_a_fork_the_parent_s_objects_are_gone():
    run_child(
        """
        import os
        import opool
        from opool.testing import Clock, check_invariants

        pool = opool.Pool(["a", "b"], factory=object, clock=Clock())
        lease = pool.lease()
        child = os.fork()
        if child == 0:
            lease.release()
            gone = {reason: count for reason, count in pool.stats().retired.items() if count}
            check_invariants(pool)
            os._exit(0 if gone == {"forked": 2} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not any(pool.stats().retired.values())
        check_invariants(pool)
        """
    )


# ----------------------------------------------------------------------------------------------------------------------
# One moment


def test_the_figures_add_up_while_every_hook_runs():
    seen = set()

    def looks(name, answer):
        def hook(*_):
            seen.add(name)
            check_invariants(pool)
            return answer() if callable(answer) else answer

        return hook

    pool = opool.Pool(
        factory=looks("factory", object),
        min_size=0,
        max_size=2,
        check=looks("check", True),
        check_after=0.0,
        reset=looks("reset", None),
        dispose=looks("dispose", None),
    )
    pool.lease().release()
    with pool.lease():
        check_invariants(pool)
    pool.lease().discard()
    eventually(lambda: seen == {"factory", "check", "reset", "dispose"})
    pool.close()
    check_invariants(pool)


def test_the_figures_add_up_at_any_moment_of_the_traffic_of_many_threads():
    pool = opool.Pool(factory=object, max_size=3, check=bool, check_after=0.0, timing=True, name="traffic")
    done = threading.Event()
    rounds = 150

    def watch():
        looks, last = 0, pool.stats()
        while not done.is_set() or looks < 10:
            check_invariants(pool)
            stats = pool.stats()
            for counter in ("created", "create_failures", "leases", "timeouts", "refused"):
                assert getattr(stats, counter) >= getattr(last, counter)
            for histogram in ("wait_time", "create_time", "use_time"):
                assert getattr(stats, histogram).count >= getattr(last, histogram).count
            assert stats.leases - stats.use_time.count <= stats.leased
            looks, last = looks + 1, stats
        return looks

    def work(i):
        for number in range(rounds):
            lease = pool.lease(timeout=60)
            if number % 10 == i:
                lease.discard()
            else:
                with lease:
                    pass
            if number % 50 == 49:
                pool.reload()

    with eager_switching(1e-5):
        watcher = Crew(1, lambda _: watch())
        try:
            Crew(4, work).join()
        finally:
            done.set()
        assert watcher.join()[0] >= 10
    stats = pool.stats()
    assert (stats.leases, stats.use_time.count) == (4 * rounds, 4 * rounds)
    assert stats.retired["discarded"] == 4 * rounds // 10
    pool.close()
    stats = pool.stats()
    assert stats.made == sum(stats.retired.values())
