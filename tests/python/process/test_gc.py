"""The collector and `__del__` may run at any allocation and use the pool they came from: no freeze, nothing lost."""

import gc
import weakref

import pytest

import opool
from support import Thing, assert_whole, run_child, state, things

PRELUDE = """
import gc, sys, threading, weakref
import opool
from support import Crew, Thing, assert_whole, eventually, state, things

def garbage(*parts):
    loop = [*parts]
    loop.append(loop)
"""


def child(code):
    return run_child(PRELUDE + code)


@pytest.mark.parametrize(
    "use",
    [
        "with pool.lease(timeout=0): pass",
        "pool.try_lease()",
        "pool.release(pool.acquire(timeout=0))",
        "lease = pool.lease(timeout=0); lease.release()",
    ],
)
@pytest.mark.parametrize("spare", [0, 2])
def test_a_del_that_uses_the_same_pool_may_run_at_any_allocation(use, spare):
    child(f"""
objects = things(1 + {spare})
pool = opool.Pool(objects)
ran = [0]

class Visitor:
    def __del__(self):
        ran[0] += 1
        try:
            {use}
        except opool.PoolTimeout:
            assert not {spare}

gc.set_threshold(1, 0)
for _ in range(5000):
    garbage(Visitor())
    with pool.lease():
        garbage(Visitor())
    pool.release(pool.acquire())
    lease = pool.try_lease()
    if lease is not None:
        lease.release()
    try:
        opool.Pool([Visitor() for _ in range(3)]).lease(timeout=0)
    except opool.PoolError:
        pass
gc.set_threshold(700, 10)
gc.collect()
assert ran[0] == 25000, ran
assert_whole(pool, objects)
""")


def test_a_collector_that_leases_at_the_start_and_end_of_every_pass_is_harmless():
    child("""
objects = things(2)
pool = opool.Pool(objects)
ran = [0]

def visit(phase, info):
    ran[0] += 1
    with pool.lease(timeout=0):
        pass

gc.callbacks.append(visit)
gc.set_threshold(1, 0)
for _ in range(2000):
    with pool.lease():
        garbage(opool.Pool([1, 2]).lease())
while ran[0] <= 1000:       # without a GIL the collector starts by itself a few times only
    with pool.lease():
        garbage(opool.Pool([1, 2]).lease())
        gc.collect(0)
gc.callbacks.clear()
gc.set_threshold(700, 10)
gc.collect()
assert ran[0] > 1000
assert_whole(pool, objects)
""")


def test_a_del_that_gives_to_a_waiter_while_the_collector_runs_in_the_giver():
    child("""
x = Thing()
pool = opool.Pool([x], timeout=None)
served = [0]

def worker(_):
    for _ in range(300):
        with pool.lease():
            served[0] += 1

gc.set_threshold(1, 0)
crew = Crew(3, worker)
for _ in range(300):
    garbage(pool.lease())
    gc.collect()
crew.join()
assert served[0] == 900
assert_whole(pool, [x])
""")


def test_a_lease_lost_in_a_reference_cycle_gives_its_object_back_once():
    objects = things(3)
    pool = opool.Pool(objects)
    for entered in (False, True):
        loop = {"lease": pool.lease()}
        loop["loop"] = loop
        if entered:
            loop["lease"].__enter__()
        del loop
        gc.collect()
        gc.collect()
        assert_whole(pool, objects)


def test_a_lease_in_a_cycle_with_its_own_object_gives_it_back():
    x = Thing()
    pool = opool.Pool([x])
    x.lease = pool.lease()
    gc.collect()
    assert state(pool) == (1, 0, 1, 0)
    again = x.lease
    del x.lease
    again.release()
    assert_whole(pool, [x])


def test_an_object_that_holds_its_own_lease_dies_with_its_pool():
    x = Thing()
    pool = opool.Pool([x])
    x.lease = pool.lease()
    watched = [weakref.ref(x), weakref.ref(pool)]
    del x, pool
    gc.collect()
    gc.collect()
    assert [ref() for ref in watched] == [None, None]


def test_a_lease_in_a_generator_in_a_cycle_gives_back():
    def body(pool, me):
        with pool.lease():
            yield me

    x = Thing()
    pool = opool.Pool([x])
    me = []
    me.append(body(pool, me))
    next(me[0])
    del me
    gc.collect()
    assert_whole(pool, [x])


def test_a_body_that_a_lost_generator_ends_has_its_object_until_then():
    idle = []

    def body(pool, lease, me):
        with lease:
            try:
                yield me
            finally:
                idle.append(pool.idle)

    x = Thing()
    pool = opool.Pool([x])
    lease, me = pool.lease(), []  # older than the generator: with a GIL the collector would finalize it first
    me.append(body(pool, lease, me))
    next(me[0])
    del lease, me
    gc.collect()
    assert idle == [0]
    assert_whole(pool, [x])


def with_objects(pool):
    for obj in [pool.acquire(timeout=0) for _ in range(2)]:
        obj.pool = pool
        pool.release(obj)


