"""The interpreter ends cleanly whatever is still leased, waited for, or run at the very end."""

import pytest

from support import run_child

PRELUDE = """
import atexit, builtins, gc, os, sys, threading, time
import opool
from support import Crew, Thing, eventually, things

def waiting_threads(pool, n):
    crew = Crew(n, lambda i: pool.lease(timeout=None))
    eventually(lambda: pool.waiting == n)
    return crew
"""


def child(code, *, check=True):
    return run_child(PRELUDE + code, check=check)


HELD = {
    "a global": "keep = pool.lease()",
    "a global that was entered": "keep = pool.lease(); keep.__enter__()",
    "a global cycle": "keep = [pool.lease()]; keep.append(keep)",
    "the builtins": "builtins.keep = pool.lease()",
    "a module that outlives the main module": "sys.modules['keep'] = sys.keep = pool.lease()",
    "a thread local": "local = threading.local(); local.keep = pool.lease()",
    "a suspended generator": "keep = (obj for lease in [pool.lease()] for obj in [1, 2]); next(keep)",
    "a with of a suspended generator": "def body():\n    with pool.lease(): yield\nkeep = body(); next(keep)",
    "its own object": "x = Thing(); own = opool.Pool([x]); x.keep = own.lease(); del x, own",
    "a bound method": "keep = pool.lease().release",
    "an ended lease": "keep = pool.lease(); keep.release()",
    "a bare object": "keep = pool.acquire()",
    "a default argument": "def keep(lease=pool.lease()): pass",
    "an attribute of the type of the object": "Thing.keep = pool.lease()",
}


@pytest.mark.parametrize("where", HELD)
def test_the_interpreter_ends_cleanly_with_a_lease_held_by(where):
    child(f"""
pool = opool.Pool(things(3), timeout=None)
{HELD[where]}
""")


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit", "del pool, crew; gc.collect()"])
def test_the_interpreter_ends_cleanly_while_daemon_threads_wait(ending):
    child(f"""
pool = opool.Pool(timeout=None)
crew = waiting_threads(pool, 8)
{ending}
""")


def test_an_object_given_at_the_very_end_to_a_waiting_daemon_thread_does_no_harm():
    child("""
pool = opool.Pool([Thing()], timeout=None)
lease = pool.lease()
crew = waiting_threads(pool, 4)
atexit.register(lease.release)
""")


def test_leases_that_die_in_the_teardown_of_modules_while_daemon_threads_wait():
    child("""
pool = opool.Pool(things(4), timeout=None)
leases = [pool.lease() for _ in range(4)]
builtins.last = leases.pop()
crew = waiting_threads(pool, 4)
""")


@pytest.mark.parametrize("body", ["pass", "time.sleep(0)", "time.sleep(0.001)"])
def test_the_interpreter_ends_cleanly_in_the_middle_of_a_fight(body):
    for _ in range(4):
        child(f"""
objects = things(2)
pool = opool.Pool(objects, timeout=None)
rounds = [0] * 6

def worker(i):
    while True:
        with pool.lease():
            rounds[i] += 1
            {body}

def impatient(i):
    while True:
        try:
            pool.lease(timeout=1e-4).release()
        except opool.PoolTimeout:
            pass
        rounds[3 + i] += 1

crews = Crew(3, worker), Crew(3, impatient)
eventually(lambda: all(rounds))
""")


def test_threads_that_end_by_themselves_are_waited_for():
    done = child("""
pool, begun = opool.Pool(), []

def worker():
    begun.append(1)
    try:
        pool.lease(timeout=0.2)
    except opool.PoolTimeout:
        os.write(1, b"timed out\\n")

for _ in range(3):
    threading.Thread(target=worker).start()
eventually(lambda: len(begun) == 3)
""")
    assert done.stdout.split("\n") == ["timed out"] * 3 + [""]


def test_leases_taken_and_given_back_in_atexit_callbacks():
    done = child("""
pool = opool.Pool([1, 2], timeout=None)
lease = pool.lease()

def last():
    lease.release()
    with pool.lease() as one, pool.lease() as two:
        print(sorted([one, two]), pool.idle)
    builtins.never_given_back = pool.lease()

atexit.register(last)
""")
    assert done.stdout == "[1, 2] 0\n"


def test_sys_exit_in_the_body_keeps_its_status_and_gives_back():
    done = child(
        """
pool = opool.Pool([1])
atexit.register(lambda: print(pool.idle))
with pool.lease():
    sys.exit(7)
""",
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "1\n", "")


def test_an_error_in_the_body_ends_the_program_with_its_own_traceback_only():
    done = child(
        """
pool = opool.Pool([1])
atexit.register(lambda: print(pool.idle))
with pool.lease():
    raise KeyError("mine")
""",
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "1\n")
    assert done.stderr.count("Traceback") == 1 and done.stderr.endswith("KeyError: 'mine'\n")


@pytest.mark.parametrize("timeout", ["", "timeout=None", "timeout=1e6"])
@pytest.mark.parametrize("method", ["lease", "acquire"])
@pytest.mark.parametrize("place", ["last = Last()", "builtins.last = Last()", "last = [Last()]; last.append(last)"])
def test_waiting_in_a_del_at_shutdown_fails_and_does_not_hang(place, method, timeout):
    child(
        f"""
class Last:
    def __init__(self):
        self.pool = opool.Pool()
        self.out = os.dup(1)

    def __del__(self, write=os.write):
        try:
            self.pool.{method}({timeout})
        except Exception:
            write(self.out, b"refused")

{place}
"""
    )


def test_a_lease_that_needs_no_waiting_works_in_a_del_at_shutdown():
    done = child("""
class Last:
    def __init__(self):
        self.pool = opool.Pool([1])
        self.out = os.dup(1)

    def __del__(self, write=os.write):
        with self.pool.lease(timeout=None):
            write(self.out, b"leased")
        self.pool.release(self.pool.acquire())

last = Last()
""")
    assert done.stdout == "leased"


def test_every_object_dies_once_at_shutdown():
    done = child("""
class Loud:
    def __init__(self):
        self.out = os.dup(1)

    def __del__(self, write=os.write):
        write(self.out, b"x")

pool = opool.Pool([Loud() for _ in range(5)], timeout=None)
lease, bare = pool.lease(), pool.acquire()
""")
    assert set(done.stdout) <= {"x"} and len(done.stdout) <= 5


def test_a_thread_pool_that_waits_for_leases_is_shut_down_properly():
    done = child("""
from concurrent.futures import ThreadPoolExecutor
pool = opool.Pool([1, 2], timeout=None)

def work(i):
    with pool.lease():
        time.sleep(0.001)
    return i

with ThreadPoolExecutor(8) as workers:
    print(sum(workers.map(work, range(100))))
executor = ThreadPoolExecutor(4)
futures = [executor.submit(work, i) for i in range(20)]
""")
    assert done.stdout == "4950\n"
