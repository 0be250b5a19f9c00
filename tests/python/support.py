"""What the pool's tests share: deadlines, threads that start together, children that cannot freeze the run."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager

import opool

HERE = os.path.dirname(os.path.abspath(__file__))

LIMIT = 200
"""How many seconds to wait for what is certain to happen: only what is frozen, or lost, takes so long.

It says nothing of how fast anything is, and stays below the limit of a test (`limits.py`), so that who waits can say
for what.
"""


class Thing:
    """A pooled object of no importance: told from others by identity, and a weak reference can watch it."""

    def __init__(self, label=None):
        self.label = label

    def __repr__(self):
        return f"Thing({self.label!r})"


class Hit(Exception):
    """What the tests' signal handlers raise."""


def things(n):
    return [Thing(i) for i in range(n)]


def eventually(predicate, timeout=LIMIT):
    """Waits until `predicate()` is true; fails when the deadline passes."""
    deadline = time.monotonic() + timeout
    pause = 0.0
    while not predicate():
        assert time.monotonic() < deadline, f"still not true after {timeout} s"
        time.sleep(pause)
        pause = min(pause + 0.0001, 0.005)


@contextmanager
def eager_switching(interval):
    """Lets the interpreter change threads far more often than its usual 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Crew:
    """`n` daemon threads that call `target(i)`, from a common start on."""

    def __init__(self, n, target):
        self._results = [None] * n
        self._errors = []
        barrier = threading.Barrier(n)

        def run(i):
            try:
                barrier.wait(LIMIT)
                self._results[i] = target(i)
            except BaseException as error:
                self._errors.append(error)

        self._threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(n)]
        for thread in self._threads:
            thread.start()

    def join(self, timeout=LIMIT):
        """Waits for all of them and returns what each returned; the first error of any comes out here."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._errors:
            raise self._errors[0]
        late = self.running
        assert not late, f"{late} of {len(self._threads)} threads still run after {timeout} s"
        return self._results

    @property
    def running(self):
        """How many have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    @property
    def idents(self):
        return [thread.ident for thread in self._threads]


def threads(n, target, timeout=LIMIT):
    """Runs `target(i)` in `n` threads at once and returns the results in order."""
    return Crew(n, target).join(timeout)


def queue_up(pool, n, target):
    """Starts `n` threads one by one, each after the one before it waits in `pool`; returns their crews."""
    crews = []
    before = pool.waiting
    for i in range(n):
        crews.append(Crew(1, lambda _, i=i: target(i)))
        eventually(lambda count=before + i + 1: pool.waiting == count)
    return crews


def drain(pool):
    """The idle objects in the order in which the pool would give them; afterwards they are idle again."""
    leases = []
    while True:
        lease = pool.try_lease()
        if lease is None:
            break
        leases.append(lease)
    objects = [lease.obj for lease in leases]
    for lease in leases:
        lease.release()
    return objects


def assert_whole(pool, objects):
    """Every one of `objects` is idle in `pool`, each exactly as often as it should be, and nothing else is there."""
    assert (pool.leased, pool.waiting) == (0, 0)
    assert pool.size == pool.idle == len(objects)
    assert sorted(map(id, drain(pool))) == sorted(map(id, objects))


def state(pool):
    """All that can be counted about a pool."""
    size, idle, leased, waiting = pool.size, pool.idle, pool.leased, pool.waiting
    assert size == idle + leased
    return size, idle, leased, waiting


def busy_pool(clock, name="busy"):
    """A pool of which the figures have something to tell: one object idle, one out by the lease that comes with it."""
    pool = opool.Pool(["a", "b", "c"], name=name, max_waiting=0, timing=True, clock=clock)
    with pool.lease():
        clock.advance(0.25)
    pool.lease().discard()
    first, second = pool.lease(), pool.lease()
    try:
        pool.lease()
    except opool.TooManyWaiters:
        pass
    clock.advance(2.0)
    first.release()
    return pool, second


def background(pool):
    """The threads that work for pools of this name."""
    return [thread for thread in threading.enumerate() if thread.name == f"opool {pool}"]


class Finished:
    """A child process that has ended."""

    def __init__(self, returncode, stdout, stderr):
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


def run_child(code, timeout=LIMIT, *, check=True, env=()):
    """Runs `code` in an interpreter of its own, with every warning an error.

    A child that does not end in `timeout` seconds is made to print the stacks of its threads, and the test fails.
    With `check` it must also end with status 0 and have nothing to say on standard error.
    """
    paths = [HERE, *(path for path in sys.path if path)]
    child = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-W", "error", "-c", textwrap.dedent(code)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **dict(env), "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
        text=True,
    )
    try:
        stdout, stderr = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGABRT)
        time.sleep(0.5)
        os.killpg(child.pid, signal.SIGKILL)
        stdout, stderr = child.communicate()
        raise AssertionError(f"the child froze (over {timeout} s)\n{stdout[-2000:]}\n{stderr[-6000:]}") from None
    except BaseException:  # the limit of the test, or Ctrl-C
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise
    if check:
        report = f"the child ended with {child.returncode}\n{stdout[-2000:]}\n{stderr[-6000:]}"
        assert (child.returncode, stderr) == (0, ""), report
    return Finished(child.returncode, stdout, stderr)
