"""Signals and asynchronous exceptions at any instant: none is lost, none loses an object.

Everything runs in children: a pool that is broken here freezes.
"""

import signal

import pytest

import opool
from support import run_child

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")

PRELUDE = """
import os, random, signal, statistics, sys, threading, time
import opool
from support import LIMIT, Crew, Hit, Thing, assert_whole, eventually, state, things

def raise_hit(*_):
    raise Hit

def after(seconds):
    signal.setitimer(signal.ITIMER_REAL, seconds)

def when_it_waits(pool):
    # A signal for the main thread, as soon as that waits in the pool.
    return Crew(1, lambda _: (eventually(lambda: pool.waiting >= 1), os.kill(os.getpid(), signal.SIGALRM)))

def assert_as_quick(ours, plain):
    # A wait that only looks for signals now and then, every 20 ms, is interrupted after 10 ms on average.
    ours, plain = statistics.median(ours), statistics.median(plain)
    assert ours < 3 * plain + 0.005, (ours, plain)

signal.signal(signal.SIGALRM, raise_hit)
rng = random.Random(20)
"""


def child(code):
    return run_child(PRELUDE + code)


def test_control_c_interrupts_a_blocked_lease_as_quickly_as_any_other_wait():
    child("""
pool, took, plainly = opool.Pool(timeout=None), [], []
sent, waits, lock = [0.0], [False], threading.Lock()

def interrupt(_):
    for n in range(100):
        eventually(lambda: len(took) + len(plainly) == n and (pool.waiting == 1 or waits[0]))
        time.sleep(0.002)
        waits[0] = False
        sent[0] = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

crew = Crew(1, interrupt)
lock.acquire()
for n in range(100):
    try:
        if n % 2:
            pool.lease() if n % 4 == 1 else pool.acquire()
        else:
            waits[0] = True
            while True:
                lock.acquire(timeout=0.2)       # a signal that comes just before it is not seen there
    except KeyboardInterrupt:
        (took if n % 2 else plainly).append(time.perf_counter() - sent[0])
        assert pool.waiting == 0
crew.join()
assert_as_quick(took, plainly)
pool.add_obj("x")
assert_whole(pool, ["x"])
""")


def test_control_c_with_a_timeout_or_in_the_middle_of_a_with_statement():
    child("""
pool = opool.Pool(["x"])
held = pool.lease()
signal.signal(signal.SIGALRM, signal.default_int_handler)
for timeout in (None, LIMIT, 1e300):
    try:
        after(0.02)
        with pool.lease(timeout=timeout):
            raise AssertionError
    except KeyboardInterrupt:
        assert state(pool) == (1, 0, 1, 0)
held.release()
assert_whole(pool, ["x"])
""")


def test_a_signal_that_the_system_gives_to_another_thread_still_interrupts_the_wait():
    child("""
pool, took = opool.Pool(timeout=None), []
sent = [0.0]

def interrupt(_):
    for n in range(20):
        eventually(lambda: pool.waiting == 1 and len(took) == n)
        time.sleep(0.002)
        sent[0] = time.perf_counter()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

crew = Crew(1, interrupt)
for _ in range(20):
    try:
        pool.lease()
    except KeyboardInterrupt:
        took.append(time.perf_counter() - sent[0])
crew.join()
assert len(took) == 20 and statistics.median(took) < 1, sorted(took)
""")


@pytest.mark.parametrize("call", ["pool.acquire()", "pool.lease()", "pool.lease(timeout=LIMIT)"])
def test_a_thousand_signals_around_the_entry_of_the_wait_are_never_lost(call):
    child(f"""
pool, late, plainly = opool.Pool([], timeout=None), [], []
lock = threading.Lock()
lock.acquire()
for n in range(1200):
    delay = rng.uniform(2e-6, 60e-6)
    start = time.perf_counter()
    try:
        if n % 6:
            after(delay)
            {call}
        else:
            delay = 0.001
            after(delay)
            lock.acquire(timeout=0.2)           # a signal that comes just before it is not seen there
    except Hit:
        (late if n % 6 else plainly).append(time.perf_counter() - start - delay)
    assert pool.waiting == 0
assert len(late) == 1000 and len(plainly) == 200
assert_as_quick(late, plainly)
x = Thing()
pool.add_obj(x)
assert_whole(pool, [x])
""")


