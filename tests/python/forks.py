"""What the tests of fork share: the beginning of the programs that their children run."""

from support import run_child

PRELUDE = """
import faulthandler, gc, os, random, signal, sys, threading, time, traceback, warnings
import opool
from support import LIMIT, Crew, Thing, assert_whole, drain, eventually, state, things

warnings.simplefilter("ignore", DeprecationWarning)     # from 3.12 on: fork beside threads, which is what we test

def forked(check):
    # Runs `check` in a forked child and returns the child's exit status: 0 when all was well.
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(LIMIT)
        check()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

def when_it_waits(pool, number):
    # A signal for this process, as soon as somebody waits in the pool.
    return Crew(1, lambda _: (eventually(lambda: pool.waiting >= 1), os.kill(os.getpid(), number)))

def take_all(pool):
    leases = []
    while True:
        lease = pool.try_lease()
        if lease is None:
            return leases
        leases.append(lease)
"""

# For pools that make their objects: hooks that complain about objects of another process.
OBJECTS = """
from opool.testing import check_invariants

def complain(text, write=os.write):
    write(2, (text + "\\n").encode())

has_gil = getattr(sys, "_is_gil_enabled", lambda: True)

class Socket:
    # Somebody else's socket, as it were.
    def __init__(self):
        self.process = os.getpid()

    def mine(self, what, getpid=os.getpid, complain=complain):
        if self.process != getpid():
            complain(f"{what} in a child: an object of the parent")
        return True

    def __del__(self, has_gil=has_gil):
        # Without a GIL the last reference to what has gone may be counted down late, and then in the child as well.
        if has_gil():
            self.mine("finalized")

made = []                                   # numbers only: nobody but the pool keeps the objects alive

def make():
    made.append(os.getpid())
    return Socket()

def check(obj):
    return obj.mine("checked")

def reset(obj):
    obj.mine("reset")

def dispose(obj):
    obj.mine("disposed of")

HOOKS = dict(factory=make, check=check, check_after=0, reset=reset, dispose=dispose)

def works(pool):
    # The child's pool makes, lends and disposes of objects of its own.
    with pool.lease(timeout=LIMIT) as obj:
        assert obj.process == os.getpid(), "an object of the parent"
    Crew(4, lambda i: [pool.lease(timeout=LIMIT).release() for _ in range(10)]).join()
    with pool.lease(timeout=LIMIT) as obj:
        assert obj.process == os.getpid(), "an object of the parent"
    check_invariants(pool)

def exits(code, body):
    # As `forked`, but the child leaves by sys.exit, with all that this takes down.
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    signal.alarm(LIMIT)
    body()
    sys.exit(code)
"""


def child_with_hooks(code):
    """Runs `code` in a child, after both beginnings."""
    return run_child(PRELUDE + OBJECTS + code)
