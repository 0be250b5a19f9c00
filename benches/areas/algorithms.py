"""The two algorithms against plain Python. Each side must first give the same answer."""

from __future__ import annotations

import random
import string
from typing import Any, NamedTuple

from algorithms.palindrome import Solution as Palindrome
from algorithms.triplets import Solution as Triplets
from harness import Case, Comparison
from parity.references.palindrome import is_palindrome
from parity.references.triplets import get_triplets

OURS, PLAIN = "opool", "plain Python"


class Text(NamedTuple):
    """A kind of palindrome, so that every character is read."""

    name: str
    alphabet: str
    length: int


TEXTS = [
    Text("letters, 10", string.ascii_letters, 10),
    Text("letters, 1 kB", string.ascii_letters, 1_000),
    Text("letters, 1 MB", string.ascii_letters, 1_000_000),
    Text("prose, 1 kB", string.ascii_letters + "  ,.", 1_000),
    Text("prose, 1 MB", string.ascii_letters + "  ,.", 1_000_000),
    Text("Greek, 1 kB", "".join(map(chr, range(0x3B1, 0x3C2))), 1_000),
]
# How many distinct ints, in random order, from -limit to limit.
LISTS = {"n = 1,000": (1_000, 10**6), "n = 5,000": (5_000, 10**6), "76,000 found": (5_000, 10**5)}


def plain_triplets(numbers: list[int]) -> list[list[int]]:
    found: list[list[int]] = []
    get_triplets(numbers, found)
    return found


def palindrome(text: Text) -> Comparison:
    half = "".join(random.Random(text.length).choices(text.alphabet, k=text.length // 2))
    names = {"text": half + half[::-1]}
    functions = {OURS: Palindrome().is_palindrom, PLAIN: is_palindrome}
    assert all(function(names["text"]) for function in functions.values())
    times = max(100_000 // text.length // 2, 1)
    cases = [Case(label, "call(text)", {"call": call, **names}, times) for label, call in functions.items()]
    return Comparison(f"palindrome: {text.name}", cases, rounds=24)


def triplets(name: str, count: int, limit: int) -> Comparison:
    numbers = random.Random(1).sample(range(-limit, limit + 1), count)
    assert Triplets().get_triplets(numbers[:]) == plain_triplets(numbers[:])

    def case(label: str, call: Any, times: int) -> Case:
        # Each call sorts a copy of its own. Freeing the results is not counted.
        return Case(
            label,
            "keep(call(item))",
            {"call": call, "numbers": numbers},
            times,
            prepare="copies = [numbers[:] for _ in range(times)]; keep = [].append",
            each="copies",
        )

    ours = case(OURS, Triplets().get_triplets, 10 if count <= 1_000 else 3)
    return Comparison(f"triplets: {name}", [ours, case(PLAIN, plain_triplets, 1)], rounds=9)


def comparisons() -> list[Comparison]:
    """Palindromes by length, triplets by how many numbers come in and how many triplets out."""
    return [*map(palindrome, TEXTS), *(triplets(name, *shape) for name, shape in LISTS.items())]
