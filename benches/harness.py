"""How everything that takes nanoseconds is measured: in interleaved rounds, in one process.

Every round runs a chunk of each case, one after the other, so that a slow moment of the machine hits them all alike. A
figure is the median over the rounds, less what the empty loop takes; a ratio is taken in each round, and is the median
of those. The clock is the thread's own: what other processes take from the core is not counted. Ratios travel between
machines; nanoseconds do not.
"""

from __future__ import annotations

import gc
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median, quantiles
from time import thread_time_ns
from typing import Any, Callable, NamedTuple

Chunk = Callable[[int], int]
# How far an area is: steps done, steps in all, what is measured now.
Tell = Callable[[int, int, str], None]

CHUNK_OPERATIONS = 2_000
CHUNK_NS = 400_000  # slower cases run fewer operations a chunk, but never fewer than this allows


class Effort(NamedTuple):
    """How hard to try."""

    share_of_rounds: float
    contended_rounds: int
    contended_seconds: float
    signals: int


FULL = Effort(share_of_rounds=1.0, contended_rounds=3, contended_seconds=1.0, signals=100)
QUICK = Effort(share_of_rounds=0.25, contended_rounds=1, contended_seconds=0.4, signals=20)


@dataclass(frozen=True)
class Case:
    """One way to do a job: a statement, run in a loop, and the names it uses.

    `prepare` runs before the clock starts. `each` is what the loop goes over; the statement sees it as `item`. With
    `run`, an event loop's `run_until_complete`, the statement may await.
    """

    label: str
    statement: str
    names: Mapping[str, Any] = field(default_factory=dict)
    times: int = 0  # operations a chunk; 0: as many as are good for the clock
    prepare: str = "pass"
    each: str = "repeat(None, times)"
    run: Callable[[Coroutine[Any, Any, int]], int] | None = None

    def compiled(self) -> Chunk:
        """A function that runs the statement `times` times and returns the nanoseconds it took."""
        parameters = "".join(f", {name}={name}" for name in self.names)  # arguments are what the loop finds quickest
        source = (
            f"{'async ' if self.run else ''}def chunk(times, now=now, repeat=repeat{parameters}):\n"
            f"    {self.prepare}\n"
            f"    start = now()\n"
            f"    for item in {self.each}:\n"
            f"        {self.statement}\n"
            f"    return now() - start\n"
        )
        space: dict[str, Any] = {**self.names, "now": thread_time_ns, "repeat": repeat}
        exec(compile(source, self.label, "exec"), space)
        chunk: Callable[[int], Any] = space["chunk"]
        run = self.run
        return chunk if run is None else lambda times: run(chunk(times))


@dataclass(frozen=True)
class Comparison:
    """One job, done in several ways; the first is ours. Who cannot take part is in `absent`, with the reason."""

    name: str
    cases: list[Case]
    rounds: int = 400
    absent: Mapping[str, str] = field(default_factory=dict)


EMPTY = Case("empty loop", "pass").compiled()


def good_times(chunk: Chunk) -> int:
    """How many operations a chunk should have."""
    chunk(10)
    took = min(chunk(20) for _ in range(3)) / 20
    return int(min(CHUNK_OPERATIONS, max(CHUNK_NS / max(took, 1), 10)))


def measure(comparison: Comparison, effort: Effort) -> dict[str, Any]:
    """The figures of each case: `ns` (median), `quartiles`, and `ratio`, how many times longer than ours it takes."""
    chunks = [(case, case.compiled()) for case in comparison.cases]
    sized = [(case.label, chunk, case.times or good_times(chunk)) for case, chunk in chunks]
    took: dict[str, list[float]] = {label: [] for label, _, _ in sized}
    empty = []
    rounds = max(int(comparison.rounds * effort.share_of_rounds), 3)
    gc.collect()
    gc.disable()
    try:
        for done in range(rounds):
            empty.append(EMPTY(CHUNK_OPERATIONS) / CHUNK_OPERATIONS)
            first = done % len(sized)  # nobody always comes after the same one
            for label, chunk, times in sized[first:] + sized[:first]:
                took[label].append(chunk(times) / times)
    finally:
        gc.enable()
    loop = median(empty)
    net = {label: [max(each - loop, 0.01) for each in values] for label, values in took.items()}
    ours = net[sized[0][0]]
    found: dict[str, Any] = {}
    for label, values in net.items():
        quarters = quantiles(values, n=4)
        found[label] = {
            "ns": median(values),
            "quartiles": [quarters[0], quarters[2]],
            "ratio": median(theirs / own for own, theirs in zip(ours, values)),
        }
    for label, reason in comparison.absent.items():
        found[label] = {"absent": reason}
    return found


def measure_all(comparisons: list[Comparison], effort: Effort, tell: Tell) -> dict[str, Any]:
    """The figures of several comparisons, by name."""
    found = {}
    for done, comparison in enumerate(comparisons):
        tell(done, len(comparisons), comparison.name)
        found[comparison.name] = measure(comparison, effort)
    tell(len(comparisons), len(comparisons), "")
    return found
