"""Fork with a pool that makes its objects: the child starts anew, and never touches what belongs to the parent.

The objects remember which process made them. Each complains when it is checked, reset, disposed of or finalized in
another one, to the standard error of the test's child, which has to stay empty.
"""

import os

import pytest

from forks import child_with_hooks as child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_idle_objects_of_the_parent_are_forgotten_and_the_child_makes_its_own():
    child("""
pool = opool.Pool(max_size=4, min_size=3, **HOOKS)
eventually(lambda: pool.idle == 3)

def body():
    assert state(pool) == (0, 0, 0, 0), state(pool)
    assert pool.stats().retired["forked"] == 3
    check_invariants(pool)
    works(pool)

for _ in range(5):
    assert forked(body) == 0
check_invariants(pool)
assert pool.idle == 3 and set(made) == {os.getpid()}
pool.close()
""")


def test_the_child_makes_as_many_as_min_size_says_as_soon_as_it_uses_the_pool():
    child("""
pool = opool.Pool(max_size=4, min_size=3, **HOOKS)
eventually(lambda: pool.idle == 3)

def body():
    assert made.count(os.getpid()) == 0
    pool.lease().release()
    eventually(lambda: pool.idle == 3)
    assert made.count(os.getpid()) == 3

assert forked(body) == 0
""")


@pytest.mark.parametrize("ending", ["pass", "pool.close()", "pool.close(force=True)", "del globals()['pool']"])
def test_a_child_that_ends_by_sys_exit_finalizes_nothing_of_the_parents(ending):
    child(f"""
pool = opool.Pool(max_size=6, min_size=4, **HOOKS)
eventually(lambda: pool.idle == 4)
lease, bare = pool.lease(), pool.acquire()

def body():
    global lease, bare
    works(pool)
    lease = bare = None
    gc.collect()
    try:
        {ending}
    except opool.PoolCloseTimeout:
        raise AssertionError("it waited for what nobody has")
    gc.collect()

def ends_well():
    # `bare` was never released: closing would wait for it.
    if {ending!r} == "pool.close()":
        pool.release(bare)
    body()

assert exits(0, ends_well) == 0
assert pool.leased == 2
lease.release()
pool.release(bare)
pool.close()
""")


def test_what_the_forking_thread_holds_stays_usable_and_is_forgotten_when_it_comes_back():
    child("""
pool = opool.Pool(max_size=6, **HOOKS)
lease, entered, dropped, broken, bare = pool.lease(), pool.lease(), pool.lease(), pool.lease(), pool.acquire()
entered.__enter__()

def body():
    global dropped
    assert state(pool) == (5, 0, 5, 0), state(pool)
    assert lease.obj.process == entered.obj.process == bare.process == os.getppid()
    works(pool)                             # beside them there is room for one
    lease.release()
    entered.__exit__(None, None, None)
    broken.discard()
    pool.release(bare)
    dropped = None
    size, idle, leased, waiting = state(pool)
    assert (size, leased) == (idle, 0), state(pool)
    works(pool)
    for misuse in (lease.release, entered.release, lambda: pool.release(bare)):
        try:
            misuse()
        except opool.LeaseError:
            continue
        raise AssertionError(misuse)
    pool.close()

for _ in range(3):
    assert forked(body) == 0
assert exits(0, body) == 0
assert state(pool) == (5, 0, 5, 0)
lease.release(); entered.release(); broken.release(); pool.release(bare)
dropped = None
pool.close()
""")


def test_leases_and_waits_of_other_threads_are_gone_in_the_child():
    child("""
pool, stay = opool.Pool(max_size=2, **HOOKS), threading.Event()
leases = []

def hold(i):
    leases.append(pool.lease())
    stay.wait(60)

holders = Crew(2, hold)
eventually(lambda: len(leases) == 2)
waiters = Crew(3, lambda i: pool.lease(timeout=None).release())
eventually(lambda: pool.waiting == 3)

def body():
    assert state(pool) == (0, 0, 0, 0), state(pool)
    works(pool)
    for lease in leases:
        try:
            lease.release()
        except opool.LeaseError as error:
            assert "has ended with the fork" in str(error)
        else:
            raise AssertionError("it was given back here")
    leases.clear()
    gc.collect()
    works(pool)
    pool.close()

assert forked(body) == 0
assert exits(0, body) == 0
assert state(pool) == (2, 0, 2, 3)
stay.set()
holders.join()
leases.clear()
waiters.join()
pool.close()
""")


def test_failures_of_the_factory_are_not_inherited():
    child("""
import logging
logging.getLogger("opool").addHandler(logging.NullHandler())
parent = os.getpid()

def fails_in_the_parent():
    if os.getpid() == parent:
        raise OSError("not here")
    return make()

pool = opool.Pool(**{**HOOKS, "factory": fails_in_the_parent})
for _ in range(3):
    try:
        pool.lease(timeout=60)
    except opool.FactoryError:
        pass
assert forked(lambda: works(pool)) == 0
""")


def test_grandchildren_start_anew_too():
    child("""
pool = opool.Pool(max_size=4, **HOOKS)
outer = pool.lease()

def grandchild():
    assert outer.obj.process != inner.obj.process != os.getpid()
    assert state(pool) == (2, 0, 2, 0), state(pool)
    works(pool)
    inner.release()
    outer.release()
    works(pool)
    pool.close()

def body():
    global inner
    inner = pool.lease()
    assert inner.obj.process == os.getpid()
    assert forked(grandchild) == 0
    inner.release()
    works(pool)

assert forked(body) == 0
outer.release()
pool.close()
""")


def test_a_closed_pool_stays_closed_in_the_child():
    child("""
pool = opool.Pool(max_size=2, **HOOKS)
lease = pool.lease()
try:
    pool.close(timeout=0)
except opool.PoolCloseTimeout:
    pass

def body():
    try:
        pool.lease()
    except opool.PoolClosed:
        pass
    pool.close(force=True)                  # does not wait for what is the parent's
    lease.release()
    assert pool.size == 0
    pool.close()

assert forked(body) == 0
assert exits(0, body) == 0
lease.release()
pool.close()
""")


def test_workers_of_multiprocessing_use_the_pool_that_they_inherit():
    child("""
import multiprocessing

pool = opool.Pool(max_size=2, min_size=1, **HOOKS)
eventually(lambda: pool.idle == 1)

def work(i):
    with pool.lease(timeout=LIMIT) as obj:
        return obj.process == os.getpid()

with multiprocessing.get_context("fork").Pool(3) as workers:
    assert workers.map(work, range(50)) == [True] * 50
process = multiprocessing.get_context("fork").Process(target=work, args=(1,))
process.start()
process.join()
assert process.exitcode == 0
assert pool.idle == 1
pool.close()
""")