def with_a_lease(pool):
    lease = pool.lease()
    lease.obj.pool, lease.obj.lease = pool, lease


def with_an_entered_lease(pool):
    lease = pool.lease()
    lease.__enter__().lease = lease


def with_an_acquired_object(pool):
    pool.acquire().pool = pool


def with_itself(pool):
    pool.add_obj(pool)


def with_its_own_lease_inside(pool):
    pool.add_obj(pool.lease())


def with_an_ended_lease_inside(pool):
    lease = pool.lease()
    lease.release()
    pool.add_obj(lease)


def with_a_bound_method(pool):
    pool.add_obj(pool.lease)


def with_an_acquired_tuple(pool):
    pool.add_obj((pool, "a tuple lets go of nothing when the collector asks it to"))
    for _ in range(pool.idle):
        pool.acquire(timeout=0)


def with_a_leased_tuple(pool):
    pool.add_obj((pool,))
    for _ in range(pool.idle - 1):
        pool.acquire(timeout=0)
    loop = [pool.lease()]
    loop.append(loop)


def with_a_waiting_error(pool):
    held = pool.lease(), pool.lease()
    try:
        pool.lease(timeout=0)
    except opool.PoolTimeout as error:
        held[0].obj.error = error


TIES = [
    with_objects,
    with_a_lease,
    with_an_entered_lease,
    with_an_acquired_object,
    with_itself,
    with_its_own_lease_inside,
    with_an_ended_lease_inside,
    with_a_bound_method,
    with_an_acquired_tuple,
    with_a_leased_tuple,
    with_a_waiting_error,
]


def pools():
    return sum(type(it) in (opool.Pool, opool.Lease) for it in gc.get_objects())


