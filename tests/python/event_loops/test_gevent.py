"""Greenlets wait in the same queue as threads and tasks, and let other greenlets run meanwhile.

Each test is a program of its own, since what gevent patches stays patched. In most of them a greenlet has to get on
while another waits: if a wait stopped the hub, the program would end with an error, whatever the time.
"""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from support import LIMIT, run_child

pytest.importorskip("gevent", reason="gevent is not installed here", exc_type=ImportError)

PATCHED_FIRST = """
from gevent import monkey
monkey.patch_all()
import opool
"""
PATCHED_LATER = """
import opool
from gevent import monkey
monkey.patch_all()
"""
UNPATCHED = """
import opool
"""
PRELUDE = """
import os, sys, threading, time, warnings
import gevent, gevent.event
from support import LIMIT, things
from opool.testing import check_invariants

def spawn(*functions):
    return [gevent.spawn(function) for function in functions]

def results(greenlets):
    gevent.joinall(greenlets, timeout=LIMIT, raise_error=True)
    assert all(greenlet.dead for greenlet in greenlets), "some greenlets are stuck"
    return [greenlet.value for greenlet in greenlets]

def until(predicate):
    with gevent.Timeout(LIMIT, AssertionError("still not so")):
        while not predicate():
            gevent.sleep(0)
"""

patching = pytest.mark.parametrize("start", [PATCHED_FIRST, PATCHED_LATER, UNPATCHED], ids=["first", "later", "never"])


def child(code, start=PATCHED_FIRST, **options):
    return run_child(start + PRELUDE + code, **options)


# ---------------------------------------------------------------------------------------------------------------------
# Waiting


@patching
@pytest.mark.parametrize("kind", ["lease", "acquire", "ids", "get"])
def test_a_wait_lets_the_holder_run_and_gets_what_it_gives_back(start, kind):
    child(
        f"""
import contextlib, design.opool
plain, drop_in, ids = opool.Pool(["a"], timeout=LIMIT), design.opool.Pool(["a"]), opool.ObjectMgr(2)

@contextlib.contextmanager
def acquired():
    obj = plain.acquire()
    yield obj
    plain.release(obj)

@contextlib.contextmanager
def got():
    obj = drop_in.get()
    yield obj
    drop_in.put(obj)

take = dict(lease=plain.lease, acquire=acquired, ids=lambda: ids.lease(timeout=LIMIT), get=got)[{kind!r}]
log = []

def first():
    with take():
        log.append("first")
        until(lambda: "asks" in log)
        for _ in range(100):  # the others run, and nobody gets what is out
            gevent.sleep(0)
        log.append("gives back")

def second():
    log.append("asks")
    with take() as obj:
        log.append("second")
        return obj

print(results(spawn(first, second))[1], log)
assert log == ["first", "asks", "gives back", "second"], log
""",
        start,
    )


def test_the_queue_is_served_in_order_whoever_waits():
    """Threads, tasks and greenlets at once on one pool."""
    child(
        """
import asyncio
for turn in range(20):
    pool, order = opool.Pool(["a"], timeout=LIMIT, fairness="strict"), []
    lease = pool.lease()

    def in_greenlet(name):
        with pool.lease():
            order.append(name)

    def in_thread(name):
        with pool.lease():
            order.append(name)

    def in_task(name):
        async def main():
            async with pool.lease_async():
                order.append(name)
        asyncio.run(main())

    names, greenlets, threads = [], [], []
    for number in range(9):
        kind = (in_greenlet, in_thread, in_task)[number % 3]
        names.append(f"{kind.__name__} {number}")
        if kind is in_greenlet:
            greenlets.append(gevent.spawn(kind, names[-1]))
        else:
            threads.append(threading.Thread(target=kind, args=(names[-1],), daemon=True))
            threads[-1].start()
        until(lambda: pool.waiting == len(names))
    lease.release()
    results(greenlets)
    until(lambda: not any(thread.is_alive() for thread in threads))
    assert order == names, order
    check_invariants(pool)
""",
        UNPATCHED,
    )


