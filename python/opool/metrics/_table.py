"""What is shown, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from opool import Histogram

if TYPE_CHECKING:
    from opool import PoolStats

POOL_NAME = "db.client.connection.pool.name"
STATE = "db.client.connection.state"
REASON = "opool.reason"


class Figure(NamedTuple):
    """A number that a pool shows; or one for each value of an attribute."""

    name: str
    unit: str
    description: str
    falls: bool
    """Whether it goes up and down. Else it only counts."""
    by: str | None
    """The attribute, if there is one for each of its values."""
    read: Callable[[PoolStats], Iterable[tuple[str, int]]]
    """Its values, each with what the attribute is then; none if the pool has none."""


def _one(name: str, unit: str, field: str, description: str, *, falls: bool) -> Figure:
    """A field of `PoolStats`; one that is None is not shown."""

    def read(stats: PoolStats) -> list[tuple[str, int]]:
        value = getattr(stats, field)
        return [] if value is None else [("", value)]

    return Figure(name, unit, description, falls, None, read)


FIGURES = (
    Figure(
        name="db.client.connection.count",
        unit="{connection}",
        description="How many objects are idle, and how many used.",
        falls=True,
        by=STATE,
        read=lambda stats: [("idle", stats.idle), ("used", stats.leased)],
    ),
    _one(
        "db.client.connection.idle.max",
        "{connection}",
        "max_size",
        "How many may be idle: all there may be.",
        falls=True,
    ),
    _one(
        "db.client.connection.idle.min",
        "{connection}",
        "min_size",
        "How many are kept if nobody uses them.",
        falls=True,
    ),
    _one("db.client.connection.max", "{connection}", "max_size", "How many objects there may be.", falls=True),
    _one("db.client.connection.pending_requests", "{request}", "waiting", "How many wait for an object.", falls=True),
    _one(
        "db.client.connection.timeouts",
        "{timeout}",
        "timeouts",
        "How many waits ended with a PoolTimeout.",
        falls=False,
    ),
    _one("opool.creating", "{object}", "creating", "How many objects are being created.", falls=True),
    _one("opool.checking", "{object}", "checking", "How many used objects are being checked or reset.", falls=True),
    _one("opool.created_objects", "{object}", "created", "How many objects have come in.", falls=False),
    _one("opool.create_failures", "{attempt}", "create_failures", "How many attempts to create failed.", falls=False),
    Figure(
        name="opool.retired_objects",
        unit="{object}",
        description="How many objects have gone, and why.",
        falls=False,
        by=REASON,
        read=lambda stats: stats.retired.items(),
    ),
    _one("opool.leases", "{lease}", "leases", "How often an object was taken.", falls=False),
    _one("opool.refused_requests", "{request}", "refused", "How many were not let into the queue.", falls=False),
)


class Times(NamedTuple):
    """A histogram that a pool shows, in seconds."""

    name: str
    description: str
    read: Callable[[PoolStats], Histogram | None]
    """None if the pool has none."""


TIMES = (
    Times(
        "db.client.connection.wait_time",
        "How long those waited who found no object idle, successfully or not.",
        lambda stats: stats.wait_time,
    ),
    Times(
        "db.client.connection.create_time",
        "How long it took to create an object.",
        lambda stats: stats.create_time,
    ),
    Times(
        "db.client.connection.use_time",
        "How long objects were out.",
        lambda stats: stats.use_time if stats.use_time.count else None,
    ),
)
