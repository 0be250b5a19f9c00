"""From one thread to two, on an interpreter without a GIL: what a lease costs, and how much more two threads get done.

Each thread is pinned to a core of its own. A round measures every case with one thread and with two, so that a slow
moment of the machine hits them alike; a measurement during which another process had the core is repeated. Printed is
the median of the rounds, and the best, which is what a machine that does nothing else would show. With a GIL two
threads take turns, and the figures say nothing about the pool.

`benches/floor` must be installed too (`make free-threaded` does that): its context managers do nothing, at C speed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import opool_floor

import opool

RESULTS = Path(__file__).resolve().parent / "results"
CORES = sorted(os.sched_getaffinity(0))[:2]
CHUNK = 1000
DISTURBED: list[str] = []


class Nothing:
    """An empty context manager in Python."""

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


def use_null(null: Any) -> None:
    for _ in range(CHUNK):
        with null.get():
            pass


def use_lease(pool: opool.Pool[Any]) -> None:
    for _ in range(CHUNK):
        with pool.lease():
            pass


def use_acquire(pool: opool.Pool[Any]) -> None:
    for _ in range(CHUNK):
        pool.release(pool.acquire())


def use_ids(ids: opool.ObjectMgr) -> None:
    for _ in range(CHUNK):
        ids.free_object(ids.get_object())


def use_itself(manager: Any) -> None:
    for _ in range(CHUNK):
        with manager:
            pass


def make_pool() -> opool.Pool[Any]:
    return opool.Pool([object() for _ in range(4)])


class Case(NamedTuple):
    name: str
    make: Callable[[], Any]
    use: Callable[[Any], None]


CASES = [
    Case("pool.lease()", make_pool, use_lease),
    Case("pool.acquire/release", make_pool, use_acquire),
    Case("ObjectMgr get/free", lambda: opool.ObjectMgr(1000), use_ids),
    Case("threading.Lock", threading.Lock, use_itself),
    Case("empty with in Python", Nothing, use_itself),
]


def rate(case: Case, cores: list[int], seconds: float, shared: Any = None) -> tuple[float, bool]:
    """Uses per second of all threads together, of one thing or of a thing of each thread's own.

    Also says whether all of them had their core to themselves.
    """
    start = threading.Barrier(len(cores))
    rates: list[float] = []
    preempted: list[int] = []

    def work(core: int) -> None:
        os.sched_setaffinity(0, [core])
        thing = case.make() if shared is None else shared
        case.use(thing)
        start.wait()
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
        began = now = time.perf_counter()
        chunks = 0
        while now - began < seconds:
            case.use(thing)
            chunks += 1
            now = time.perf_counter()
        rates.append(chunks * CHUNK / (now - began))
        preempted.append(resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw - before)

    threads = [threading.Thread(target=work, args=(core,)) for core in cores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates), not any(preempted)


def undisturbed(case: Case, cores: list[int], seconds: float, shared: Any = None) -> float:
    """`rate`, repeated on a busy machine until nobody took a core away meanwhile; after some tries as it is."""
    for _ in range(5):
        found, alone = rate(case, cores, seconds, shared)
        if alone:
            return found
    DISTURBED.append(case.name)
    return found


def nanoseconds(use: Callable[[Any], None], thing: Any, seconds: float) -> float:
    """One thread, the main one, on one core: the shortest of many chunks, for one use."""
    best = float("inf")
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        use(thing)
        best = min(best, time.perf_counter() - began)
    return best / CHUNK * 1e9


def cycle(rounds: int, seconds: float) -> dict[str, list[float]]:
    """What one thread pays, beside context managers that do nothing."""
    subjects: list[tuple[str, Callable[[Any], None], Any]] = [
        ("null, unbound", use_null, opool_floor.unbound),
        ("null, ordinary", use_null, opool_floor.ordinary),
        *((case.name, case.use, case.make()) for case in CASES),
    ]
    found: dict[str, list[float]] = {name: [] for name, _, _ in subjects}
    os.sched_setaffinity(0, CORES[-1:])
    for _ in range(rounds):
        for name, use, thing in subjects:
            found[name].append(nanoseconds(use, thing, seconds))
    os.sched_setaffinity(0, CORES)
    return found


def scaling(rounds: int, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Rates of one thread and of two, for each case: on things of their own, and on one thing."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for case in CASES:
            for sharing in ("separate", "shared"):
                thing = case.make() if sharing == "shared" else None
                # One thread on either core in turn: something else may keep one of them busy.
                one = statistics.mean(undisturbed(case, [core], seconds, thing) for core in CORES)
                two = undisturbed(case, CORES, seconds, thing)
                found.setdefault(f"{case.name}, {sharing}", []).append((one, two))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.02, help="for each measurement")
    arguments = parser.parse_args()
    if len(CORES) < 2:
        sys.exit("two cores are needed to see two threads run at once")
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {platform.python_version()}, {'with' if gil else 'without'} a GIL; cores {CORES}\n")

    cycles = cycle(arguments.rounds, arguments.seconds)
    floor = min(cycles["null, unbound"] + cycles["null, ordinary"])
    floors = [min(both) for both in zip(cycles["null, unbound"], cycles["null, ordinary"])]
    print(f"{'one thread':<34}{'ns':>8}{'x null':>9}{'best':>8}")
    for name, times in cycles.items():
        ratio = statistics.median(time / null for time, null in zip(times, floors))
        print(f"{name:<34}{statistics.median(times):>8.1f}{ratio:>9.2f}{min(times) / floor:>8.2f}")

    rates = scaling(arguments.rounds, arguments.seconds)
    print(f"\n{'one thread to two':<34}{'1: M/s':>8}{'2: M/s':>9}{'x':>8}{'best':>8}")
    for name, pairs in rates.items():
        ones, twos = zip(*pairs)
        ratio, best = statistics.median(two / one for one, two in pairs), max(twos) / max(ones)
        rows = statistics.median(ones) / 1e6, statistics.median(twos) / 1e6
        print(f"{name:<34}{rows[0]:>8.2f}{rows[1]:>9.2f}{ratio:>8.2f}{best:>8.2f}")

    if DISTURBED:
        print(f"\n{len(DISTURBED)} measurements never had the cores to themselves: the machine is busy")

    when = datetime.now(timezone.utc)
    report = {"date": when.isoformat(timespec="seconds"), "command": sys.argv, "python": sys.version, "gil": gil}
    report |= {"machine": platform.platform(), "cycles_ns": cycles, "rates": rates, "disturbed": len(DISTURBED)}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"scaling-{when:%Y%m%d-%H%M%S}.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