def test_threads_tasks_and_greenlets_share_a_pool_under_load():
    child(
        """
import asyncio, random
objects = things(3)
pool = opool.Pool(objects, timeout=LIMIT)
busy, done, ROUNDS = {}, [], 300

def use(obj):
    assert obj not in busy, "leased twice"
    busy[obj] = 1

def in_greenlet():
    for _ in range(ROUNDS):
        with pool.lease() as obj:
            use(obj)
            gevent.sleep(0)
            del busy[obj]
    done.append(1)

def in_thread():
    for _ in range(ROUNDS):
        with pool.lease() as obj:
            use(obj)
            time.sleep(0)
            del busy[obj]
    done.append(1)

def in_tasks():
    async def task():
        for _ in range(ROUNDS):
            async with pool.lease_async() as obj:
                use(obj)
                await asyncio.sleep(0)
                del busy[obj]
        done.append(1)
    async def main():
        await asyncio.gather(*(task() for _ in range(4)))
    asyncio.run(main())

threads = [threading.Thread(target=target, daemon=True) for target in (in_thread, in_thread, in_tasks)]
for thread in threads:
    thread.start()
results(spawn(*[in_greenlet] * 6))
until(lambda: len(done) == 12)
check_invariants(pool)
assert pool.idle == 3 and pool.waiting == 0
""",
        UNPATCHED,
    )


def test_one_that_waits_for_a_second_is_woken_twice_at_most():
    """Once to look for a deadlock, once for the object."""
    child("""
from opool import _greenlets
sleep, sleeps = _greenlets.sleep, []
def counted(*args):
    sleeps.append(gevent.getcurrent())
    return sleep(*args)
_greenlets.sleep = counted  # before the extension looks it up

for pool in (opool.Pool(["a"], timeout=LIMIT), opool.Pool(factory=object, max_size=1, timeout=LIMIT)):
    with pool.lease():
        waiter = gevent.spawn(lambda: pool.lease().release())
        gevent.sleep(1.2)
    results([waiter])
    assert 1 <= sleeps.count(waiter) <= 2, sleeps.count(waiter)
""")


@patching
@pytest.mark.skipif(not os.path.exists("/proc/thread-self/schedstat"), reason="nothing tells how busy the machine is")
def test_no_wait_stops_the_hub_for_five_milliseconds(start):
    """The time in which the thread could not run, because the machine was busy with others, does not count."""
    child(
        """
import gc
pools = [
    opool.Pool(["a"], timeout=LIMIT),
    opool.Pool(factory=object, max_size=1, timeout=LIMIT, check=bool, check_after=0),
]
pauses, waited, over = [], [], []

def clock():
    with open("/proc/thread-self/schedstat") as file:
        return time.perf_counter() - int(file.read().split()[1]) / 1e9

def tick():
    last = clock()
    while not over:
        gevent.sleep(0)
        now = clock()
        pauses.append(now - last)
        last = now

def use(pool):
    for _ in range(50):
        waited.append(pool.idle == 0)
        with pool.lease():
            gevent.sleep(0.001)

gc.freeze()
ticker = gevent.spawn(tick)
results([gevent.spawn(use, pool) for pool in pools for _ in range(4)])
over.append(True)
results([ticker])
assert len(waited) == 400 and sum(waited) > 200, waited
# A few, as the two clocks are not read at the same moment. A wait that stopped the hub would do it each time.
assert sum(pause > 0.005 for pause in pauses) < 20, sorted(pauses)[-50:]
""",
        start,
    )


@pytest.mark.parametrize("fairness", ["adaptive", "strict"])
def test_one_that_never_yields_by_itself_does_not_starve_those_who_wait(fairness):
    child(f"""
pool, leases, over = opool.Pool(["a"], timeout=LIMIT, fairness={fairness!r}), [0, 0, 0], []

def worker(number):
    while not over:
        with pool.lease():
            leases[number] += 1
            if min(leases) > 200:
                over.append(1)

with pool.lease():
    workers = [gevent.spawn(worker, number) for number in range(3)]
    until(lambda: pool.waiting == 3)
results(workers)
""")


