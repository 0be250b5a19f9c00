"""`ObjectMgr` beside the usual manager in plain Python, a deque and a set.

Both run in turn in one process, a chunk each, so that what disturbs one disturbs the other. A figure is the median over
the rounds, less what the empty loop takes; a ratio is the median of the ratios of each round.

    taskset -c 1 python benches/compare_objectmgr.py [--quick]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Protocol, TypedDict

from opool._opool import ObjectMgr


class PlainObjectMgr:
    """The least that does the job in plain Python."""

    def __init__(self, n: int) -> None:
        self.fresh = deque(range(1, n))
        self.allocated: set[int] = set()
        self.freed: deque[int] = deque()

    def get_object(self) -> int | None:
        if self.fresh:
            obj = self.fresh.popleft()
        elif self.freed:
            obj = self.freed.popleft()
        else:
            return None
        self.allocated.add(obj)
        return obj

    def free_object(self, obj: int, /) -> int:
        if obj not in self.allocated:
            raise ValueError("Object is not currently allocated.")
        self.allocated.remove(obj)
        self.freed.append(obj)
        return obj


class Manager(Protocol):
    """What both of them do."""

    def get_object(self) -> int | None: ...
    def free_object(self, obj: int, /) -> object: ...


class Row(TypedDict):
    """One line of the table. Times are for one operation."""

    what: str
    opool_ns: float
    plain_ns: float
    ratio: float


Chunk = Callable[[Manager, int], float]


def pairs(mgr: Manager, times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        mgr.free_object(mgr.get_object())  # type: ignore[arg-type]
    return time.perf_counter() - begin


def gets(mgr: Manager, times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        mgr.get_object()
    return time.perf_counter() - begin


def frees(mgr: Manager, times: int) -> float:
    held = [mgr.get_object() for _ in range(times)]
    begin = time.perf_counter()
    for i in held:
        mgr.free_object(i)  # type: ignore[arg-type]
    return time.perf_counter() - begin


def nothing(times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        pass
    return time.perf_counter() - begin


def used(mgr: Manager, n: int) -> Manager:
    """Every id was given, and every other one came back."""
    while mgr.get_object() is not None:
        pass
    for i in range(1, n, 2):
        mgr.free_object(i)
    return mgr


def compare(what: str, chunk: Chunk, ours: Manager, plain: Manager, rounds: int, times: int) -> Row:
    ours_s, plain_s, empty_s = [], [], []
    for _ in range(rounds):
        ours_s.append(chunk(ours, times))
        plain_s.append(chunk(plain, times))
        empty_s.append(nothing(times))
    empty = median(empty_s)
    return {
        "what": what,
        "opool_ns": (median(ours_s) - empty) / times * 1e9,
        "plain_ns": (median(plain_s) - empty) / times * 1e9,
        "ratio": median((theirs - empty) / (own - empty) for own, theirs in zip(ours_s, plain_s)),
    }


def compare_construction(n: int, rounds: int) -> Row:
    ours_s, plain_s = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        ObjectMgr(n)
        between = time.perf_counter()
        PlainObjectMgr(n)
        plain_s.append(time.perf_counter() - between)
        ours_s.append(between - begin)
    return {
        "what": f"ObjectMgr({n:,})",
        "opool_ns": median(ours_s) * 1e9,
        "plain_ns": median(plain_s) * 1e9,
        "ratio": median(theirs / own for own, theirs in zip(ours_s, plain_s)),
    }


def rows(quick: bool = False) -> list[Row]:
    """Measures everything.

    Args:
        quick: a tenth of the rounds, for a first look.

    Returns:
        A row for each workload; the first is the one that the project promises a ratio for.

    Example:
        >>> rows(quick=True)[0]["what"]
        'get + free, fresh ids'
    """
    rounds = 40 if quick else 400
    times = 2000
    fresh_n = 2 * rounds * times
    used_n = 100_001
    return [
        compare("get + free, fresh ids", pairs, ObjectMgr(fresh_n), PlainObjectMgr(fresh_n), rounds, times),
        compare(
            "get + free, freed ids", pairs, used(ObjectMgr(used_n), used_n), used(PlainObjectMgr(used_n), used_n),
            rounds, times,
        ),
        compare("get + free, 200 ids", pairs, used(ObjectMgr(200), 200), used(PlainObjectMgr(200), 200), rounds, times),
        compare("get", gets, ObjectMgr(fresh_n), PlainObjectMgr(fresh_n), rounds, times),
        compare("free", frees, ObjectMgr(fresh_n), PlainObjectMgr(fresh_n), rounds, times),
        compare_construction(100_000, max(rounds // 10, 5)),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    quick = parser.parse_args().quick
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}; ns an operation")
    print(f"{'':24}{'opool':>10}{'plain':>12}{'times':>10}")
    for row in rows(quick):
        print(f"{row['what']:24}{row['opool_ns']:10.1f}{row['plain_ns']:12.1f}{row['ratio']:10.1f}")


if __name__ == "__main__":
    main()
