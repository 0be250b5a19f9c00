"""Copies, second constructors, handles made by hand: no trick makes two holders of one object."""

import contextlib
import copy
import functools
import gc
import pickle
import weakref

import pytest

import opool
from support import Thing, assert_whole, run_child, state, things


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_leases_and_pools_cannot_be_copied_or_pickled(duplicate):
    pool = opool.Pool([1])
    lease = pool.lease()
    for it in (lease, pool):
        with pytest.raises(TypeError):
            duplicate(it)
    gc.collect()
    assert state(pool) == (1, 0, 1, 0)
    lease.release()
    assert_whole(pool, [1])


def test_a_lease_initialised_a_second_time_still_gives_its_object_back_once():
    x, other = things(2)
    pool, second = opool.Pool([x]), opool.Pool([other])
    lease = pool.lease()
    with contextlib.suppress(Exception):
        lease.__init__(other, second)
    with contextlib.suppress(opool.LeaseError):
        lease.release()
    del lease
    gc.collect()
    assert_whole(pool, [x])
    assert_whole(second, [other])


def test_what_the_collector_shows_of_an_ended_lease_is_never_handed_out_again():
    pool = opool.Pool(things(2))
    for _ in range(10):
        pool.lease().release()
    shown = [it for it in [*gc.get_referents(pool), *gc.get_objects()] if type(it) is opool.Lease]
    fresh = [pool.lease(timeout=0), pool.lease(timeout=0)]
    assert not any(old is new for old in shown for new in fresh)


def test_a_lease_made_by_hand_puts_the_object_into_any_pool_that_has_put():
    class Store:
        def __init__(self):
            self.got = []

        def put(self, obj):
            self.got.append(obj)

    x, store = Thing(), Store()
    lease = opool.Lease(x, store)
    assert lease.obj is x and lease.pool is store and lease.released is False
    with lease as obj:
        assert obj is x and store.got == []
    assert store.got == [x] and lease.released is True
    with pytest.raises(opool.LeaseError):
        lease.__exit__(None, None, None)
    with pytest.raises(opool.LeaseError):
        lease.__enter__()
    assert store.got == [x]


def test_an_error_of_a_foreign_put_comes_out_as_it_is():
    class Broken:
        def put(self, obj):
            raise LookupError(obj)

    lease = opool.Lease(1, Broken())
    with pytest.raises(LookupError, match="1"):
        with lease:
            pass


def test_a_foreign_put_that_uses_the_lease_again_is_told_off():
    class Curious:
        lease = None
        errors = 0

        def put(self, obj):
            for misuse in (self.lease.release, self.lease.__enter__):
                try:
                    misuse()
                except opool.LeaseError:
                    self.errors += 1

    store = Curious()
    store.lease = opool.Lease(1, store)
    with store.lease:
        pass
    assert store.errors == 2


def test_a_lease_made_by_hand_over_a_real_pool_adds_its_object_once():
    x, other = things(2)
    pool = opool.Pool([other])
    lease = opool.Lease(x, pool)
    assert pool.size == 1
    with lease as obj:
        assert obj is x
    for misuse in (lease.release, lease.__enter__):
        with pytest.raises(opool.LeaseError):
            misuse()
    del lease
    gc.collect()
    assert_whole(pool, [other, x])


@pytest.mark.parametrize(
    "body",
    [
        "raw = opool.Pool.__new__(opool.Pool)",
        "class Forgetful(opool.Pool):\n    def __init__(self): pass\nraw = Forgetful()",
        "raw = opool.Pool([1, 2]); attempt(lambda: raw.__init__([3])); attempt(raw.__init__)",
        "raw = opool.Pool([1]); kept = raw.lease(); attempt(lambda: raw.__init__([2])); kept.release()",
        "raw = opool.Pool([1]); kept = raw.lease(); attempt(lambda: raw.__init__(5, timeout='x')); del kept",
    ],
)
def test_a_pool_set_up_wrongly_or_twice_never_crashes(body):
    run_child(
        f"""
import gc, opool
def attempt(call):
    try:
        return call()
    except Exception:
        return None
{body}
for _ in range(2):
    attempt(lambda: (raw.size, raw.idle, raw.leased, raw.waiting, raw.name, raw.timeout, repr(raw)))
    attempt(lambda: raw.lease(timeout=0))
    attempt(lambda: raw.add_obj(5))
    attempt(lambda: raw.try_lease())
    attempt(lambda: raw.release(raw.acquire(timeout=0)))
    attempt(lambda: gc.get_referents(raw))
    assert attempt(lambda: raw.size == raw.idle + raw.leased) in (True, None)
    gc.collect()
"""
    )


def test_a_lease_made_without_its_constructor_never_crashes():
    run_child(
        """
        import gc, opool
        def attempt(call):
            try:
                return call()
            except Exception:
                return None
        raw = attempt(lambda: opool.Lease.__new__(opool.Lease))
        for name in ("obj", "pool", "released"):
            attempt(lambda: getattr(raw, name))
        for call in (lambda: raw.__enter__(), lambda: raw.__exit__(None, None, None), lambda: raw.release(),
                     lambda: repr(raw), lambda: hash(raw), lambda: gc.get_referents(raw)):
            attempt(call)
        del raw
        gc.collect()
        """
    )


def test_no_weak_reference_to_an_ended_lease_leads_to_the_next_one():
    pool = opool.Pool(things(1))
    lease = pool.lease()
    try:
        ended = weakref.ref(lease)
    except TypeError:
        return
    lease.release()
    del lease
    lease = pool.lease()
    assert ended() is not lease


def test_a_wrong_number_of_arguments_to_enter_or_exit_never_loses_or_doubles_the_object():
    x = Thing()
    for name in ("__enter__", "__exit__"):
        for count in range(6):
            pool = opool.Pool([x])
            for call in (getattr(pool.lease(), name), functools.partial(getattr(opool.Lease, name), pool.try_lease())):
                with contextlib.suppress(TypeError, opool.LeaseError):
                    call(*[None] * count)
            del call
            assert_whole(pool, [x])


def test_a_failing_allocation_anywhere_loses_no_object():
    pytest.importorskip("_testcapi")
    run_child(
        """
        import gc, sys, _testcapi, opool
        from support import assert_whole, things

        objects = things(2)
        pool = opool.Pool(objects)
        kept = []

        def with_fresh_lease():
            kept.append(pool.lease())       # the next one cannot use its memory again
            with pool.lease(timeout=0):
                pass

        def with_timeout():
            with pool.lease(), pool.lease():
                pool.lease(timeout=0)

        def with_error():
            pool.release(5)

        def with_acquire():
            pool.release(pool.acquire())

        def with_try():
            kept.append(pool.try_lease())

        failed = 0
        pool.lease().release()
        uses = [with_fresh_lease, with_error, with_acquire, with_try]
        if getattr(sys, "_is_gil_enabled", lambda: True)():
            # Its message takes a list, and CPython 3.13 without a GIL corrupts its heap where `[a, b]` finds no memory.
            uses.append(with_timeout)
        for use in uses:
            for n in range(60):
                try:
                    _testcapi.set_nomemory(n, n + 1)
                    use()
                except (MemoryError, opool.PoolError):
                    failed += 1
                finally:
                    _testcapi.remove_mem_hooks()
                kept.clear()
                gc.collect()
                assert_whole(pool, objects)
        assert failed > 20
        """
    )