def test_three_thousand_signals_while_an_object_is_handed_over_lose_neither():
    child("""
x = Thing()
pool, over = opool.Pool([x], timeout=None), []

def partner(i):
    rng = random.Random(i)
    while not over:
        with pool.lease():
            end = time.perf_counter() + rng.uniform(0, 6e-5)
            while time.perf_counter() < end:
                pass
        time.sleep(0)

sys.setswitchinterval(2e-5)
crew = Crew(2, partner)
hits = served = 0
for _ in range(3000):
    try:
        after(rng.uniform(2e-6, 2e-4))
        with pool.lease() as obj:
            assert obj is x
            served += 1
        while True:
            pass
    except Hit:
        hits += 1
over.append(True)
crew.join()
assert hits == 3000 and served > 0, (hits, served)
assert_whole(pool, [x])
""")


def test_five_thousand_exceptions_from_a_handler_in_a_tight_loop_lose_nothing():
    child("""
objects = things(3)
pool = opool.Pool(objects, timeout=None)
hits = 0
for n in range(5000):
    try:
        after(rng.uniform(5e-6, 3e-4))
        while True:
            with pool.lease():
                pass
    except Hit:
        hits += 1
    if n % 100 == 0:
        assert_whole(pool, objects)
assert hits == 5000
assert_whole(pool, objects)
""")


def test_exceptions_from_a_handler_in_loops_of_every_kind_lose_nothing():
    child("""
objects = things(4)
pool = opool.Pool(objects, timeout=None)

def nested():
    with pool.lease() as one, pool.lease() as two:
        assert one is not two

def by_name():
    lease = pool.lease()
    with lease:
        pass

def by_release():
    pool.lease().release()

def by_drop():
    pool.lease()

def with_timeout():
    with pool.lease(timeout=1):
        pass

def tried():
    with pool.try_lease():
        pass

def generator():
    def body():
        with pool.lease() as obj:
            yield obj
    for _ in body():
        pass

def failing():
    try:
        with pool.lease():
            raise KeyError
    except KeyError:
        pass

def empty():
    with pool.lease(), pool.lease(), pool.lease(), pool.lease():
        try:
            pool.lease(timeout=0)
        except opool.PoolTimeout:
            pass

uses = [nested, by_name, by_release, by_drop, with_timeout, tried, generator, failing, empty]
for n in range(3000):
    use = uses[n % len(uses)]
    try:
        after(rng.uniform(5e-6, 2e-4))
        while True:
            use()
    except Hit:
        pass
    if n % 50 == 0:
        assert_whole(pool, objects)
assert_whole(pool, objects)
""")


def test_exceptions_from_a_handler_lose_nothing_while_other_threads_fight_for_the_objects():
    child("""
objects = things(2)
pool, over = opool.Pool(objects, timeout=None), []

def rival(_):
    while not over:
        with pool.lease():
            time.sleep(0)

sys.setswitchinterval(5e-5)
crew = Crew(4, rival)
for _ in range(1500):
    try:
        after(rng.uniform(5e-6, 5e-4))
        while True:
            with pool.lease():
                pass
    except Hit:
        pass
over.append(True)
crew.join()
assert_whole(pool, objects)
""")


@pytest.mark.parametrize("rivals", [0, 2])
def test_exceptions_set_in_a_worker_thread_lose_nothing(rivals):
    child(f"""
import ctypes
objects = things(2)
pool, over = opool.Pool(objects, timeout=None), []
armed, hits, rounds = [0], [0], 1500

def worker(_):
    while hits[0] < rounds:
        try:
            armed[0] += 1
            while True:
                with pool.lease():
                    pass
        except Hit:
            hits[0] += 1

def rival(_):
    while not over:
        with pool.lease():
            time.sleep(0)

sys.setswitchinterval(2e-5)
crew = Crew(1, worker)
others = [Crew(1, rival) for _ in range({rivals})]
(ident,) = crew.idents
deliver = ctypes.pythonapi.PyThreadState_SetAsyncExc
for n in range(rounds):
    eventually(lambda: armed[0] == n + 1)
    end = time.perf_counter() + rng.uniform(0, 1e-4)
    while time.perf_counter() < end:
        pass
    assert deliver(ctypes.c_ulong(ident), ctypes.py_object(Hit)) == 1
    eventually(lambda: hits[0] == n + 1)
over.append(True)
for some in [crew, *others]:
    some.join()
assert_whole(pool, objects)
""")


