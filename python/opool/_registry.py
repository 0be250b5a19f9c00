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


class Known:
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
_known: dict[int, Known] = {}


def join(pool: Pool[Any]) -> Known:
    """Makes a pool known, once. Those with a name call this when they are made, before anything is counted."""
    key = id(pool)
    if key not in _known:

        def forget(_: object, all_known: dict[int, Known] = _known) -> None:
            all_known.pop(key, None)

        _known[key] = Known(pool, weakref.ref(pool, forget))
    return _known[key]


def _labelled() -> dict[str, tuple[Known, Pool[Any]]]:
    """All pools by label, in the order in which they became known.

    A label is a pool's for life, so that its counters never fall. Pools of one name that live at the same time are told
    apart by a number. A pool that is closed can still be seen, for the last of its figures, until it is gone or a new
    one takes over its name.
    """
    found: dict[str, tuple[Known, Pool[Any]]] = {}
    for known in list(_known.values()):
        pool = known.pool()
        if pool is None or known.over:
            continue
        if not known.labels:
            label, numbers = known.name, itertools.count(2)
            while label in found and not found[label][1].closed:
                label = f"{known.name}-{next(numbers)}"
            known.labels.append(label)
        label = known.labels[0]
        if label in found:
            found[label][0].over = True
        found[label] = known, pool
    return found


def look(only: Sequence[Known] | None) -> Iterator[tuple[str, Known, PoolStats]]:
    """The label and the figures of each of these pools that is alive; of all that have a name if there are none."""
    for label, (known, pool) in _labelled().items():
        if known.named if only is None else known in only:
            yield label, known, pool.stats()


def chosen(pools: Sequence[Pool[Any]]) -> Sequence[Known] | None:
    """For `look`: these pools, or all that have a name if there are none.

    Raises:
        TypeError: if one of them is something else.
    """
    from opool import Pool

    for pool in pools:
        if not isinstance(pool, Pool):
            raise TypeError(f"metrics are of opool.Pool objects, not {pool!r}")
    return [join(pool) for pool in pools] or None
