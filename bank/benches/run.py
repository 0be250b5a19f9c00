"""Measures the bank beside its peers, all in one run: `make bench-bank`, or `python bank/benches/run.py --quick`.

Ratios count: each figure stands beside a reference of the same run. The table goes to standard output, with the
machine's load, since a loaded machine measures itself.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Callable

from opool_bank import Bank, SharedObjectMgr

FOLDER = tempfile.mkdtemp(prefix="opool-bench-")
Row = tuple[str, str, str]
ROWS: list[Row] = []


def say(what: str, figure: str, beside: str = "") -> None:
    ROWS.append((what, figure, beside))
    print(f"{what:58} {figure:>28}  {beside}", flush=True)


def path(name: str) -> str:
    return os.path.join(FOLDER, name)


def fdatasync(seconds: float) -> float:
    """Writes and syncs of 8 kB, one after another."""
    with open(path("sync"), "wb", buffering=0) as file:
        block = os.urandom(8_192)
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            file.write(block)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - begun)


class Figure:
    """Calls that some threads made: how many a second, how long they took, how evenly they were served."""

    def __init__(self, counts: list[int], times: list[float], seconds: float) -> None:
        self.rate = sum(counts) / seconds
        times.sort()
        self.p50 = times[len(times) // 2] * 1e3 if times else 0.0
        self.p99 = times[int(len(times) * 0.99)] * 1e3 if times else 0.0
        self.longest = times[-1] * 1e3 if times else 0.0
        self.fair = min(counts) / max(counts) if counts and max(counts) else 0.0

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s, p99 {self.p99:.1f} ms"


def threads(make: Callable[[int], Callable[[], Any]], number: int, seconds: float) -> Figure:
    """Runs `make(n)()` in `number` threads until the time is up."""
    counts, times = [0] * number, []
    stop = threading.Event()
    start = threading.Barrier(number + 1)

    def work(place: int) -> None:
        call = make(place)
        mine: list[float] = []
        start.wait()
        while not stop.is_set():
            begun = time.perf_counter()
            call()
            mine.append(time.perf_counter() - begun)
        counts[place] = len(mine)
        times.extend(mine)

    workers = [threading.Thread(target=work, args=(place,)) for place in range(number)]
    for worker in workers:
        worker.start()
    start.wait()
    begun = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return Figure(counts, times, time.perf_counter() - begun)


ITEMS = 200_000


def bank_calls(file: str) -> Callable[[int], Callable[[], Any]]:
    bank = Bank(file)
    if bank.counts().put == 0:
        bank.put(range(ITEMS), atomic=True)

    def make(place: int) -> Callable[[], Any]:
        number = itertools.count()
        prefix = f"{os.getpid()}-{place}-"
        return lambda: bank.claim(f"{prefix}{next(number)}")

    return make


def plain_calls(file: str) -> Callable[[int], Callable[[], Any]]:
    """What one writes with `sqlite3` alone: a connection a thread, BEGIN IMMEDIATE, WAL, synchronous=FULL."""
    setup = sqlite3.connect(file)
    setup.execute("PRAGMA journal_mode = WAL")
    setup.execute(
        "CREATE TABLE IF NOT EXISTS item(id INTEGER PRIMARY KEY, key TEXT UNIQUE, user TEXT, state INT DEFAULT 0)"
    )
    setup.execute("CREATE INDEX IF NOT EXISTS free ON item(id) WHERE state = 0")
    setup.execute("CREATE UNIQUE INDEX IF NOT EXISTS users ON item(user) WHERE user IS NOT NULL")
    if setup.execute("SELECT count(*) FROM item").fetchone() == (0,):
        with setup:
            setup.executemany("INSERT INTO item(key) VALUES (?)", ((str(n),) for n in range(ITEMS)))
    setup.close()

    def make(place: int) -> Callable[[], Any]:
        db = sqlite3.connect(file, isolation_level=None, timeout=60, check_same_thread=False)
        db.execute("PRAGMA synchronous = FULL")
        number = itertools.count()
        prefix = f"{os.getpid()}-{place}-"

        def claim() -> None:
            db.execute("BEGIN IMMEDIATE")
            user = f"{prefix}{next(number)}"
            if db.execute("SELECT key FROM item WHERE user = ?", (user,)).fetchone() is None:
                found = db.execute("SELECT id FROM item WHERE state = 0 ORDER BY id LIMIT 1").fetchone()
                db.execute("UPDATE item SET state = 1, user = ? WHERE id = ?", (user, *found))
            db.execute("COMMIT")

        return claim

    return make


def peers() -> list[tuple[str, Callable[[str], Callable[[int], Callable[[], Any]]]]]:
    found = []
    try:
        from litequeue import LiteQueue

        def litequeue(file: str) -> Callable[[int], Callable[[], Any]]:
            queue = LiteQueue(file)
            for n in range(3_000):
                queue.put(str(n))

            def make(place: int) -> Callable[[], Any]:
                mine = LiteQueue(file)
                return mine.pop

            return make

        found.append(("litequeue (NORMAL)", litequeue))
    except ImportError:
        pass
    try:
        import persistqueue

        def persist(file: str) -> Callable[[int], Callable[[], Any]]:
            queue = persistqueue.SQLiteAckQueue(file, multithreading=True, auto_commit=True)
            for n in range(3_000):
                queue.put(str(n))
            return lambda place: lambda: queue.get(block=False)

        found.append(("persist-queue (ack)", persist))
    except ImportError:
        pass
    try:
        from huey.storage import SqliteStorage

        def huey(file: str) -> Callable[[int], Callable[[], Any]]:
            storage = SqliteStorage(filename=file, fsync=True, timeout=60)
            for n in range(3_000):
                storage.enqueue(str(n).encode())
            return lambda place: storage.dequeue

        found.append(("huey on SQLite (FULL, lost when killed)", huey))
    except ImportError:
        pass
    return found


PROCESS = """
import itertools, sys, time
sys.path.insert(0, sys.argv[1])
import run
make = run.bank_calls(sys.argv[2]) if sys.argv[3] == "bank" else run.plain_calls(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
figure = run.threads(make, int(sys.argv[4]), float(sys.argv[5]))
print(figure.rate, figure.longest)
"""


def processes(kind: str, number: int, in_each: int, seconds: float) -> tuple[float, float, float]:
    """Rate of all, slowest to fastest, longest wait in ms."""
    file = path(f"{kind}-{number}x{in_each}")
    (bank_calls if kind == "bank" else plain_calls)(file)
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = [here, file, kind, str(in_each), str(seconds)]
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, *arguments], stdin=-1, stdout=-1, text=True)
        for _ in range(number)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [tuple(map(float, process.communicate()[0].split())) for process in running]
    rates = [rate for rate, _ in answers]
    return sum(rates), min(rates) / max(rates), max(longest for _, longest in answers)


def puts(number: int) -> None:
    keys = [f"{random.getrandbits(64):016x}" for _ in range(number)]
    db = sqlite3.connect(path("executemany"))
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, key TEXT UNIQUE, state INT DEFAULT 0)")
    db.execute("CREATE INDEX free ON item(id) WHERE state = 0")
    begun = time.perf_counter()
    with db:
        db.executemany("INSERT INTO item(key) VALUES (?)", ((key,) for key in keys))
    reference = number / (time.perf_counter() - begun)
    say(f"executemany of {number:,} random keys", f"{reference:,.0f}/s")
    bank = Bank(path("atomic"))
    begun = time.perf_counter()
    bank.put(keys, atomic=True)
    rate = number / (time.perf_counter() - begun)
    say("put, atomic=True", f"{rate:,.0f}/s", f"{rate / reference:.2f} x executemany (>= 1)")
    bank = Bank(path("chunks"))
    other = Bank(path("chunks"), name="other")
    other.put(range(100_000), atomic=True)
    claimer = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, path("chunks")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert claimer.stdout is not None
    claimer.stdout.readline()
    begun = time.perf_counter()
    bank.put(keys)
    rate = number / (time.perf_counter() - begun)
    out, _ = claimer.communicate("\n")
    waits = [float(wait) for wait in out.split()]
    say("put in chunks, a claimer beside it", f"{rate:,.0f}/s", f"{rate / reference:.2f} x executemany (>= 0.3)")
    say("  the claimer's longest wait", f"{max(waits):.3f} s", f"of {len(waits)} claims (<= 0.2 s)")


CLAIMER = """
import sys, threading, time
from opool_bank import Bank
bank = Bank(sys.argv[1], name="other")
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
print("ready", flush=True)
n = 0
while not stop.is_set():
    begun = time.perf_counter()
    bank.claim(str(n))
    print(time.perf_counter() - begun)
    n += 1
"""

WAITER = """
import sys, time, resource
from opool_bank import Bank
bank = Bank(sys.argv[1])
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    item = bank.claim(timeout=None)
    print("got", time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
used = resource.getrusage(resource.RUSAGE_SELF)
"""

IDLE = """
import resource, sys, threading, time
from opool_bank import Bank
bank = Bank(sys.argv[1])
threading.Thread(target=lambda: bank.claim(timeout=float(sys.argv[2]) + 1), daemon=True).start()
while bank.stats()["waiting"] == 0:
    time.sleep(0.01)
before = resource.getrusage(resource.RUSAGE_SELF)
time.sleep(float(sys.argv[2]))
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""


def wakeups(rounds: int) -> None:
    file = path("wake")
    bank = Bank(file)
    waiting = [
        subprocess.Popen([sys.executable, "-c", WAITER, file, str(rounds)], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for process in waiting:
        assert process.stdout is not None
        process.stdout.readline()
    answers: list[float] = []
    lock = threading.Lock()
    gave = [0]
    first: list[float] = []
    came = threading.Event()

    def read(process: Any) -> None:
        for line in process.stdout:
            at = int(line.split()[1])
            with lock:
                if not came.is_set():
                    first.append((at - gave[0]) / 1e6)
                    came.set()

    readers = [threading.Thread(target=read, args=(process,)) for process in waiting]
    for reader in readers:
        reader.start()
    for n in range(rounds):
        time.sleep(0.01)
        came.clear()
        bank.put([n])
        gave[0] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        came.wait(10)
    for process in waiting:
        process.kill()
    for reader in readers:
        reader.join()
    answers = sorted(first)
    p99 = answers[int(len(answers) * 0.99)]
    say("8 waiting processes: one has the item after", f"p50 {statistics.median(answers):.2f} ms", f"p99 {p99:.2f} ms")
    idle = [
        subprocess.Popen([sys.executable, "-c", IDLE, path("idle"), "3"], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    used = sum(float(process.communicate()[0]) for process in idle)
    say("8 waiting processes, idle, of a core", f"{used / 3:.1%}", "(<= 2 %)")


def busy(seconds: float) -> None:
    stop = threading.Event()

    def compute() -> None:
        n = 0
        while not stop.is_set():
            n += 1

    computing = threading.Thread(target=compute)
    computing.start()
    figure = threads(bank_calls(path("busy")), 8, seconds)
    plain = threads(plain_calls(path("busy-plain")), 8, seconds)
    stop.set()
    computing.join()
    say("8 threads beside one that computes in Python", str(figure), f"plain sqlite3: {plain}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    options = parser.parse_args()
    seconds = 1.5 if options.quick else 5.0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python {sys.version.split()[0]}")
    sync = fdatasync(seconds)
    say("fdatasync of 8 kB", f"{sync:,.0f}/s")
    reference = {}
    for number in (1, 8, 32):
        plain = threads(plain_calls(path(f"plain{number}")), number, seconds)
        reference[number] = plain.rate
        say(f"plain sqlite3, a connection each, {number} threads", str(plain), f"slowest/fastest {plain.fair:.2f}")
    for number in (1, 8, 32):
        figure = threads(bank_calls(path(f"bank{number}")), number, seconds)
        beside = f"{figure.rate / reference[number]:.1f} x plain, slowest/fastest {figure.fair:.2f}"
        if number == 1:
            beside += f", {figure.rate / sync:.2f} x fdatasync (>= 0.65)"
        say(f"opool-bank, {number} threads", str(figure), beside)
    for name, make in peers():
        for number in (1, 8):
            try:
                figure = threads(make(path(f"{name.split()[0]}{number}")), number, min(seconds, 1.0))
                say(f"{name}, {number} threads", str(figure))
            except Exception as error:  # noqa: BLE001 - what a peer cannot do is a result
                say(f"{name}, {number} threads", f"{type(error).__name__}", str(error)[:60])
    for kind, number, in_each in (("plain", 8, 1), ("bank", 8, 1), ("bank", 8, 8)):
        rate, fair, longest = processes(kind, number, in_each, seconds)
        beside = f"slowest/fastest {fair:.2f}, longest {longest:,.0f} ms"
        say(
            f"{'opool-bank' if kind == 'bank' else 'plain sqlite3'}, {number} processes x {in_each}",
            f"{rate:,.0f}/s",
            beside,
        )
    puts(50_000 if options.quick else 1_000_000)
    wakeups(50 if options.quick else 200)
    busy(seconds)
    begun = time.perf_counter()
    SharedObjectMgr(path("ids"), 1_000_000_000).get_object()
    say(
        "SharedObjectMgr of a billion: open and get the first",
        f"{(time.perf_counter() - begun) * 1e3:.1f} ms",
        "(< 10 ms)",
    )
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"load at the end {os.getloadavg()[0]:.1f}; {used} MB")


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