def test_an_exception_set_in_a_thread_that_waits_comes_out_when_it_is_served_and_loses_nothing():
    child("""
import ctypes
x = Thing()
pool, outcome = opool.Pool(timeout=None), []

def waiter(_):
    try:
        with pool.lease():
            outcome.append("body")
    except Hit:
        outcome.append("hit")

crew = Crew(1, waiter)
eventually(lambda: pool.waiting == 1)
ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(crew.idents[0]), ctypes.py_object(Hit))
pool.add_obj(x)
crew.join()
assert outcome[-1] == "hit"
assert_whole(pool, [x])
""")


def test_a_handler_may_serve_the_very_wait_it_interrupts():
    child("""
x = Thing()
signal.signal(signal.SIGALRM, lambda *_: pool.add_obj(x))
for n in range(200):
    pool = opool.Pool(timeout=None)
    after(rng.uniform(5e-6, 5e-4))
    assert (pool.lease().obj if n % 2 else pool.acquire()) is x
    assert pool.size == 1
""")


def test_a_handler_that_releases_what_its_thread_holds_serves_the_wait():
    child("""
x = Thing()
pool = opool.Pool([x], timeout=None)
held = []
signal.signal(signal.SIGALRM, lambda *_: held.pop().release())
for _ in range(200):
    held.append(pool.lease())
    after(rng.uniform(5e-6, 5e-4))
    with pool.lease() as obj:
        assert obj is x
assert_whole(pool, [x])
""")


def test_an_object_handed_over_to_a_wait_that_its_handler_breaks_goes_to_the_next_in_the_queue():
    child("""
x = Thing()
second = []

def waiter(_):
    eventually(lambda: pool.waiting == 1)
    with pool.lease() as obj:
        second.append(obj)

def handler(*_):
    eventually(lambda: pool.waiting == 2)
    pool.add_obj(x)          # goes to the wait under this handler, the first in the queue
    assert pool.waiting == 1
    raise Hit

signal.signal(signal.SIGALRM, handler)
for n in range(20):
    pool = opool.Pool(timeout=None)
    crew = Crew(1, waiter)
    when_it_waits(pool)
    try:
        pool.lease() if n % 2 else pool.acquire()
        raise AssertionError
    except Hit:
        pass
    crew.join()
    assert second.pop() is x
    assert_whole(pool, [x])
""")


def test_an_object_handed_over_to_a_wait_that_its_handler_breaks_becomes_idle_when_nobody_waits():
    child("""
x = Thing()

def handler(*_):
    pool.add_obj(x)
    assert state(pool) == (1, 0, 1, 0)
    raise Hit

signal.signal(signal.SIGALRM, handler)
for n in range(100):
    pool = opool.Pool(timeout=None)
    when_it_waits(pool)
    try:
        pool.lease() if n % 2 else pool.acquire()
        raise AssertionError
    except Hit:
        pass
    assert_whole(pool, [x])
""")


def test_a_handler_that_waits_inside_a_wait_of_its_thread_gets_the_one_object_first():
    child("""
only = Thing()
pool, log = opool.Pool(timeout=None), []

def handler(*_):
    assert pool.try_lease() is None
    try:
        pool.lease(timeout=0.01)
    except opool.PoolTimeout:
        log.append("inner timed out")
    with pool.lease() as obj:
        log.append(obj)
        assert obj is only and pool.waiting == 1

def giver(_):
    eventually(lambda: log == ["inner timed out"] and pool.waiting == 2)
    pool.add_obj(only)       # the outer wait came first, but cannot go on before the handler is done

signal.signal(signal.SIGALRM, handler)
crew = Crew(1, giver)
when_it_waits(pool)
with pool.lease() as obj:
    assert obj is only
crew.join()
assert log == ["inner timed out", only]
assert_whole(pool, [only])
""")


def test_a_handler_may_take_what_the_interrupted_wait_was_given():
    child("""
only = Thing()
pool, log = opool.Pool(timeout=None), []

def handler(*_):
    pool.add_obj(only)       # handed to the wait that this handler interrupts
    assert (pool.idle, pool.waiting) == (0, 0)
    with pool.lease(timeout=LIMIT) as obj:
        log.append(obj)
        assert pool.waiting == 1

signal.signal(signal.SIGALRM, handler)
when_it_waits(pool)
with pool.lease() as obj:
    log.append(obj)
assert log == [only, only]
assert_whole(pool, [only])
""")


