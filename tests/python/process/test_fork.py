"""Fork at any moment: parent and child both go on leasing.

In the child the other threads are gone. What their leases held is idle again, what the forking thread holds stays its
own, and nobody waits. Each forked child ends by an alarm should it freeze, and says by its status whether all was well.
"""

import os

import pytest

from forks import PRELUDE
from support import run_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def child(code):
    return run_child(PRELUDE + code)


@pytest.mark.parametrize("method", ["lease", "mixed"])
def test_two_hundred_forks_while_other_threads_lease_and_wait(method):
    child(f"""
objects = things(4)
pool, over = opool.Pool(objects, timeout=None), []

def worker(i):
    rng = random.Random(i)
    while not over:
        if {method!r} == "mixed" and i % 2:
            try:
                lease = pool.lease(timeout=rng.uniform(0, 2e-4))
            except opool.PoolTimeout:
                continue
        else:
            lease = pool.lease()
        with lease:
            time.sleep(rng.choice((0, 0, 1e-5, 1e-4)))

def check():
    held = 0 if own is None else 1
    assert state(pool) == (4, 4 - held, held, 0), state(pool)
    leases = take_all(pool)
    got = [lease.obj for lease in leases]
    if own is not None:
        got.append(own.obj)
    assert sorted(map(id, got)) == sorted(map(id, objects)), got
    for lease in leases:
        lease.release()
    crew = Crew(6, lambda i: [pool.lease().release() for _ in range(20)])
    crew.join()
    if own is not None:
        own.__exit__(None, None, None)
    assert_whole(pool, objects)

crew = Crew(7, worker)
own = None
bad = 0
for n in range(100):
    if n % 2:
        with pool.lease() as obj:
            pass
        own = pool.lease()
        own.__enter__()
    bad += forked(check) != 0
    if own is not None:
        own.__exit__(None, None, None)
        own = None
over.append(True)
crew.join()
assert bad == 0, f"{{bad}} of 100 children failed"
assert_whole(pool, objects)
""")


def test_a_child_forked_within_a_with_leaves_it_properly():
    child("""
a, b = objects = things(2)
pool = opool.Pool(objects)
with pool.lease() as obj:
    child = os.fork()
    if not child:
        signal.alarm(LIMIT)
    assert obj is a and state(pool) == (2, 1, 1, 0)
    with pool.lease(timeout=0) as other:
        assert other is b and pool.try_lease() is None
assert_whole(pool, objects)
assert drain(pool) == [b, a]
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
""")


def test_idle_objects_and_the_own_leases_and_acquired_objects_stay_in_the_child():
    child("""
objects = things(5)
pool = opool.Pool(objects, name="forked", timeout=1.5)
lease, entered, bare = pool.lease(), pool.lease(), pool.acquire()
entered.__enter__()

def check():
    assert (pool.name, pool.timeout) == ("forked", 1.5)
    assert state(pool) == (5, 2, 3, 0)
    assert lease.obj is objects[0] and not lease.released
    assert drain(pool) == objects[3:]
    pool.release(bare)
    lease.release()
    entered.__exit__(None, None, None)
    for misuse in (lease.release, entered.release, lambda: pool.release(bare)):
        try:
            misuse()
        except opool.LeaseError:
            continue
        raise AssertionError(misuse)
    assert_whole(pool, objects)

for _ in range(3):
    assert forked(check) == 0
assert state(pool) == (5, 2, 3, 0)
pool.release(bare)
lease.release()
entered.release()
assert_whole(pool, objects)
""")


def test_what_leases_of_other_threads_held_is_idle_again_in_the_child():
    child("""
objects = things(6)
pool, stay = opool.Pool(objects), threading.Event()

def holder(i):
    with pool.lease():
        stay.wait(60)

crew = Crew(4, holder)
eventually(lambda: pool.leased == 4)
with pool.lease():
    def check():
        assert state(pool) == (6, 5, 1, 0), state(pool)
        assert len(take_all(pool)) == 5
    assert forked(check) == 0
    assert state(pool) == (6, 1, 5, 0)
stay.set()
crew.join()
assert_whole(pool, objects)
""")


def test_waiters_of_the_parent_are_forgotten_in_the_child_and_served_in_the_parent():
    child("""
x = Thing()
pool = opool.Pool([x], timeout=None)
lease = pool.lease()
crew = Crew(5, lambda i: pool.lease().release())
eventually(lambda: pool.waiting == 5)

def check():
    assert state(pool) == (1, 0, 1, 0), state(pool)
    lease.release()                     # to nobody: the ones who waited do not exist here
    assert_whole(pool, [x])
    crew = Crew(5, lambda i: pool.lease().release())
    crew.join()
    pool.add_obj(7)
    assert_whole(pool, [x, 7])

for _ in range(5):
    assert forked(check) == 0
    assert state(pool) == (1, 0, 1, 5)
lease.release()
crew.join()
assert_whole(pool, [x])
""")


