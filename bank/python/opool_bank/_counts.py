"""How many items of a bank are in which state."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """How many items of a bank are in which state, from counters that every change keeps.

    Attributes:
        free: can be claimed, now or after their delay.
        leased: are held for a time; those whose lease ran out and that nobody took since are among them.
        given: were given for good.
        dead: used up their attempts.
        put: were ever put; those that were not to be kept are in no other number.
    """

    free: int
    leased: int
    given: int
    dead: int
    put: int


def counts_of(counts: dict[str, int]) -> Counts:
    """Picks the fields of `Counts` out of what a store says."""
    return Counts(*(counts[name] for name in Counts._fields))
