"""Iteration over sets that other threads change."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    _T = TypeVar("_T")


def snapshot(items: Iterable[_T]) -> list[_T]:
    """Copy a set while other threads may add to it."""
    while True:
        try:
            return list(items)
        except RuntimeError:  # it changed during the iteration
            continue
