"""What a signal handler raises reaches the caller, wherever in the pool's code the signal strikes.

A signal is counted only if it strikes below the function that the test watches, and then it must come out of that
function: in the exception that was caught, or among those before it (`__context__`). So the figures are equal, or an
exception was lost; how many there are does not matter.
"""

import signal

import pytest

from support import run_child

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")

PRELUDE = """
import asyncio, gc, logging, os, signal, sys, threading, time
import opool
from support import Hit, assert_whole, eventually, state

LIMIT = 60
struck, caught, reported = set(), set(), []
sys.unraisablehook = lambda unraisable: reported.append(unraisable.exc_type)

class Numbered(Hit):
    def __init__(self):
        self.number = len(struck)
        struck.add(self.number)

def raise_below(code):
    # In `code` and what it calls, but neither where the test takes the exception nor in the handler itself.
    def handler(signum, frame):
        while frame is not None and frame.f_code is not handler.__code__:
            if frame.f_code is code:
                raise Numbered
            frame = frame.f_back
    signal.signal(signal.SIGALRM, handler)

def note(error):
    while error is not None:
        if isinstance(error, Numbered):
            caught.add(error.number)
        error = error.__context__

def watched(use, depth=5):
    # What struck in a destructor comes out a moment later, perhaps where the one before it is being noted.
    try:
        watched(use, depth - 1) if depth else use()
    except Hit as error:
        note(error)

def soak(use, hits, mend=lambda: None, every=0.0007):
    raise_below(use.__code__)
    signal.setitimer(signal.ITIMER_REAL, every, every)
    end = time.monotonic() + LIMIT
    while len(struck) < hits:
        assert time.monotonic() < end, (len(struck), "too few signals")
        watched(use)
        mend()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert caught == struck, (len(struck), len(caught), reported)
    assert reported == []

class Loops:
    # Tasks in another thread that lease and give back, until the end.
    def __init__(self, pool, tasks=3):
        self.over = False
        async def task():
            while not self.over:
                async with pool.lease_async(timeout=LIMIT):
                    await asyncio.sleep(0)
        async def main():
            await asyncio.gather(*(task() for _ in range(tasks)))
        self.thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
        self.thread.start()

    def stop(self):
        self.over = True
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()
"""


def child(code):
    return run_child(PRELUDE + code)


USES = {
    "with": "with pool.lease(): pass",
    "release of a lease": "pool.lease().release()",
    "acquire and release": "pool.release(pool.acquire())",
    "discard": "pool.lease().discard(); pool.add_obj('a')",
}


@pytest.mark.parametrize("use", sorted(USES))
def test_no_signal_is_lost_while_objects_go_to_the_tasks_of_another_threads_loop(use):
    child(f"""
pool = opool.Pool(["a"], timeout=LIMIT)
loops = Loops(pool)

def use():
    while True:
        {USES[use]}

def mend():
    try:
        pool.release("a")           # acquired in the moment of the signal
    except opool.LeaseError:
        pass
    if pool.size == 0:
        pool.add_obj("a")           # discarded then

soak(use, 400, mend)
loops.stop()
assert (pool.leased, pool.waiting) == (0, 0)
assert_whole(pool, ["a"])
""")


def test_no_signal_is_lost_while_a_lease_is_dropped():
    # Nothing can be raised where it strikes: it comes out right after.
    child("""
pool = opool.Pool(["a"], timeout=LIMIT)
loops = Loops(pool)

def use():
    while True:
        pool.lease()

soak(use, 400)
loops.stop()
assert_whole(pool, ["a"])
""")


def test_no_signal_is_lost_while_ids_go_to_the_tasks_of_another_threads_loop():
    child("""
mgr = opool.ObjectMgr(range(1))
loops = Loops(mgr)

def use():
    while True:
        with mgr.lease(timeout=LIMIT): pass
        taken = mgr.get_object()
        if taken is not None:
            mgr.free_object(taken)

def mend():
    for id in list(mgr):
        try:
            mgr.free_object(id)     # taken in the moment of the signal
        except ValueError:
            pass                    # it is lent to a task

soak(use, 300, mend)
loops.stop()
""")


def test_one_exception_that_strikes_while_an_object_is_handed_over_is_raised_and_loses_nothing():
    child("""
class Loop(asyncio.SelectorEventLoop):
    armed = False

    def call_soon_threadsafe(self, callback, *args, **kwargs):
        handle = super().call_soon_threadsafe(callback, *args, **kwargs)
        if self.armed:
            self.armed = False
            signal.raise_signal(signal.SIGALRM) if sys.version_info < (3, 10) else os.kill(os.getpid(), signal.SIGALRM)
        return handle

def raise_hit(*_):
    raise Hit

signal.signal(signal.SIGALRM, raise_hit)

def once(end):
    pool, loop, given = opool.Pool(["a"]), Loop(), []
    lease = pool.lease()
    async def enter():
        async with pool.lease_async(timeout=LIMIT) as obj:
            given.append(obj)
    thread = threading.Thread(target=lambda: loop.run_until_complete(enter()))
    thread.start()
    eventually(lambda: pool.waiting == 1)
    loop.armed = True
    holder = [lease]
    del lease
    try:
        end(holder)
    except Hit as error:
        caught.add(end)
    thread.join(LIMIT)
    assert given == ["a"]
    loop.close()
    assert (pool.idle, pool.waiting) == (1, 0)

ends = [
    lambda holder: holder[0].release(),
    lambda holder: holder[0].__exit__(None, None, None),
    lambda holder: holder.clear(),          # the last reference: a destructor
]
for end in ends:
    once(end)
assert caught == set(ends), [end in caught for end in ends]
assert reported == []
""")