def test_a_wait_inside_a_wait_gets_what_the_outer_one_was_handed():
    """A signal handler leases while its greenlet waits; another greenlet's wait is not in its way."""
    child("""
import signal
pool = opool.Pool(["a", "b"], timeout=LIMIT)
inner = []

def handler(*_):
    with pool.lease() as obj:
        inner.append(obj)

signal.signal(signal.SIGUSR1, handler)
one, two = pool.lease(), pool.lease()

def other():
    with pool.lease() as obj:
        return obj

def waits():
    os.kill(os.getpid(), signal.SIGUSR1)
    with pool.lease() as obj:
        return obj

greenlets = spawn(other, waits)
until(lambda: pool.waiting >= 2)
one.release()
two.release()
print(results(greenlets), inner)
assert len(inner) == 1 and pool.idle == 2
check_invariants(pool)
""")


def test_the_wait_of_one_greenlet_is_not_taken_for_the_outer_wait_of_another():
    child("""
pool, order = opool.Pool(["a"], timeout=LIMIT, fairness="strict"), []
lease = pool.lease()

def worker(name):
    with pool.lease():
        order.append(name)
        gevent.sleep(0)

greenlets = []
for name in range(20):
    greenlets.append(gevent.spawn(worker, name))
    until(lambda: pool.waiting == name + 1)
lease.release()
results(greenlets)
assert order == list(range(20)), order
""")


# ---------------------------------------------------------------------------------------------------------------------
# What ends a wait


def test_a_timeout_of_the_pool_or_of_gevent_ends_a_wait_and_a_kill_does():
    child("""
pool = opool.Pool(["a"], timeout=LIMIT, name="letters")

def timed():
    try:
        pool.lease(timeout=0.05)
    except opool.PoolTimeout as error:
        return str(error)

def limited():
    try:
        with gevent.Timeout(0.05):
            pool.lease()
    except gevent.Timeout:
        return "gevent"

with pool.lease():
    waiting, killed = spawn(pool.lease, pool.lease)
    until(lambda: pool.waiting == 2)
    message, how = results(spawn(timed, limited))
    assert "Position 3 of" in message and "Held longest: thread 'MainThread'" in message, message
    assert how == "gevent" and pool.waiting == 2
    killed.kill()
    assert isinstance(killed.value, gevent.GreenletExit) and pool.waiting == 1
[lease] = results([waiting])
assert lease.obj == "a" and pool.idle == 0
lease.release()
check_invariants(pool)
""")


def test_what_was_handed_to_one_that_is_killed_goes_to_the_next():
    child("""
objects = things(2)
pool, got = opool.Pool(objects, timeout=LIMIT), []

def worker():
    with pool.lease() as obj:
        got.append(obj)
        gevent.sleep(0)

for turn in range(300):
    leases = [pool.lease(), pool.lease()]
    greenlets = spawn(*[worker] * 4)
    until(lambda: pool.waiting == 4)
    if turn % 3 == 0:
        leases.pop().release()  # is handed over, and not collected
    gevent.killall(greenlets[: 1 + turn % 2], block=turn % 2 == 0)
    for lease in leases:
        lease.release()
    gevent.joinall(greenlets, timeout=LIMIT)
    assert all(greenlet.dead for greenlet in greenlets)
    assert (pool.idle, pool.waiting) == (2, 0), turn
    check_invariants(pool)
assert len(got) >= 600
""")


def test_close_waits_for_greenlets_and_ends_their_waits():
    child("""
pool = opool.Pool(factory=lambda: "a", max_size=1, timeout=LIMIT)
held, closed = gevent.event.Event(), []

def holds():
    with pool.lease():
        held.set()
        until(lambda: pool.closed)

def waits():
    held.wait()
    try:
        pool.lease()
    except opool.PoolClosed:
        closed.append("waiter")

greenlets = spawn(holds, waits)
until(lambda: held.is_set() and pool.waiting == 1)
pool.close(timeout=LIMIT)
results(greenlets)
assert closed == ["waiter"]
""")


def test_the_hub_itself_is_told_that_it_cannot_wait():
    child("""
pool, errors = opool.Pool(["a"], timeout=LIMIT), []

def in_hub():
    assert gevent.getcurrent() is gevent.get_hub()
    try:
        errors.append(pool.lease())
    except opool.PoolError as error:
        errors.append(str(error))

gevent.get_hub().loop.run_callback(in_hub)
until(lambda: errors)
errors.pop().release()
with pool.lease():
    gevent.get_hub().loop.run_callback(in_hub)
    until(lambda: errors)
assert "the hub of gevent cannot wait" in errors[0], errors
""")


