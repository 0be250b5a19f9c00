"""Puts beside claims, wake-ups between processes, and what waiting costs."""

from __future__ import annotations

import random
import resource
import sqlite3
import statistics
import threading
import time

from crowd import Figure, Make, answer, end, go, python, threads

from opool_bank import Bank

_CLAIMER = """
import threading, time
from opool_bank import Bank
bank = Bank(sys.argv[1], name="other")
bank.put(range(100_000), atomic=True)
stop = threading.Event()
print("ready", flush=True)
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
waits = []
while not stop.is_set():
    begun = time.perf_counter()
    bank.claim(str(len(waits)))
    waits.append(time.perf_counter() - begun)
print(len(waits), max(waits))
"""


def puts(path: str, number: int) -> dict[str, float]:
    """Puts random keys: with `executemany`, in one transaction, and in chunks while another process claims."""
    keys = [f"{random.getrandbits(64):016x}" for _ in range(number)]
    db = sqlite3.connect(f"{path}-executemany")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, key TEXT UNIQUE, state INT DEFAULT 0)")
    db.execute("CREATE INDEX free ON item(id) WHERE state = 0")
    begun = time.perf_counter()
    with db:
        db.executemany("INSERT INTO item(key) VALUES (?)", ((key,) for key in keys))
    found = {"executemany": number / (time.perf_counter() - begun)}
    db.close()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Bank(f"{path}-atomic") as bank:
        begun = time.perf_counter()
        bank.put(keys, atomic=True)
        found["atomic"] = number / (time.perf_counter() - begun)
    found["atomic_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    with Bank(f"{path}-chunks") as bank:
        claimer = python(_CLAIMER, f"{path}-chunks")
        begun = time.perf_counter()
        bank.put(keys)
        found["chunks"] = number / (time.perf_counter() - begun)
        go(claimer)
        claims, longest = map(float, answer(claimer).split())
    return {**found, "claims": claims, "longest": longest}


_WAITER = """
import time
from opool_bank import Bank
bank = Bank(sys.argv[1])
print("ready", flush=True)
while True:
    item = bank.claim(timeout=None)
    print(item.key, time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
"""


def wakeups(file: str, rounds: int, waiting: int) -> tuple[float, float]:
    """Returns p50 and p99 in ms from the end of a `put` until one of the waiting processes has the item."""
    bank = Bank(file)
    waiters = [python(_WAITER, file) for _ in range(waiting)]
    came: dict[int, int] = {}
    one_came = threading.Event()

    def read(lines: object) -> None:
        for line in lines:  # type: ignore[attr-defined]
            number, at = map(int, line.split())
            came[number] = at
            one_came.set()

    readers = [threading.Thread(target=read, args=(waiter.stdout,), daemon=True) for waiter in waiters]
    for reader in readers:
        reader.start()
    gave = {}
    for number in range(rounds):
        time.sleep(0.007 + random.random() * 0.008)
        one_came.clear()
        bank.put([number])
        gave[number] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        while number not in came and one_came.wait(10):
            one_came.clear()
    for waiter in waiters:
        waiter.kill()
    for reader in readers:
        reader.join()
    for waiter in waiters:
        end(waiter)
    # It may be there before `put` has returned here.
    times = sorted(max(0.0, (came[number] - gave[number]) / 1e6) for number in gave)
    return statistics.median(times), times[int(len(times) * 0.99)]


_IDLE = """
import resource, threading, time
from opool_bank import Bank
bank = Bank(sys.argv[1])
threading.Thread(target=lambda: bank.claim(timeout=None), daemon=True).start()
while bank.stats()["waiting"] == 0:
    time.sleep(0.01)
print("ready", flush=True)
sys.stdin.readline()
before = resource.getrusage(resource.RUSAGE_SELF)
time.sleep(float(sys.argv[2]))
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, flush=True)
import os
os._exit(0)
"""


def idle(file: str, waiting: int, seconds: float) -> float:
    """Returns which part of a core some waiting processes take together."""
    waiters = [python(_IDLE, file, seconds) for _ in range(waiting)]
    for waiter in waiters:
        go(waiter)
    return sum(float(answer(waiter)) for waiter in waiters) / seconds


def beside_a_computing_thread(make: Make, number: int, seconds: float) -> Figure:
    """Makes calls while another thread of this process computes in Python."""
    stop = threading.Event()

    def compute() -> None:
        count = 0
        while not stop.is_set():
            count += 1

    computing = threading.Thread(target=compute)
    computing.start()
    try:
        return threads(make, number, seconds)
    finally:
        stop.set()
        computing.join()