# ---------------------------------------------------------------------------------------------------------------------
# Hooks, `repr`, the log: a failure of theirs, or an exception that only struck there


HANDLERS = {
    "function": "def handler(signum, frame): raise Hit",
    "any arguments": "def handler(*_): raise Hit",
    "deletes its arguments": "def handler(signum, frame):\n    del signum, frame\n    raise Hit",
    "is not registered any more": (
        "def handler(signum, frame):\n    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n    raise Hit"
    ),
    "calls another": "def old(signum, frame): raise Hit\ndef handler(signum, frame): old(signum, frame)",
    "method": "class A:\n    def on(self, signum, frame): raise Hit\nhandler = A().on",
    "object": "class A:\n    def __call__(self, *_): raise Hit\nhandler = A()",
    "partial": "import functools\ndef f(hit, *_): raise hit\nhandler = functools.partial(f, Hit)",
}

STRIKE = """
logging.disable(logging.CRITICAL)
def strike():
    os.kill(os.getpid(), signal.SIGALRM)
    for _ in range(1000): pass

def strikes(call):
    signal.signal(signal.SIGALRM, handler)
    try:
        call()
    except Hit:
        return True
    return False
"""


@pytest.mark.parametrize("handler", sorted(HANDLERS))
def test_a_time_limit_that_strikes_inside_reset_is_not_taken_for_a_failure_of_the_hook(handler):
    child(f"""
{HANDLERS[handler]}
{STRIKE}
pool = opool.Pool(["a", "b", "c"], reset=lambda obj: strike())
def left():
    with pool.lease(): pass
assert strikes(left)
assert strikes(lambda: pool.lease().release())
assert strikes(lambda: pool.release(pool.acquire()))
assert pool.size == 0 and reported == []         # how far the resets came is unknown
""")


def test_a_failure_of_reset_is_not_taken_for_a_time_limit():
    child(f"""
def handler(*_): raise Hit
{STRIKE}
def reset(obj):
    raise Hit if obj == "a" else KeyError(obj)

pool = opool.Pool(["a", "b", "c", "d", "e"], reset=reset)
assert not strikes(lambda: pool.lease().release())
assert not strikes(lambda: pool.lease().release())
# The body was struck, and its exception is on its way: that reset fails too, by itself, changes nothing.
error = None
try:
    with pool.lease():
        strike()
except Hit as hit:
    error = hit
assert error is not None and error.__context__ is None
# Neither does one that somebody handles meanwhile.
try:
    strike()
except Hit:
    pool.lease().release()
assert pool.size == 1 and reported == []
""")


def test_a_hook_that_answers_a_time_limit_with_an_error_of_its_own_raises_that():
    child(f"""
def handler(*_): raise Hit
{STRIKE}
class Other(Exception): pass
def reset(obj):
    try:
        strike()
    except Hit:
        raise Other
pool = opool.Pool(["a"], reset=reset)
try:
    signal.signal(signal.SIGALRM, handler)
    pool.lease().release()
    raise AssertionError
except Other as error:
    assert type(error.__context__) is Hit
""")


def test_a_time_limit_that_strikes_in_the_log_or_in_a_repr_comes_out():
    child(f"""
def handler(*_): raise Hit
{STRIKE}
logging.disable(logging.NOTSET)
def log(record):
    strike()
    return True
logger = logging.getLogger("opool")
logger.addFilter(log)
logger.addHandler(logging.NullHandler())

class Strikes:
    def __repr__(self): strike()
    def __index__(self): strike()
    def __getattr__(self, name): strike(); raise AttributeError(name)

def fail(obj): raise KeyError
pool = opool.Pool(["a"], reset=fail)
assert strikes(lambda: pool.lease().release())              # the log says that reset failed
assert pool.size == 0
assert strikes(lambda: opool.Pool(["a"]).release(Strikes()))
assert strikes(lambda: opool.Pool(factory=list, max_size=Strikes()))
assert strikes(lambda: opool.Pool(["a"], timeout=Strikes()))
assert strikes(lambda: opool.Lease("a", Strikes()).release())
assert reported == [], reported
""")