def test_an_object_on_its_way_to_a_waiter_is_not_lost_in_the_child():
    child("""
x = Thing()
pool = opool.Pool([x], timeout=None)
sys.setswitchinterval(10)               # the waiter cannot take what it is given before the fork

def check():
    assert state(pool) == (1, 1, 0, 0), state(pool)
    assert_whole(pool, [x])

for _ in range(20):
    lease = pool.lease()
    crew = Crew(1, lambda i: pool.lease().release())
    eventually(lambda: pool.waiting == 1)
    lease.release()
    assert forked(check) == 0
    crew.join()
    assert_whole(pool, [x])
""")


def test_the_lease_of_a_thread_that_is_gone_cannot_double_its_object_in_the_child():
    child("""
objects = things(3)
pool, leases, stay = opool.Pool(objects), [], threading.Event()

def holder(i):
    leases.append(pool.lease())
    stay.wait(60)

crew = Crew(2, holder)
eventually(lambda: len(leases) == 2)

def check():
    taken = take_all(pool)
    for lease in leases:
        try:
            lease.release()
        except opool.LeaseError:
            pass
    taken += take_all(pool)
    leases.clear()
    gc.collect()
    taken += take_all(pool)
    assert sorted(id(lease.obj) for lease in taken) == sorted(map(id, objects)), taken
    del taken[:]
    assert_whole(pool, objects)

assert forked(check) == 0
stay.set()
crew.join()
leases.clear()
assert_whole(pool, objects)
""")


def test_a_thread_that_forks_keeps_its_own_lease_in_the_child():
    child("""
objects = things(3)
pool = opool.Pool(objects)
main = pool.lease()

def worker(_):
    with pool.lease() as obj:
        def check():
            leases = take_all(pool)
            assert obj not in [lease.obj for lease in leases]
            assert pool.leased == len(leases) + 1
        status = forked(check)
        assert status == 0, status
    return status

assert Crew(1, worker).join() == [0]
main.release()
assert_whole(pool, objects)
""")


def test_a_thread_that_forks_within_the_with_of_a_lease_it_was_passed_keeps_it_in_the_child():
    child("""
objects = things(2)
pool = opool.Pool(objects)
passed = pool.lease()                   # taken here, used there

def worker(_):
    with passed as obj:
        def check():
            assert [lease.obj for lease in take_all(pool)] == [objects[1]]
            passed.__exit__(None, None, None)
            assert_whole(pool, objects)
        return forked(check)

assert Crew(1, worker).join() == [0]
assert_whole(pool, objects)
""")


def test_a_grandchild_can_lease_too():
    child("""
objects = things(3)
pool = opool.Pool(objects)
outer = pool.lease()

def grandchild():
    inner.release()
    outer.release()
    assert_whole(pool, objects)

def check():
    global inner
    inner = pool.lease()
    assert forked(grandchild) == 0
    assert state(pool) == (3, 1, 2, 0)

assert forked(check) == 0
""")


def test_a_handler_that_forks_while_its_thread_waits_leaves_both_waits_alive():
    child("""
x = Thing()
pool = opool.Pool(timeout=None)
parent = os.getpid()

def fork_and_give(*_):
    child = os.fork()
    if child:
        status.append(os.waitpid(child, 0)[1])
    else:
        signal.alarm(LIMIT)
        assert pool.waiting <= 1
    pool.add_obj(x)

status = []
signal.signal(signal.SIGUSR1, fork_and_give)
when_it_waits(pool, signal.SIGUSR1)
with pool.lease() as obj:
    assert obj is x
assert_whole(pool, [x])
if os.getpid() != parent:
    os._exit(0)
assert status == [0]
""")


def test_a_handler_that_forks_while_its_thread_waits_lets_the_wait_time_out_in_the_child():
    child("""
import logging
logging.getLogger("opool").addHandler(logging.NullHandler())
pool = opool.Pool(["x"])
held = pool.lease()
parent = os.getpid()

def fork(*_):
    child = os.fork()
    if child:
        status.append(os.waitpid(child, 0)[1])
    else:
        signal.alarm(LIMIT)

status = []
signal.signal(signal.SIGUSR1, fork)
when_it_waits(pool, signal.SIGUSR1)
try:
    pool.lease(timeout=2)
    raise AssertionError
except opool.PoolTimeout:
    pass
held.release()
assert_whole(pool, ["x"])
if os.getpid() != parent:
    os._exit(0)
assert status == [0]
""")