@pytest.mark.parametrize("tie", TIES)
def test_ten_thousand_pools_in_cycles_really_die(tie):
    alive = weakref.WeakSet()

    def live():
        pool = opool.Pool(things(2))
        for obj in (pool.acquire(), pool.acquire()):
            alive.add(obj)
            pool.release(obj)
        alive.add(pool)
        tie(pool)

    gc.collect()
    before = pools()
    for _ in range(10_000 // len(TIES)):
        live()
    gc.collect()
    gc.collect()
    assert len(alive) == 0
    # The collector clears weak references before it frees: only a look at all objects shows that it did.
    assert pools() == before


def test_ten_thousand_subclass_pools_that_know_themselves_die():
    class Own(opool.Pool):
        def __init__(self, objects):
            super().__init__(objects)
            self.me = self
            self.held = self.lease()

    alive = weakref.WeakSet()
    for _ in range(10_000):
        alive.add(Own([1]))
    gc.collect()
    gc.collect()
    assert len(alive) == 0


def test_the_collector_sees_what_a_pool_and_a_lease_hold():
    objects = things(5)
    pool = opool.Pool(objects)
    lease, bare = pool.lease(), pool.acquire()
    assert gc.is_tracked(pool) and gc.is_tracked(lease)
    seen = {id(it) for it in gc.get_referents(pool)}
    assert {id(obj) for obj in objects[2:]} <= seen
    assert {id(lease.obj), id(pool)} <= {id(it) for it in gc.get_referents(lease)}
    assert any(it is pool for it in gc.get_referrers(objects[4]))
    pool.release(bare)
    lease.release()
    gc.collect()
    assert_whole(pool, objects)


def test_the_collector_never_frees_what_is_still_in_use():
    objects = [[i] for i in range(20)]
    for obj in objects:
        obj.append(obj)
    pool = opool.Pool(objects)
    del objects, obj
    held = [pool.lease() for _ in range(5)]
    bare = [pool.acquire() for _ in range(5)]
    for _ in range(3):
        gc.collect()
    assert [lease.obj[0] for lease in held] == [0, 1, 2, 3, 4]
    assert [obj[0] for obj in bare] == [5, 6, 7, 8, 9]
    assert pool.acquire()[0] == 10


def test_weak_references_to_objects_call_back_into_the_pool():
    child("""
pool = opool.Pool(things(2))
other = opool.Pool(things(2))
called = []

def visit(_):
    called.append(pool.size)
    with pool.lease(timeout=0):
        pass

refs = []
for lease in (other.lease(), other.lease()):
    refs.append(weakref.ref(lease.obj, visit))
    lease.release()
del lease, other
gc.collect()
assert called == [2, 2]
""")


def test_objects_whose_del_uses_their_dying_pool_find_it_whole():
    child("""
seen = []

class Resource:
    def __init__(self, pool):
        self.pool = pool

    def __del__(self):
        pool = self.pool
        try:
            with pool.lease(timeout=0):
                seen.append(pool.idle)
            pool.add_obj(7)
            pool.release(pool.acquire(timeout=0))
        except opool.PoolError as error:
            seen.append(error)

for _ in range(200):
    pool = opool.Pool()
    for _ in range(3):
        pool.add_obj(Resource(pool))
    del pool
    gc.collect()
assert len(seen) == 600, len(seen)
""")


def test_an_object_that_survives_its_pool_by_its_del_is_safe():
    child("""
saved = []

class Phoenix:
    def __init__(self, pool):
        self.pool = pool

    def __del__(self):
        saved.append((self, self.pool, self.pool.try_lease()))

for _ in range(100):
    pool = opool.Pool()
    pool.add_obj(Phoenix(pool))
    del pool
    gc.collect()
assert len(saved) == 100
for phoenix, pool, lease in saved:
    pool.add_obj(1)
    assert pool.size in (1, 2)
    if lease is not None:
        lease.release()
    pool.acquire(timeout=0)
saved.clear()
gc.collect()
""")


@pytest.mark.parametrize("before", ["pool.lease().release()", "pool.release(pool.acquire())", "pass"])
def test_a_pool_that_came_back_from_the_dead_still_gets_its_lost_leases_back(before):
    child(f"""
class Phoenix:
    def __init__(self, *keep):
        self.keep = keep

    def __del__(self):
        saved.append(self.keep)

for held in ("idle", "leased", "acquired"):
    saved = []
    pool = opool.Pool(things(3))
    for _ in range(3):
        {before}
    if held == "leased":
        kept = pool.lease()
        garbage(Phoenix(pool, kept), kept)
        del kept
    else:
        if held == "acquired":
            pool.acquire()
        garbage(Phoenix(pool), pool)
    del pool
    gc.collect()
    (pool, *rest), = saved
    out = pool.leased
    for _ in range(10):
        leases = [lease for lease in (pool.try_lease() for _ in range(3)) if lease is not None]
        for lease in leases:
            garbage(lease)
        assert leases
        del lease, leases
        gc.collect()
        gc.collect()
        assert state(pool) == (3, 3 - out, out, 0), (held, state(pool))
    saved.clear()
    rest.clear()
    del pool
    gc.collect()
""")


def test_a_pool_whose_own_del_leases_from_it_may_come_back_and_go_again():
    child("""
saved = []

class Phoenix(opool.Pool):
    def __del__(self):
        with self.lease(timeout=0):
            saved.append(self.lease(timeout=0))

for shape in range(100):
    pool = Phoenix(things(2))
    if shape % 2:
        pool.me = pool
    del pool
    gc.collect()
assert len(saved) == 100
for lease in saved:
    pool = lease.pool
    assert state(pool) == (2, 1, 1, 0)
    lease.release()
    assert len({id(it) for it in (pool.acquire(timeout=0), pool.acquire(timeout=0))}) == 2
del pool, lease
saved.clear()
gc.collect()
""")


def test_a_pool_cleared_by_the_collector_can_be_called_from_what_it_drops():
    child("""
called = []
for shape in range(100):
    class Untracked:
        __slots__ = ()      # no collector header: its __del__ runs only when the pool lets go of it

        def __del__(self, called=called):
            pool = type(self).pool
            called.append(1)
            for call in (pool.try_lease, lambda: pool.add_obj(3), lambda: pool.lease(timeout=0),
                         lambda: pool.release(self), lambda: (pool.size, pool.idle), lambda: gc.get_referents(pool)):
                try:
                    call()
                except opool.PoolError:
                    pass

    pool = Untracked.pool = opool.Pool([Untracked(), Untracked(), Untracked()])
    if shape % 2:
        Untracked.lease = pool.lease()
    if shape % 3 == 0:
        Untracked.bare = 1
        pool.acquire()
    del pool, Untracked
    gc.collect()
gc.collect()
assert len(called) >= 250, len(called)
""")


def test_objects_dropped_with_their_pool_may_use_another_pool_or_the_lock_of_their_owner():
    child("""
lock = threading.Lock()
survivor = opool.Pool([1, 2])

class Resource:
    def __del__(self):
        with lock, survivor.lease(timeout=0):
            pass

for _ in range(1000):
    pool = opool.Pool([Resource(), Resource()])
    lease = pool.lease()
    del pool, lease
assert_whole(survivor, [1, 2])
""")


def test_an_iterable_that_collects_and_uses_the_pool_while_it_is_filled():
    child("""
class Greedy(opool.Pool):
    def __init__(self, n):
        super().__init__(self.made(n))

    def made(self, n):
        for i in range(n):
            gc.collect(0)
            self.add_obj(-i)
            lease = self.try_lease()
            if lease is not None:
                lease.release()
            yield i

pool = Greedy(100)
assert pool.size == pool.idle == 200
""")


def test_a_lease_that_dies_with_a_thread_gives_back():
    child("""
x = Thing()
pool = opool.Pool([x], timeout=None)
local = threading.local()

def worker(_):
    local.lease = pool.lease()

for _ in range(50):
    Crew(1, worker).join()
    eventually(lambda: pool.idle == 1)
assert_whole(pool, [x])
""")


@pytest.mark.parametrize("link", ["lease", "pool"])
def test_a_long_chain_of_pools_within_pools_is_freed_without_using_up_the_stack(link):
    child(f"""
chain = None
for _ in range(100_000):
    pool = opool.Pool([chain])
    chain = pool.lease() if {link!r} == "lease" else pool
del pool, chain
gc.collect()
""")
