"""The registry of the pools that metrics show: those with a name, and those that were given to an exporter.

A pool with a name is registered when it is constructed, which takes some microseconds; it costs nothing after that.
"""

from __future__ import annotations

import itertools
import time
import weakref

from opool._opool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from opool._stats import PoolStats

_STARTED = time.time_ns()


class Entry:
    """A registered pool.

    Attributes:
        pool: a weak reference: metrics keep no pool alive.
        name: the name of the pool, or "unnamed".
        named: whether the pool has a name of its own.
        since: a time (nanoseconds since 1970) at which all counters of the pool were 0.
        labels: the first is the label of the pool. Two threads may choose one at the same time, and each appends; so no
            lock is needed, which a fork or a destructor could find locked.
        replaced: whether another pool has taken over its label.
    """

    def __init__(self, pool: Pool[Any], reference: weakref.ref[Pool[Any]]) -> None:
        self.pool = reference
        self.name = pool.name or "unnamed"
        self.named = pool.name is not None
        self.since = time.time_ns() if self.named else _STARTED
        self.labels: list[str] = []
        self.replaced = False


# By `id`, because a subclass may have no hash. An entry is removed before the memory of its pool can be another's.
_entries: dict[int, Entry] = {}


def register(pool: Pool[Any]) -> Entry:
    """Register a pool, unless it is registered. Called for a pool with a name before it counts anything."""
    key = id(pool)
    if key not in _entries:

        def remove(_: object, entries: dict[int, Entry] = _entries) -> None:
            entries.pop(key, None)

        _entries[key] = Entry(pool, weakref.ref(pool, remove))
    return _entries[key]


def _labelled() -> dict[str, tuple[Entry, Pool[Any]]]:
    """Return all pools by label, in the order of registration.

    A label is a pool's for life, so its counters never decrease. Pools of one name that are open at the same time are
    told apart by a number. A closed pool is still shown, with its last values, until it is deleted or a new pool takes
    over its name.
    """
    found: dict[str, tuple[Entry, Pool[Any]]] = {}
    for entry in list(_entries.values()):
        pool = entry.pool()
        if pool is None or entry.replaced:
            continue
        if not entry.labels:
            label, numbers = entry.name, itertools.count(2)
            while label in found and not found[label][1].closed:
                label = f"{entry.name}-{next(numbers)}"
            entry.labels.append(label)
        label = entry.labels[0]
        if label in found:
            found[label][0].replaced = True
        found[label] = entry, pool
    return found


def snapshot(only: Sequence[Entry] | None) -> Iterator[tuple[str, Entry, PoolStats]]:
    """Yield the label, the entry and the statistics of each of these pools, or, for None, of each that has a name."""
    for label, (entry, pool) in _labelled().items():
        if entry.named if only is None else entry in only:
            yield label, entry, pool.stats()


def entries_of(pools: Sequence[Pool[Any]]) -> Sequence[Entry] | None:
    """Return the entries of these pools, for `snapshot`; None if there are no pools.

    Raises:
        TypeError: if one of them is not a pool.
    """
    for pool in pools:
        if not isinstance(pool, Pool):
            raise TypeError(f"metrics are of opool.Pool objects, not {pool!r}")
    return [register(pool) for pool in pools] or None
