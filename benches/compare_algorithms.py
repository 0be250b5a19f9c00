"""The two algorithms against plain Python, as ratios taken in one process.

    python benches/compare_algorithms.py [--quick]

Each round times both sides one after the other, so that a slow moment of the machine hits both; the figure is the
median of the rounds' ratios. The plain versions are as quick as a few lines of ordinary Python get.
"""

from __future__ import annotations

import argparse
import copy
import platform
import random
import statistics
import string
import time
from typing import Any, Callable, NamedTuple

from algorithms.palindrome import Solution as Palindrome
from algorithms.triplets import Solution as Triplets


class Row(NamedTuple):
    """One comparison. Times are medians, in nanoseconds a call."""

    name: str
    plain: float
    ours: float
    ratio: float
    wanted: float


def plain_palindrome(text: str) -> bool:
    """Keep letters and digits, lower them, compare."""
    counted = "".join([c for c in text if c.isalnum()]).lower()
    return counted == counted[::-1]


def plain_triplets(s: list[Any]) -> list[list[Any]]:
    """Two pointers for each value of the sorted list."""
    s.sort()
    found = []
    for place, value in enumerate(s):
        left, right = place + 1, len(s) - 1
        while left < right:
            total = value + s[left] + s[right]
            if total == 0:
                found.append([value, s[left], s[right]])
                left += 1
                right -= 1
            elif total < 0:
                left += 1
            else:
                right -= 1
    return found


def time_of(call: Callable[[Any], object], arguments: list[Any]) -> float:
    """Nanoseconds a call, over calls with each of the arguments. Freeing the results is not counted."""
    results: list[object] = []
    keep = results.append
    start = time.perf_counter_ns()
    for argument in arguments:
        keep(call(argument))
    return (time.perf_counter_ns() - start) / len(arguments)


def compare(
    name: str,
    plain: Callable[[Any], object],
    ours: Callable[[Any], object],
    argument: Any,
    calls: tuple[int, int],
    rounds: int,
    wanted: float,
) -> Row:
    """Interleave `rounds` rounds of `calls` (plain, ours) calls, each with a copy of the argument of its own."""
    if plain(copy.copy(argument)) != ours(copy.copy(argument)):
        raise AssertionError(f"{name}: the results differ")
    times = []
    for _ in range(rounds):
        one = time_of(plain, [copy.copy(argument) for _ in range(calls[0])])
        other = time_of(ours, [copy.copy(argument) for _ in range(calls[1])])
        times.append((one, other, one / other))
    medians = [statistics.median(column) for column in zip(*times)]
    return Row(name, medians[0], medians[1], medians[2], wanted)


def palindrome_rows(quick: bool) -> list[Row]:
    """Palindromes, so that every character is read."""
    random.seed(1)
    rows = []
    letters, prose = string.ascii_letters, string.ascii_letters + "  ,."
    greek = "".join(map(chr, range(0x3B1, 0x3C2)))
    cases = [
        ("letters", letters, 10, 10.0),
        ("letters", letters, 1000, 50.0),
        ("letters", letters, 1_000_000, 70.0),
        ("prose", prose, 1000, 0.0),
        ("prose", prose, 1_000_000, 0.0),
        ("Greek letters", greek, 1000, 0.0),
    ]
    for name, alphabet, length, wanted in cases:
        half = "".join(random.choices(alphabet, k=length // 2))
        text = half + half[::-1]
        calls = max(1, 100_000 // length)
        rounds = 5 if quick else 15
        ours = Palindrome().is_palindrom
        name = f"palindrome, {name}, {length:,} characters"
        rows.append(compare(name, plain_palindrome, ours, text, (calls, calls), rounds, wanted))
    return rows


def triplet_rows(quick: bool) -> list[Row]:
    """Distinct ints in random order; each call sorts a copy of its own."""
    random.seed(1)
    rows = []
    cases = [(1000, 10**6, 100.0), (5000, 10**6, 120.0), (5000, 10**5, 40.0)]
    for count, bound, wanted in cases:
        values = random.sample(range(-bound, bound + 1), count)
        found = len(plain_triplets(values[:]))
        name = f"triplets, n = {count:,}, {found:,} found"
        rounds = 3 if quick else 9
        calls = (1, 10 if count <= 1000 else 3)
        rows.append(compare(name, plain_triplets, Triplets().get_triplets, values, calls, rounds, wanted))
    return rows


def run(quick: bool = False) -> list[Row]:
    """Measure everything; `quick` takes fewer rounds."""
    return palindrome_rows(quick) + triplet_rows(quick)


def table(rows: list[Row]) -> str:
    """The rows as text, one a line."""
    lines = [f"{'':48}{'plain Python':>16}{'ours':>14}{'ratio':>9}{'wanted':>9}"]
    for row in rows:
        wanted = f"{row.wanted:.0f}x" if row.wanted else ""
        lines.append(f"{row.name:48}{row.plain:13,.0f} ns{row.ours:11,.0f} ns{row.ratio:8.1f}x{wanted:>9}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    print(f"Python {platform.python_version()}, {platform.machine()}")
    print(table(run(parser.parse_args().quick)))