def test_callbacks_of_the_user_around_a_fork_may_use_the_pool():
    run_child(
        """
import os, signal, threading
used = []

def use(where):
    used.append(where)
    if pools:
        lease = pools[0].try_lease()
        if lease is not None:
            lease.release()

pools = []
first = dict(before=lambda: use("b"), after_in_parent=lambda: use("p"), after_in_child=lambda: use("c"))
os.register_at_fork(**first)            # before the import: these run at other moments than the ones after it
"""
        + PRELUDE
        + """
os.register_at_fork(**first)
objects = things(3)
pools.append(opool.Pool(objects, timeout=None))
pool, over = pools[0], []

def worker(_):
    while not over:
        with pool.lease():
            time.sleep(0)

crew = Crew(5, worker)

def check():
    assert used.count("c") == 2
    assert_whole(pool, objects)

bad = sum(forked(check) != 0 for _ in range(30))
over.append(True)
crew.join()
assert bad == 0, bad
assert used.count("p") == 60
assert_whole(pool, objects)
"""
    )


def test_multiprocessing_workers_started_by_fork_have_a_pool_of_their_own():
    child("""
import multiprocessing
pool = opool.Pool([1, 2, 3])
stay = threading.Event()

def holder(_):
    with pool.lease():
        stay.wait(60)

def work(n):
    signal.alarm(LIMIT)
    with pool.lease(timeout=LIMIT) as one, pool.lease(timeout=LIMIT) as two:
        return one != two and pool.size

crew = Crew(2, holder)
eventually(lambda: pool.leased == 2)
workers = multiprocessing.get_context("fork").Pool(2)
assert workers.map(work, range(20)) == [3] * 20
workers.close()
workers.join()
stay.set()
crew.join()
assert_whole(pool, [1, 2, 3])
""")


def test_many_pools_are_all_put_right_in_the_child():
    child("""
pools = [opool.Pool(things(2)) for _ in range(50)]
stay = threading.Event()
crew = Crew(4, lambda i: ([pool.lease() for pool in pools[i::4]], stay.wait(60)))
eventually(lambda: all(pool.leased == 1 for pool in pools))
dead = opool.Pool([1])
del dead

def check():
    for pool in pools:
        assert state(pool) == (2, 2, 0, 0), state(pool)
        assert len(take_all(pool)) == 2

assert forked(check) == 0
stay.set()
crew.join()
""")


def test_what_threads_of_the_child_lease_first_stays_theirs():
    child("""
objects = things(4)
pool, stay = opool.Pool(objects), threading.Event()

def holder(i):
    with pool.lease():
        stay.wait(60)

crew = Crew(2, holder)
eventually(lambda: pool.leased == 2)

def check():
    ready, go = [], threading.Event()

    def first(i):                       # before the child has asked the pool anything else
        with pool.lease() as obj:
            ready.append(obj)
            go.wait(60)
        return obj

    young = Crew(2, first)
    eventually(lambda: len(ready) == 2)
    rest = take_all(pool)
    got = [lease.obj for lease in rest]
    assert sorted(map(id, got + ready)) == sorted(map(id, objects)), (got, ready)
    go.set()
    young.join()
    del rest[:]
    assert_whole(pool, objects)

for _ in range(5):
    assert forked(check) == 0
stay.set()
crew.join()
""")


def test_the_child_may_use_the_pool_in_new_threads_only_and_still_finds_every_object():
    child("""
objects = things(6)
pool, stay = opool.Pool(objects), threading.Event()

def holder(i):
    with pool.lease():
        stay.wait(60)

crew = Crew(5, holder)
eventually(lambda: pool.leased == 5)

def check():
    together = threading.Barrier(6)     # new threads of the child may well look like old ones of the parent

    def young(i):
        with pool.lease(timeout=LIMIT) as obj:
            together.wait(LIMIT)
            return obj

    got = Crew(6, young).join()
    assert sorted(map(id, got)) == sorted(map(id, objects)), got
    assert_whole(pool, objects)

for _ in range(5):
    assert forked(check) == 0
stay.set()
crew.join()
""")


