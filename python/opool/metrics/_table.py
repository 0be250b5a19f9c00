"""The metrics of a pool: their names, units and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from opool import Histogram, PoolStats

POOL_NAME = "db.client.connection.pool.name"
STATE = "db.client.connection.state"
REASON = "opool.reason"


class Metric(NamedTuple):
    """A number of a pool; or one for each value of an attribute."""

    name: str
    unit: str
    description: str
    up_down: bool
    """Whether it can decrease. Otherwise it is a counter."""
    by: str | None
    """The attribute, if there is one number for each of its values."""
    read: Callable[[PoolStats], Iterable[tuple[str, int]]]
    """Returns each value of the attribute with its number; nothing if the pool has no such number."""


def _field(name: str, unit: str, field: str, description: str, *, up_down: bool) -> Metric:
    """Make the metric of a field of `PoolStats`; there is no number while the field is None."""

    def read(stats: PoolStats) -> list[tuple[str, int]]:
        value = getattr(stats, field)
        return [] if value is None else [("", value)]

    return Metric(name, unit, description, up_down, None, read)


METRICS = (
    Metric(
        name="db.client.connection.count",
        unit="{connection}",
        description="The number of objects that are idle, and of those that are used.",
        up_down=True,
        by=STATE,
        read=lambda stats: [("idle", stats.idle), ("used", stats.leased)],
    ),
    _field(
        "db.client.connection.idle.max",
        "{connection}",
        "max_size",
        "The maximum number of idle objects.",
        up_down=True,
    ),
    _field(
        "db.client.connection.idle.min",
        "{connection}",
        "min_size",
        "The minimum number of objects that the pool keeps.",
        up_down=True,
    ),
    _field("db.client.connection.max", "{connection}", "max_size", "The maximum number of objects.", up_down=True),
    _field(
        "db.client.connection.pending_requests",
        "{request}",
        "waiting",
        "The number of threads and tasks that wait for an object.",
        up_down=True,
    ),
    _field(
        "db.client.connection.timeouts",
        "{timeout}",
        "timeouts",
        "The number of waits that ended with a PoolTimeout.",
        up_down=False,
    ),
    _field("opool.creating", "{object}", "creating", "The number of objects that are being created.", up_down=True),
    _field(
        "opool.checking",
        "{object}",
        "checking",
        "The number of used objects that are being checked or reset.",
        up_down=True,
    ),
    _field("opool.created_objects", "{object}", "created", "The number of objects added or created.", up_down=False),
    _field(
        "opool.create_failures",
        "{attempt}",
        "create_failures",
        "The number of failed attempts to create an object.",
        up_down=False,
    ),
    Metric(
        name="opool.retired_objects",
        unit="{object}",
        description="The number of objects that left the pool, by reason.",
        up_down=False,
        by=REASON,
        read=lambda stats: stats.retired.items(),
    ),
    _field("opool.leases", "{lease}", "leases", "The number of times an object was taken.", up_down=False),
    _field(
        "opool.refused_requests", "{request}", "refused", "The number of requests that were refused.", up_down=False
    ),
)


class HistogramMetric(NamedTuple):
    """A histogram of a pool, in seconds."""

    name: str
    description: str
    read: Callable[[PoolStats], Histogram | None]
    """None if the pool has no such histogram."""


HISTOGRAMS = (
    HistogramMetric(
        "db.client.connection.wait_time",
        "The time that waits for an object took, with success or not.",
        lambda stats: stats.wait_time,
    ),
    HistogramMetric(
        "db.client.connection.create_time",
        "The time it took to create an object.",
        lambda stats: stats.create_time,
    ),
    HistogramMetric(
        "db.client.connection.use_time",
        "The time between taking an object and returning it.",
        lambda stats: stats.use_time if stats.use_time.count else None,
    ),
)