def test_an_interrupt_during_the_repr_for_a_message_comes_out():
    class Slow:
        def __repr__(self):
            raise KeyboardInterrupt

    pool = opool.Pool([1])
    with pytest.raises(KeyboardInterrupt):
        pool.release(Slow())
    assert (pool.idle, pool.leased) == (1, 0)


def test_a_handler_that_outlasts_the_timeout_of_its_wait_ends_it_properly():
    child("""
x = Thing()
pool = opool.Pool(timeout=None)
signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.1))
after(0.01)
try:
    pool.lease(timeout=0.03)
    raise AssertionError
except opool.PoolTimeout:
    pass
signal.signal(signal.SIGALRM, lambda *_: (time.sleep(0.1), pool.add_obj(x)))
after(0.01)
try:
    lease = pool.lease(timeout=0.03)
    assert lease.obj is x
    lease.release()
except opool.PoolTimeout:
    pass
assert_whole(pool, [x])
""")


def test_a_storm_of_harmless_signals_neither_shortens_nor_stretches_a_timeout():
    # A wait that began anew after each signal would have no end.
    child("""
pool, count = opool.Pool(), [0]

def note(*_):
    count[0] += 1

signal.signal(signal.SIGALRM, note)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while count[0] <= 50:
    start = time.perf_counter()
    try:
        pool.lease(timeout=0.3)
        raise AssertionError
    except opool.PoolTimeout:
        assert time.perf_counter() - start >= 0.2995
signal.setitimer(signal.ITIMER_REAL, 0)
""")


def test_a_signal_that_python_ignores_does_not_end_a_wait():
    child("""
x = Thing()
pool = opool.Pool(timeout=None)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

def giver(_):
    eventually(lambda: pool.waiting == 1)
    time.sleep(0.05)
    pool.add_obj(x)

crew = Crew(1, giver)
with pool.lease() as obj:
    assert obj is x
crew.join()
""")


def test_workers_that_wait_are_not_disturbed_by_signals_for_the_main_thread():
    child("""
objects = things(4)
pool, hits = opool.Pool(timeout=None), 0
crew = Crew(4, lambda i: pool.lease())
eventually(lambda: pool.waiting == 4)
for _ in range(100):
    try:
        after(1e-4)
        while True:
            pass
    except Hit:
        hits += 1
assert hits == 100 and pool.waiting == 4
for obj in objects:
    pool.add_obj(obj)
assert sorted(id(lease.obj) for lease in crew.join()) == sorted(map(id, objects))
""")


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_task_has_its_turn_although_a_handler_raises_while_its_event_loop_is_called(where):
    child(
        f"where = {where!r}\n"
        + """
import asyncio

class Loop(asyncio.SelectorEventLoop):
    signals = 0

    def call_soon(self, callback, *args, **kwargs):
        return self.interrupted(super().call_soon(callback, *args, **kwargs))

    def call_soon_threadsafe(self, callback, *args, **kwargs):
        return self.interrupted(super().call_soon_threadsafe(callback, *args, **kwargs))

    def interrupted(self, handle):
        if self.signals > 0 and threading.current_thread() is threading.main_thread():
            self.signals -= 1
            signal.raise_signal(signal.SIGALRM)
        return handle

pool, loop, ignored = opool.Pool(["a"]), Loop(), []
sys.unraisablehook = lambda unraisable: ignored.append(unraisable.exc_type)

async def enter():
    async with pool.lease_async(timeout=LIMIT) as obj:
        return obj

def give(lease):
    loop.signals = 1
    try:
        lease.release()
        raise AssertionError("what the handler raised was lost")
    except Hit:
        assert loop.signals == 0

async def main(lease):
    task = asyncio.ensure_future(enter())
    if where == "here":
        await asyncio.sleep(0)
        give(lease)
    return await asyncio.wait_for(task, LIMIT)

lease, given = pool.lease(), []
if where == "here":
    given.append(loop.run_until_complete(main(lease)))
else:
    thread = threading.Thread(target=lambda: given.append(loop.run_until_complete(main(lease))))
    thread.start()
    eventually(lambda: pool.waiting == 1)
    give(lease)
    thread.join(LIMIT)
assert given == ["a"]
loop.close()
assert ignored == []
assert (pool.idle, pool.waiting) == (1, 0)
"""
    )