@pytest.mark.parametrize("taken", ["lease", "acquire"])
@pytest.mark.parametrize("given", ["first", "after a look", "dropped"])
def test_what_a_gone_thread_took_and_the_child_gives_back_comes_back_once(taken, given):
    child(f"""
objects = things(2)
pool = opool.Pool(objects, timeout=None)
box, stay = [], threading.Event()

def taker(_):
    box.append(pool.{taken}())
    box.append(pool.{taken}())
    stay.wait(60)

taking = Crew(1, taker)
eventually(lambda: len(box) == 2)
waiting = Crew(1, lambda i: pool.lease().release())
eventually(lambda: pool.waiting == 1)

def give_back(it):
    try:
        it.release() if {taken!r} == "lease" else pool.release(it)
    except opool.LeaseError:
        pass

def check():
    if {given!r} == "after a look":
        assert pool.waiting == 0
    if {given!r} == "dropped":
        box.clear()
    for it in box:
        give_back(it)
    leases = take_all(pool)
    assert sorted(id(lease.obj) for lease in leases) == sorted(map(id, objects)), leases
    assert state(pool) == (2, 0, 2, 0)
    del leases[:]
    box.clear()
    gc.collect()
    assert_whole(pool, objects)

assert forked(check) == 0
stay.set()
taking.join()
for it in box:
    give_back(it)
waiting.join()
assert_whole(pool, objects)
""")


def test_a_fork_hook_that_ran_before_may_start_threads_that_lease():
    run_child("""
        import os, threading

        def worker():
            with pool.lease() as obj:
                leased.set()
                done.wait(60)

        def restart():
            threading.Thread(target=worker).start()
            leased.wait(60)

        leased, done = threading.Event(), threading.Event()
        os.register_at_fork(after_in_child=restart)     # before opool is even imported

        import opool
        pool = opool.Pool(["only"])
        pid = os.fork()
        if pid == 0:
            ok = pool.try_lease() is None and pool.leased == 1
            done.set()
            pool.lease(timeout=60).release()
            os._exit(0 if ok and (pool.idle, pool.leased) == (1, 0) else 1)
        assert os.waitpid(pid, 0)[1] == 0
    """)


def test_threads_that_wait_in_an_empty_pool_are_not_waiting_in_the_child():
    run_child("""
        import os, opool, warnings
        from support import Crew, eventually

        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        pool = opool.Pool(timeout=None)
        crew = Crew(2, lambda i: pool.acquire())
        eventually(lambda: pool.waiting == 2)
        pid = os.fork()
        if pid == 0:
            waiting = pool.waiting
            pool.add_obj("child's")
            os._exit(0 if waiting == 0 and pool.try_lease().obj == "child's" else 1)
        assert os.waitpid(pid, 0)[1] == 0
        pool.add_obj("a")
        pool.add_obj("b")
        assert sorted(crew.join()) == ["a", "b"]
    """)


def test_a_lease_that_a_fork_has_ended_says_so():
    run_child("""
        import os, threading, opool, warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        pool = opool.Pool(["only"], name="forked")
        kept, go, end = [], threading.Event(), threading.Event()

        def hold():
            kept.append(pool.lease())
            go.set()
            end.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        go.wait(60)
        pid = os.fork()
        if pid == 0:
            try:
                kept[0].release()
            except opool.LeaseError as error:
                os._exit(0 if "pool 'forked'" in str(error) and "ended with the fork" in str(error) else 2)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        end.set()
        thread.join()
        kept[0].release()
    """)


def test_subprocess_forks_as_it_likes_while_other_threads_lease():
    # Without a GIL it does not stop the other threads where it runs no Python in the child.
    child("""
import subprocess
subprocess._USE_VFORK = subprocess._USE_POSIX_SPAWN = False
pool, over = opool.Pool(things(2)), []

def worker(i):
    while not over:
        with pool.lease():
            pass

sys.setswitchinterval(1e-4)             # or each fork waits long for its turn
crew = Crew(3, worker)
for _ in range(300):
    assert subprocess.run(["true"], timeout=60).returncode == 0
over.append(True)
crew.join()
""")


def test_a_close_by_force_in_the_child_does_not_wait_for_what_is_the_parents():
    child("""
disposed = []
pool = opool.Pool(factory=Thing, max_size=2, dispose=disposed.append)
with pool.lease():

    def close():
        try:
            pool.close(timeout=0)
        except opool.PoolCloseTimeout:
            pass                                # it is out, and a close that may wait says so
        else:
            raise AssertionError("closed without a word")
        pool.close(force=True)
        assert disposed == []

    assert forked(close) == 0
pool.close()
assert len(disposed) == 1
""")
