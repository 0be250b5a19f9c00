"""The pools that metrics know of: those with a name, and those that somebody named to them.

A pool with a name joins when it is made, which takes some microseconds. After that it costs nothing until somebody
looks.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opool import Pool, PoolStats

_BEGAN = time.time_ns()


class Entry:
    """A pool, until it is gone.

    Attributes:
        pool: a weak reference: nobody keeps a pool alive by looking at it.
        name: what it would like to be called.
        named: whether that is a name of its own.
        since: a time (nanoseconds since 1970) at which it had counted nothing yet.
        labels: what it is called comes first. Two threads may choose at the same time, and each appends; so no lock is
            needed, which a fork or a destructor could find taken.
        over: whether another pool has taken over its label.
    """

    def __init__(self, pool: Pool[Any], reference: weakref.ref[Pool[Any]]) -> None:
        self.pool = reference
        self.name = pool.name or "unnamed"
        self.named = pool.name is not None
        self.since = time.time_ns() if self.named else _BEGAN
        self.labels: list[str] = []
        self.over = False


# By `id`, because a subclass may be without a hash. A pool leaves before its memory can be another's.
_entries: dict[int, Entry] = {}


def register(pool: Pool[Any]) -> Entry:
    """Register a pool, once. A pool with a name calls this when it is constructed, before it counts anything."""
    key = id(pool)
    if key not in _entries:

        def forget(_: object, entries: dict[int, Entry] = _entries) -> None:
            entries.pop(key, None)

        _entries[key] = Entry(pool, weakref.ref(pool, forget))
    return _entries[key]


def _labelled() -> dict[str, tuple[Entry, Pool[Any]]]:
    """All pools by label, in the order of their registration.

    A label is a pool's for life, so that its counters never fall. Pools of one name that live at the same time are told
    apart by a number. A pool that is closed can still be seen, for the last of its figures, until it is gone or a new
    one takes over its name.
    """
    found: dict[str, tuple[Entry, Pool[Any]]] = {}
    for entry in list(_entries.values()):
        pool = entry.pool()
        if pool is None or entry.over:
            continue
        if not entry.labels:
            label, numbers = entry.name, itertools.count(2)
            while label in found and not found[label][1].closed:
                label = f"{entry.name}-{next(numbers)}"
            entry.labels.append(label)
        label = entry.labels[0]
        if label in found:
            found[label][0].over = True
        found[label] = entry, pool
    return found


def snapshot(only: Sequence[Entry] | None) -> Iterator[tuple[str, Entry, PoolStats]]:
    """The label and the figures of each of these pools that is alive; of all that have a name if there are none."""
    for label, (entry, pool) in _labelled().items():
        if entry.named if only is None else entry in only:
            yield label, entry, pool.stats()


def entries_of(pools: Sequence[Pool[Any]]) -> Sequence[Entry] | None:
    """For `snapshot`: these pools, or all that have a name if there are none.

    Raises:
        TypeError: if one of them is something else.
    """
    from opool._opool import Pool

    for pool in pools:
        if not isinstance(pool, Pool):
            raise TypeError(f"metrics are of opool.Pool objects, not {pool!r}")
    return [register(pool) for pool in pools] or None
