"""The figures of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from opool import _opool

if TYPE_CHECKING:
    from opool import Pool

__all__ = ["Histogram", "PoolStats", "snapshot"]


@dataclass(frozen=True)
class Histogram:
    """How often something took how long.

    Attributes:
        bounds: the upper bounds of the buckets, in seconds.
        counts: how often it took no longer than the bound in the same place and longer than the one before; one more
            than there are bounds, for what took longer than all of them.
        sum: how many seconds it took in all.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """How often in all."""
        return sum(self.counts)


@dataclass(frozen=True)
class PoolStats:
    """A pool at one moment. What OpenTelemetry has a name for is called as in `db.client.connection.*`.

    ``made == idle + leased + creating + sum(retired.values())``, always.

    Attributes:
        name: of the pool.
        size: how many objects there are: idle + leased.
        idle: free to take.
        leased: out, on the way to somebody who waits, or being checked.
        checking: of `leased`, those that are being checked or reset in the background.
        waiting: how many wait (`pending_requests`).
        creating: how many objects are being created.
        min_size: the limit (`idle.min`).
        max_size: the limit (`max`); None if there is none.
        created: how many objects have come in.
        create_failures: how many attempts to create one failed or were given up.
        retired: how many objects have gone, by reason.
        leases: how often an object was taken.
        timeouts: how many waits ended with a `PoolTimeout` (`timeouts`).
        refused: how many were not let into the queue: `TooManyWaiters`, or a `FactoryError` at once.
        wait_time: from joining the queue to leaving it, with an object or without (`wait_time`). Who finds an object
            does not wait, and is not here.
        create_time: of successful attempts to create an object (`create_time`).
        use_time: from taking to giving back or discarding, with the reset (`use_time`); only with ``timing=True``, or
            ``track=True``, which reads the clock as well.
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
        """How many objects have come in, or are being created."""
        return self.created + self.creating


class _Counts(dict[str, int]):
    """A dict that stays as it is. Not a `MappingProxyType`: that cannot be copied, nor go into JSON."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a snapshot cannot be changed; dict() makes a copy that can")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> tuple[type[_Counts], tuple[dict[str, int]]]:
        return _Counts, (dict(self),)


def snapshot(pool: Pool[Any]) -> PoolStats:
    """Read all counts and sizes of `pool` at one moment."""
    figures = _opool._figures(pool)
    figures["retired"] = _Counts(figures["retired"])
    bounds = tuple(figures.pop("bounds"))
    for name in ("wait_time", "create_time", "use_time"):
        counts, total = figures[name]
        figures[name] = Histogram(bounds, tuple(counts), total)
    return PoolStats(name=pool.name, **figures)
