"""What the figures should be. Each target is a ratio taken in one process, or between neighbours of one run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from areas import ids
from areas.algorithms import PLAIN
from areas.lease import LEASE, NULLS, PAIR, WITHIN
from areas.task_peers import QUEUED as TASK_QUEUE
from areas.task_peers import SEMAPHORE
from areas.tasks import FREE

# By Python version: how many times the null context manager and `with lock` a lease may take, and how many times
# faster than the queue.Queue design it must be. For builds without PGO; elsewhere the figures are only reported.
LEASE_LIMITS = {
    "3.9": (None, None, 30),
    "3.10": (None, None, 30),
    "3.11": (1.10, 0.25, 40),
    "3.12": (1.12, 0.22, 40),
    "3.13": (1.10, 0.22, 40),
}
PAIR_LIMIT = 1.2
WITHIN_LIMIT = 1.10
ALGORITHMS = {
    "palindrome: letters, 10": 10,
    "palindrome: letters, 1 kB": 50,
    "palindrome: letters, 1 MB": 70,
    "triplets: n = 1,000": 100,
    "triplets: n = 5,000": 120,
    "triplets: 76,000 found": 40,
}
# By Python version: how many times `async with semaphore` an `async with pool.lease_async()` may take.
TASK_LIMITS = {"3.11": 0.10, "3.13": 0.17}
TASKS_OFF_MEAN, MIXED_LOWEST = 0.05, 0.9
# A pair of get and free, in nanoseconds, and how many times faster than the plain one it must be; as above.
IDS_LIMITS = {"3.11": (33, 4.5)}
QUEUED = "queue.Queue design"
BACKSTOP_MS, BUSY_THREAD_MS = 20, 5


class Target(NamedTuple):
    """A figure beside its limit. `section` and `row` say where in the table it belongs."""

    section: str
    row: str
    what: str
    measured: float
    limit: float
    at_most: bool

    @property
    def met(self) -> bool:
        """Judged as it is printed, to three digits."""
        measured = float(f"{self.measured:.3g}")
        return measured <= self.limit if self.at_most else measured >= self.limit


def contended_section(row: dict[str, Any]) -> str:
    """The title of a configuration."""
    cores = "1 core" if row["cores"] == 1 else f"{row['cores']} cores"
    body = "empty body" if row["body"] == "empty" else "100 us body"
    return f"{row['threads']} threads, {cores}, {body}"


def tasks_section(row: dict[str, Any]) -> str:
    """The title of a configuration of tasks, or of what one kind of worker does in it."""
    if row["mixed"]:
        return f"4 threads, 400 tasks: {row['kind']}"
    return f"1,000 tasks, 10 objects, {row['event_loop']}"


def floor(figures: dict[str, Any]) -> str:
    """The better of the null context managers."""
    return min(NULLS, key=lambda label: float(figures[label]["ns"]))


def of_lease(report: dict[str, Any]) -> Iterator[Target]:
    """The lease without contention."""
    timings = report["timings"]
    figures = timings[LEASE]
    null, lock, queued = LEASE_LIMITS.get(report["python"].rpartition(".")[0], (None, None, None))
    if "no PGO" not in report["build"] or "free-threaded" in report["build"]:
        null = lock = queued = None
    best = floor(figures)
    if null:
        yield Target(LEASE, best, "x null", 1 / figures[best]["ratio"], null, True)
    if lock:
        yield Target(LEASE, "with lock", "x lock", 1 / figures["with lock"]["ratio"], lock, True)
    if queued:
        yield Target(LEASE, QUEUED, "times faster", figures[QUEUED]["ratio"], queued, False)
    yield Target(PAIR, "deque", "x deque", 1 / timings[PAIR]["deque"]["ratio"], PAIR_LIMIT, True)
    label = "opool, lease()"
    yield Target(WITHIN, label, "x lease()", 1 / timings[WITHIN][label]["ratio"], WITHIN_LIMIT, True)


def of_algorithms(report: dict[str, Any]) -> Iterator[Target]:
    """How many times faster than plain Python."""
    for name in sorted(ALGORITHMS.keys() & report["timings"].keys()):
        limit = ALGORITHMS[name]
        yield Target(name, PLAIN, "times faster", report["timings"][name][PLAIN]["ratio"], limit, False)


def of_ids(report: dict[str, Any]) -> Iterator[Target]:
    """One at a time, and a thousand at a time."""
    timings = report["timings"]
    pair, times = IDS_LIMITS.get(report["python"].rpartition(".")[0], (None, None))
    if pair and times and "no PGO" in report["build"]:
        for name in (ids.FRESH, ids.FREED):
            yield Target(name, "opool", "ns", timings[name]["opool"]["ns"], pair, True)
            yield Target(name, ids.PLAIN, "times faster", timings[name][ids.PLAIN]["ratio"], times, False)
    as_list = 1 / timings[ids.LIST][ids.LIST_OF_RANGE]["ratio"]
    yield Target(ids.LIST, ids.LIST_OF_RANGE, "x list(range)", as_list, 1.2, True)
    yield Target(ids.ARRAY, "opool", "ns an id", timings[ids.ARRAY]["opool"]["ns"] / 1e3, 2, True)
    yield Target(ids.RANGE, "opool", "ns an id", timings[ids.RANGE]["opool"]["ns"] / 1e6, 0.1, True)


def of_contention(report: dict[str, Any]) -> Iterator[Target]:
    """Throughput and fairness, configuration by configuration."""
    sections: dict[str, dict[str, dict[str, Any]]] = {}
    for row in report["contention"]:
        if "absent" not in row:
            sections.setdefault(contended_section(row), {})[row["subject"]] = row
    for section, rows in sections.items():
        if "opool" not in rows or QUEUED not in rows:
            continue
        ours, queued = rows["opool"], rows[QUEUED]
        others = [row for name, row in rows.items() if not name.startswith("opool")]
        throughput = ours["throughput"] / queued["throughput"]
        if ours["body"] == "empty":
            yield Target(section, "opool", "x queue", throughput, 1.8, False)
            continue
        yield Target(section, "opool", "x queue", throughput, 1.0, False)
        best = max(row["throughput"] for row in others)
        yield Target(section, "opool", "x best peer", ours["throughput"] / best, 0.97, False)
        yield Target(section, "opool", "max/min", ours["fairness"], 1.05, True)
        if ours["threads"] == 64:
            yield Target(section, "opool", "p99.9 x queue", ours["p99.9"] / queued["p99.9"], 1 / 20, True)


def of_signals(report: dict[str, Any]) -> Iterator[Target]:
    """The latest Ctrl-C."""
    for row in report["signals"]:
        if row["subject"] == "opool":
            limit = BACKSTOP_MS + BUSY_THREAD_MS * row["busy"]
            yield Target(f"Ctrl-C, {row['busy']} busy", "opool", "latest, ms", row["max"], limit, True)


def of_tasks(report: dict[str, Any]) -> Iterator[Target]:
    """A lease in a task, and how a thousand of them share ten objects."""
    if FREE in report["timings"]:
        limit = TASK_LIMITS.get(report["python"].rpartition(".")[0])
        if limit and "free-threaded" not in report["build"]:
            yield Target(FREE, SEMAPHORE, "x Semaphore", 1 / report["timings"][FREE][SEMAPHORE]["ratio"], limit, True)
    rows = [row for row in report["tasks"] if "absent" not in row]
    queued = {tasks_section(row): row["throughput"] for row in rows if row["subject"] == TASK_QUEUE}
    for row in rows:
        section = tasks_section(row)
        if row["subject"] != "opool":
            continue
        if row["mixed"]:
            yield Target(section, "opool", "idlest/mean", row["low"], MIXED_LOWEST, False)
            continue
        if section in queued:
            yield Target(section, "opool", "x asyncio.Queue", row["throughput"] / queued[section], 2, False)
        yield Target(section, "opool", "off the mean", max(1 - row["low"], row["high"] - 1), TASKS_OFF_MEAN, True)


def judge(report: dict[str, Any]) -> list[Target]:
    """All targets that the report holds figures for."""
    lease = of_lease(report) if LEASE in report["timings"] else ()
    numbers = of_ids(report) if ids.FRESH in report["timings"] else ()
    rest = (of_algorithms(report), of_contention(report), of_signals(report), of_tasks(report))
    return [*lease, *numbers, *(target for targets in rest for target in targets)]
