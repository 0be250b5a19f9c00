"""Measures `opool` against plain Python in one process, in interleaved rounds, and prints one table of medians.

Every round runs each subject of a comparison once, so that a slow moment of the machine hits them all alike: read the
ratios, not the nanoseconds. The raw numbers, with machine, versions, date and command, go to benches/results/.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import threading
import time
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from timeit import Timer
from typing import Any, NamedTuple

import baselines
import opool
from algorithms.palindrome import Solution as Palindrome
from algorithms.triplets import Solution as Triplets

RESULTS = Path(__file__).resolve().parent / "results"


class Comparison(NamedTuple):
    """One job done by several subjects; the first is ours. Each subject is a statement for `timeit`."""

    name: str
    subjects: dict[str, str]
    names: dict[str, Any]


def random_numbers(count: int, limit: int) -> list[int]:
    source = random.Random(20_26)
    return [source.randint(-limit, limit) for _ in range(count)]


def palindromes() -> list[Comparison]:
    found = []
    for title, length in (("10 characters", 10), ("1 kB", 1_000), ("1 MB", 1_000_000)):
        half = "".join(random.Random(length).choices("abcdefghijklmnopqrstuvwxyz", k=length // 2))
        names = {"ours": Palindrome().is_palindrom, "plain": baselines.is_palindrome, "text": half + half[::-1]}
        found.append(Comparison(f"palindrome, {title}", {"opool": "ours(text)", "plain Python": "plain(text)"}, names))
    return found


def triplets() -> list[Comparison]:
    found = []
    for title, count, limit in (("n = 1,000", 1_000, 10**6), ("n = 5,000", 5_000, 10**6), ("76,000 out", 1_500, 2_000)):
        numbers = random_numbers(count, limit)
        names = {"ours": Triplets, "plain": baselines.triplets, "numbers": numbers}
        subjects = {"opool": "ours().get_triplets(numbers[:])", "plain Python": "plain(numbers[:])"}
        found.append(Comparison(f"triplets, {title}", subjects, names))
    return found


def comparisons() -> list[Comparison]:
    pools = {
        "pool": opool.Pool([object() for _ in range(4)]),
        "queued": baselines.QueuePool([object() for _ in range(4)]),
        "idle": deque(object() for _ in range(4)),
        "lock": threading.Lock(),
    }
    managers = {"ours": opool.ObjectMgr(1_000), "plain": baselines.DequeManager(1_000)}
    return [
        Comparison(
            "lease and give back",
            {
                "opool": "with pool.lease() as obj: pass",
                "with lock": "with lock: pass",
                "queue.Queue": "with queued.lease() as obj: pass",
            },
            pools,
        ),
        Comparison(
            "acquire and release",
            {"opool": "pool.release(pool.acquire())", "deque": "obj = idle.popleft(); idle.append(obj)"},
            pools,
        ),
        Comparison(
            "get_object, free_object",
            {
                "opool": "ours.free_object(ours.get_object())",
                "deque and set": "plain.free_object(plain.get_object())",
            },
            managers,
        ),
        *palindromes(),
        *triplets(),
    ]


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure(comparison: Comparison, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Nanoseconds per statement of every subject in every round."""
    timers = {label: Timer(statement, globals=comparison.names) for label, statement in comparison.subjects.items()}
    loops = {}
    for label, timer in timers.items():
        once, loops[label] = timer.timeit(1), 1
        while once < seconds and loops[label] < 10**8:
            loops[label] = max(loops[label] * 2, int(loops[label] * seconds / max(once, 1e-9) / 2))
            once = timer.timeit(loops[label])
    measured: dict[str, list[float]] = {label: [] for label in timers}
    for done in range(rounds):
        progress(f"{comparison.name}: round {done + 1} of {rounds}")
        for label, timer in timers.items():
            measured[label].append(timer.timeit(loops[label]) / loops[label] * 1e9)
    progress("")
    return measured


def machine() -> str:
    """The processor's name where the system tells, and how many of its threads there are."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.partition(":")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = models[0].strip() if models else name
    return f"{name}, {os.cpu_count()} threads, {platform.system()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    quick = parser.parse_args().quick
    rounds, seconds = (5, 0.01) if quick else (25, 0.03)

    started = time.monotonic()
    now = datetime.now(timezone.utc)
    report: dict[str, Any] = {
        "date": now.isoformat(timespec="seconds"),
        "command": "make bench-quick" if quick else "make bench",
        "machine": machine(),
        "python": platform.python_version(),
        "opool": opool.__version__,
        "rounds": rounds,
        "nanoseconds": {},
    }
    print(f"{report['machine']}; CPython {report['python']}; opool {report['opool']}; {report['date']}")
    print(f"{'':26} {'':14} {'ns (median)':>14} {'x opool':>9}")
    for comparison in comparisons():
        measured = measure(comparison, rounds, seconds)
        report["nanoseconds"][comparison.name] = measured
        medians = {label: statistics.median(values) for label, values in measured.items()}
        ours = next(iter(medians.values()))
        for label, median in medians.items():
            title = comparison.name if label == "opool" else ""
            print(f"{title:26} {label:14} {median:>14,.1f} {median / ours:>9.2f}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s; raw numbers in benches/results/{path.name}")


if __name__ == "__main__":
    main()