@pytest.mark.parametrize("hook", ["factory", "check", "reset", "dispose"])
def test_a_time_limit_that_strikes_a_hook_that_runs_in_the_callers_thread_comes_out(hook):
    # On a test's clock all hooks do.
    child(f"""
def handler(*_): raise Hit
{STRIKE}
from opool.testing import Clock
class Thing: pass
now = False
def striking(result):
    def hook(*_):
        if now: strike()
        return result()
    return hook
hooks = dict(factory=Thing, check=lambda obj: True, reset=lambda obj: None, dispose=lambda obj: None)
hooks[{hook!r}] = striking(hooks[{hook!r}] if {hook!r} == "factory" else lambda: True)
clock = Clock()
pool = opool.Pool(**hooks, max_size=1, clock=clock, check_after=0)
if {hook!r} != "factory":
    pool.lease().release()
    clock.advance(1)
now = True
def use():
    lease = pool.lease()
    if {hook!r} == "dispose":
        lease.discard()
        clock.advance(1)
    lease.release()
assert strikes(use)
now = False
clock.advance(60)
with pool.lease(): pass
assert (pool.leased, pool.waiting) == (0, 0) and reported == [], reported
""")


# ---------------------------------------------------------------------------------------------------------------------
# What was handled before


CONTEXT = """
logging.disable(logging.CRITICAL)
class Reason(Exception): pass

def context_of(call, kind):
    try:
        try:
            raise Reason
        except Reason:
            call()
    except kind as error:
        return type(error.__context__), error.__suppress_context__
    raise AssertionError("nothing was raised")

async def context_in_a_task(enter, kind):
    try:
        try:
            raise Reason
        except Reason:
            await enter()
    except kind as error:
        return type(error.__context__), error.__suppress_context__
    raise AssertionError("nothing was raised")

def fail(): raise KeyError
pool, mgr, failing = opool.Pool([], timeout=0.01), opool.ObjectMgr(range(1)), opool.Pool(factory=fail)
held = mgr.lease()
out = opool.Pool(["a"], timeout=0.01)
holder = out.lease()

async def entered(lease):
    async with lease: pass
async def awaited(lease):
    await lease
"""


def test_errors_of_ours_keep_the_exception_that_was_handled_before():
    child(f"""
{CONTEXT}
shown = (Reason, False)
for call in (pool.lease, pool.acquire, lambda: pool.lease(timeout=0), lambda: mgr.lease(timeout=0.01)):
    assert context_of(call, opool.PoolTimeout) == shown, call
assert context_of(out.close, opool.PoolCloseTimeout) == shown
assert context_of(lambda: out.lease(), opool.PoolClosed) == shown
assert context_of(lambda: out.release("b"), opool.LeaseError) == shown
assert context_of(lambda: opool.Pool([], max_waiting=0).lease(), opool.TooManyWaiters) == shown
assert context_of(failing.lease, opool.FactoryError) == (Reason, True)         # raised from the factory's own

async def main():
    for lease in (pool.lease_async, lambda: mgr.lease_async(timeout=0.01)):
        for use in (entered, awaited):
            assert await context_in_a_task(lambda: use(lease()), opool.PoolTimeout) == shown
    for use in (entered, awaited):
        assert await context_in_a_task(lambda: use(failing.lease_async()), opool.FactoryError) == (Reason, True)
    assert await context_in_a_task(lambda: out.aclose(), opool.PoolCloseTimeout) == shown
asyncio.run(main())
failing.close()
""")


def test_an_exception_in_the_body_of_with_pool_is_never_replaced():
    child("""
records = []
class Log(logging.Handler):
    def emit(self, record):
        records.append((record.levelname, record.getMessage()))
logging.getLogger("opool").addHandler(Log())

def body(error):
    holders = []
    try:
        with opool.Pool(["a"], name="tools", timeout=0.01) as pool:
            holders.append(pool.lease())
            raise error
    except BaseException as caught:
        assert caught is error and caught.__context__ is None and pool.closed

async def body_in_a_task(error):
    holders = []
    try:
        async with opool.Pool(["a"], name="tools", timeout=0.01) as pool:
            holders.append(pool.lease())
            raise error
    except BaseException as caught:
        assert caught is error and caught.__context__ is None and pool.closed

for kind in (KeyError, KeyboardInterrupt, SystemExit):
    body(kind())
    asyncio.run(body_in_a_task(kind())) if kind is KeyError else None
assert len(records) == 4
for level, message in records:
    assert level == "WARNING" and message.startswith("pool 'tools': closed, but 1 object is still out"), message
    assert "MainThread" in message

# Without an exception in the body it is raised as before.
try:
    with opool.Pool(["a"], timeout=0.01) as pool:
        lease = pool.lease()
    raise AssertionError
except opool.PoolCloseTimeout as error:
    assert error.__context__ is None
assert len(records) == 4
""")


def test_a_second_interrupt_while_with_pool_waits_comes_out():
    child("""
def handler(*_): raise Hit
signal.signal(signal.SIGALRM, handler)
try:
    with opool.Pool(["a"], timeout=LIMIT) as pool:
        lease = pool.lease()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        raise KeyError
except Hit as error:
    assert type(error.__context__) is KeyError
""")
