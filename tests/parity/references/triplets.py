"""The triplet search in plain Python."""

from __future__ import annotations

from typing import Any


def get_triplets(s: list[Any], found: list[list[Any]]) -> None:
    """Append the triplets to `found`, which shows what was found should an operation raise."""
    s.sort()
    for place, value in enumerate(s):
        left, right = place + 1, len(s) - 1
        while left < right:
            if value + s[left] + s[right] == 0:
                found.append([value, s[left], s[right]])
                left += 1
                right -= 1
            elif value + s[left] + s[right] < 0:
                left += 1
            else:
                right -= 1