def test_what_is_handed_to_a_greenlet_of_a_dead_thread_goes_to_the_next():
    child(
        """
pool = opool.Pool(["a"], timeout=LIMIT)
lease, ready = pool.lease(), threading.Event()

def with_a_hub():
    gevent.spawn(pool.lease)  # waits, and will never go on
    gevent.sleep(0)
    ready.set()

thread = threading.Thread(target=with_a_hub)
thread.start()
thread.join()
assert pool.waiting == 1
waiter = gevent.spawn(lambda: pool.lease().obj)
until(lambda: pool.waiting == 2)
lease.release()
assert results([waiter]) == ["a"]
""",
        UNPATCHED,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Hooks


@patching
def test_hooks_run_and_may_use_gevent_themselves(start):
    child(
        """
calls = []

def sub(what):
    gevent.sleep(0)
    calls.append(what)
    return what

def hook(what):
    return lambda obj=None: gevent.spawn(sub, what).get()

pool = opool.Pool(factory=hook("made"), reset=hook("reset"), check=hook("check"), dispose=hook("dispose"),
                  check_after=0, max_size=2, min_size=1, timeout=LIMIT)

def worker():
    for _ in range(5):
        with pool.lease() as obj:
            assert obj == "made"
            gevent.sleep(0)

results(spawn(*[worker] * 6))
for _ in range(3):  # nobody waits, so they are idle, and checked before the next lease
    pool.lease().release()
assert 1 <= calls.count("made") <= 2 and calls.count("reset") == 33 and calls.count("check") >= 3, calls
pool.close(timeout=LIMIT)
until(lambda: calls.count("dispose") == calls.count("made"))
""",
        start,
    )


def test_what_the_factory_makes_belongs_to_the_hub_of_those_who_use_it():
    """A socket of gevent can be used in the thread of the hub in which it was made, and in no other."""
    child("""
import socket
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()

def serve():
    while True:
        connection, _ = server.accept()
        gevent.spawn(echo, connection)

def echo(connection):
    with connection:
        while True:
            data = connection.recv(10)
            if not data:
                return
            gevent.sleep(0.001)
            connection.sendall(data)

gevent.spawn(serve)
pool = opool.Pool(factory=lambda: socket.create_connection(server.getsockname()), dispose=socket.socket.close,
                  max_size=3, timeout=LIMIT)

def client():
    for _ in range(5):
        with pool.lease() as connection:
            connection.sendall(b"hello")
            assert connection.recv(10) == b"hello"

results(spawn(*[client] * 12))
assert pool.size <= 3
pool.close(timeout=LIMIT)
""")


def test_a_real_thread_of_a_patched_program_gets_a_real_worker():
    child("""
def use(number):
    with pool.lease() as obj:
        return obj

pool = opool.Pool(factory=object, max_size=2, timeout=LIMIT)
native = gevent.get_hub().threadpool
assert len(native.map(use, range(20))) == 20
with pool.lease():
    pass
assert pool.size <= 2
pool.close(timeout=LIMIT)
""")


def test_a_worker_whose_thread_has_ended_is_replaced():
    child(
        """
pool = opool.Pool(factory=object, dispose=lambda obj: None, max_size=1, timeout=LIMIT)

def with_a_hub():
    with pool.lease() as obj:  # its worker is a greenlet of this thread, and lingers
        pass

thread = threading.Thread(target=lambda: (gevent.get_hub(), with_a_hub()))
thread.start()
thread.join()
pool.lease().discard()
with pool.lease():
    pass
""",
        UNPATCHED,
    )


@patching
def test_a_program_ends_although_its_workers_linger(start):
    began = time.monotonic()
    child(
        """
pool = opool.Pool(factory=object, max_lifetime=3600, min_size=1, max_size=2, timeout=LIMIT)
def worker():
    with pool.lease():
        gevent.sleep(0)
results(spawn(*[worker] * 4))
""",
        start,
    )
    assert time.monotonic() - began < LIMIT


def test_a_pool_that_is_dropped_dies_at_once_and_its_worker_with_it():
    child("""
import gc, weakref
from opool import _threads
pool = opool.Pool(factory=object, max_size=1, timeout=LIMIT)
with pool.lease():
    pass
gone = weakref.ref(pool)
gevent.sleep(0)
del pool
assert gone() is None
until(lambda: not _threads._starting)
""")


# ---------------------------------------------------------------------------------------------------------------------
# Who holds what


def test_holders_and_messages_name_the_greenlet():
    child("""
pool = opool.Pool(["a", "b", "c"], timeout=LIMIT)
over = gevent.event.Event()

def holds():
    with pool.lease():
        over.wait()

first = gevent.spawn(holds)
second = threading.Thread(target=holds, name="patched thread")
second.start()
until(lambda: pool.idle == 1)
with pool.lease():
    first.name = "the first"
    who = {holder.thread: holder for holder in pool.holders()}
    assert who.keys() == {"greenlet 'the first'", "thread 'patched thread'", "thread 'MainThread'"}, who
    assert who["greenlet 'the first'"].thread_id == id(first)
    assert "in holds" in who["greenlet 'the first'"].stack(), who["greenlet 'the first'"].stack()
    assert "in <module>" in who["thread 'MainThread'"].stack(), who["thread 'MainThread'"].stack()
over.set()
results([first])
second.join()
""")


def test_tasks_and_real_threads_of_a_patched_program_are_told_apart():
    child("""
import asyncio
pool = opool.Pool(["a"], timeout=0.01)

async def main():
    async with pool.lease_async():
        [holder] = pool.holders()
        assert holder.task == asyncio.current_task().get_name()
        try:
            await pool.aclose()
        except opool.PoolCloseTimeout as error:
            assert "this task itself is inside the with block" in str(error), error
asyncio.run(main())

pool = opool.Pool(["a"], timeout=0.01)
def lease_twice():
    pool.acquire()
    try:
        pool.lease()
    except opool.PoolTimeout as error:
        return str(error)
told = gevent.get_hub().threadpool.apply(lease_twice)
assert "(this one)" in told, told
""")


def test_the_first_wait_makes_out_greenlets_of_a_program_that_is_not_patched():
    child(
        """
pool = opool.Pool(["a"], timeout=LIMIT)
with pool.lease():
    try:
        pool.lease(timeout=0.01)
    except opool.PoolTimeout:
        pass
over = gevent.event.Event()

def holds():
    with pool.lease():
        over.wait()

holder = gevent.spawn(holds)
until(lambda: pool.idle == 0)
[found] = pool.holders()
assert found.thread == f"greenlet {holder.name!r}" and found._kind == "greenlet", found
over.set()
results([holder])
""",
        "import gevent\ngevent.get_hub()\n" + UNPATCHED,
    )


def test_a_deadlock_of_greenlets_is_logged_and_none_is_made_up():
    """That one greenlet of a thread waits says nothing of what another one holds."""
    child("""
import logging
records = []
class Keep(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
logging.getLogger("opool").addHandler(Keep())

pool = opool.Pool(factory=object, max_size=1, timeout=LIMIT)
over = gevent.event.Event()

def holds():
    with pool.lease():
        over.wait()

def waits():
    with pool.lease():
        pass

greenlets = spawn(holds, waits)
gevent.sleep(1.2)
assert not records, records
over.set()
results(greenlets)

def twice():
    with pool.lease():
        try:
            pool.lease(timeout=1.2)
        except opool.PoolTimeout as error:
            return type(error).__name__, str(error)

[(kind, message)] = results(spawn(twice))
assert kind == "PoolTimeout" and "This very greenlet has an object already" in message, (kind, message)
assert len(records) == 1 and "with a greenlet that waits for this pool itself" in records[0], records
assert "in twice" in records[0], records
""")


# ---------------------------------------------------------------------------------------------------------------------
# Forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("pool", ['opool.Pool(["a"], timeout=LIMIT)', "opool.Pool(factory=object, max_size=1)"])
def test_in_a_forked_child_all_greenlets_of_the_thread_go_on(pool):
    """As gevent has it: what they hold stays theirs, and what they wait for they get."""
    child(f"""
pool, log, forked = {pool}, [], gevent.event.Event()

def holds():
    with pool.lease(timeout=LIMIT):
        log.append("holds")
        forked.wait()
    log.append("gave back")

def waits():
    with pool.lease(timeout=LIMIT):
        log.append("got it")

greenlets = spawn(holds, waits)
until(lambda: pool.waiting == 1)
told, tell = os.pipe()
child = os.fork()
forked.set()
results(greenlets)
assert log == ["holds", "gave back", "got it"], log
with pool.lease(timeout=LIMIT):
    assert pool.idle == 0
check_invariants(pool)
if child == 0:
    os.write(tell, b"whole")
    os._exit(0)
os.close(tell)
assert os.read(told, 99) == b"whole"  # gevent's own waitpid misses a child now and then, at least on CPython 3.15
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_child_real_threads_hold_and_wait_no_longer():
    child(
        """
pool = opool.Pool(["a", "b"], timeout=LIMIT)
held = threading.Event()

def in_thread():
    with pool.lease():
        held.set()
        time.sleep(LIMIT)

for target in (in_thread, lambda: (held.wait(), pool.lease(), time.sleep(LIMIT))):
    threading.Thread(target=target, daemon=True).start()
until(lambda: pool.idle == 0)
threading.Thread(target=pool.lease, daemon=True).start()
until(lambda: pool.waiting == 1)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    child = gevent.os.fork() if hasattr(gevent, "os") else os.fork()
if child == 0:
    try:
        assert (pool.idle, pool.waiting) == (2, 0)
        with pool.lease(), pool.lease():
            pass
        os._exit(17)
    finally:
        os._exit(1)
_, status = os.waitpid(child, 0)
assert os.WEXITSTATUS(status) == 17, status
os._exit(0)
""",
        UNPATCHED,
    )


# ---------------------------------------------------------------------------------------------------------------------
# gunicorn, eventlet

APPLICATION = """
import time
import opool

made = []

def connect():
    time.sleep(0.01)
    made.append(object())
    return made[-1]

pool = opool.Pool(factory=connect, reset=lambda obj: time.sleep(0), max_size=3, timeout=60)
ids = opool.ObjectMgr(3)
first = pool.lease().release()  # at import, before there is anything else

def app(environ, start_response):
    with pool.lease(), ids.lease(timeout=60):
        time.sleep(0.005)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(made)).encode()]
