"""The statistics of a pool."""

from __future__ import annotations

from opool import _opool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import dataclass
    from typing import Any, NoReturn

    from opool._opool import Pool
else:
    from opool._records import dataclass

__all__ = ["Histogram", "PoolStats", "snapshot"]


@dataclass(frozen=True)
class Histogram:
    """A distribution of durations: how often something took how long.

    Attributes:
        bounds: the upper bounds of the buckets, in seconds.
        counts: for each bound, the durations up to it and above the bound before; then those above all bounds.
        sum: the sum of all durations, in seconds.

    Example:
        >>> import opool
        >>> opool.Pool(["a"]).stats().wait_time.count
        0
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.counts)


@dataclass(frozen=True)
class PoolStats:
    """The state and the counters of a pool at one moment, as `Pool.stats` returns them.

    ``made == idle + leased + creating + sum(retired.values())``, always. What is named in parentheses is the same value
    in OpenTelemetry's conventions, after `db.client.connection.`.

    Attributes:
        name: the name of the pool.
        size: the number of objects: idle + leased.
        idle: the objects that are free to take.
        leased: the objects that are out, being handed over to a waiter, or being checked.
        checking: of `leased`, those that are being checked or reset in the background.
        waiting: the threads and tasks that wait for an object (`pending_requests`).
        creating: the objects that are being created.
        min_size: the lower limit of `size` (`idle.min`).
        max_size: the upper limit of `size` (`max`); None if there is none.
        created: how many objects were added or created.
        create_failures: how many attempts to create one failed or timed out.
        retired: how many objects left the pool, by reason.
        leases: how many times an object was taken.
        timeouts: how many waits ended with a `PoolTimeout` (`timeouts`).
        refused: how many requests were refused at once, with `TooManyWaiters` or a `FactoryError`.
        wait_time: from entering the queue to leaving it, with an object or without (`wait_time`). A request that finds
            an object idle does not wait, and does not count here.
        create_time: the duration of each successful attempt to create an object (`create_time`).
        use_time: from taking an object to returning or discarding it, including the reset (`use_time`); only with
            ``timing=True`` or ``track=True``, which read the clock for each lease.

    Example:
        >>> import opool
        >>> stats = opool.Pool(["a", "b"], name="letters").stats()
        >>> stats.name, stats.size, stats.idle, stats.made
        ('letters', 2, 2, 2)
    """

    name: str | None
    size: int
    idle: int
    leased: int
    checking: int
    waiting: int
    creating: int
    min_size: int
    max_size: int | None
    created: int
    create_failures: int
    retired: Mapping[str, int]
    leases: int
    timeouts: int
    refused: int
    wait_time: Histogram
    create_time: Histogram
    use_time: Histogram

    @property
    def made(self) -> int:
        """How many objects were added or created, or are being created."""
        return self.created + self.creating


class _ReadOnlyDict(dict[str, int]):
    """A dict that cannot be changed. A `MappingProxyType` could neither be copied nor go into JSON."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a snapshot cannot be changed; dict() makes a copy that can")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[type[_ReadOnlyDict], tuple[dict[str, int]]]:
        return _ReadOnlyDict, (dict(self),)


def snapshot(pool: Pool[Any]) -> PoolStats:
    """Read all counters and sizes of `pool` at one moment."""
    figures = _opool._figures(pool)
    figures["retired"] = _ReadOnlyDict(figures["retired"])
    bounds = tuple(figures.pop("bounds"))
    for name in ("wait_time", "create_time", "use_time"):
        counts, total = figures[name]
        figures[name] = Histogram(bounds, tuple(counts), total)
    return PoolStats(name=pool.name, **figures)