"""


def test_gunicorn_serves_everything_with_its_gevent_workers(tmp_path):
    pytest.importorskip("gunicorn", reason="gunicorn is not installed here", exc_type=ImportError)
    (tmp_path / "application.py").write_text(APPLICATION, encoding="utf-8")
    code = f"""
from gevent import monkey
monkey.patch_all()
import http.client, gevent
from gevent.pool import Pool
def ask(number):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout={LIMIT})
    connection.request("GET", "/")
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()
answers = Pool(40).map(ask, range(400))
assert all(status == 200 for status, _ in answers), answers
assert all(1 <= int(made) <= 3 for _, made in answers), answers
"""
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "2", "-b", "127.0.0.1:0", "application:app"]
    path = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=tmp_path, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": path}
        )
    try:
        deadline, address = time.monotonic() + LIMIT, None
        while address is None:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
            address = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text())
        run_child(code.replace("PORT", address[1]))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(LIMIT)
    told = log.read_text()
    assert "Traceback" not in told and "SIGKILL" not in told and "WORKER TIMEOUT" not in told, told


@pytest.mark.parametrize("make", ["opool.Pool", "design.opool.Pool"])
def test_eventlet_is_refused_by_name_at_the_first_wait(make):
    pytest.importorskip("eventlet", reason="eventlet is not installed here", exc_type=ImportError)
    run_child(f"""
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eventlet
    eventlet.monkey_patch()
import opool, design.opool
pool = {make}(["a"])
with pool.lease():  # nothing to wait for
    try:
        pool.lease()
    except opool.PoolError as error:
        assert "does not support eventlet" in str(error), error
    else:
        raise AssertionError("not refused")
try:
    opool.Pool(factory=object, max_size=1).lease()
except opool.PoolError as error:
    assert "does not support eventlet" in str(error), error
else:
    raise AssertionError("not refused")
""")


def test_a_program_without_gevent_does_not_load_it():
    run_child("""
import sys, threading, opool
pool = opool.Pool(factory=object, max_size=1, timeout=60)
with pool.lease():
    waiter = threading.Thread(target=lambda: pool.lease().release())
    waiter.start()
    while not pool.waiting:
        pass
waiter.join()
pool.holders()
assert not {"gevent", "greenlet", "eventlet", "opool._greenlets"} & sys.modules.keys()
""")
