"""Hands out anything scarce exactly once.

* `Pool` lends objects: `with pool.lease() as obj: ...`. Threads wait in order, and nothing is ever lost or lent twice.
  Tasks too, in the same queue: `async with pool.lease_async() as obj: ...`.
  With a `factory` it makes them as they are needed, keeps them fit, and lets them go.
* `ObjectMgr` lends integers.

Errors derive from `PoolError`. What the background threads have to say goes to the logger `opool`.
"""

from opool import _threads  # noqa: F401 (its function of atexit runs before those registered until now)
from opool._holders import Holder
from opool._opool import AsyncLease, Lease, ObjectMgr, Pool, __version__
from opool._stats import Histogram, PoolStats
from opool.errors import (
    FactoryError,
    LeaseError,
    PoolClosed,
    PoolCloseTimeout,
    PoolDeadlock,
    PoolError,
    PoolTimeout,
    TooManyWaiters,
)

__all__ = [
    "AsyncLease",
    "FactoryError",
    "Histogram",
    "Holder",
    "Lease",
    "LeaseError",
    "ObjectMgr",
    "Pool",
    "PoolCloseTimeout",
    "PoolClosed",
    "PoolDeadlock",
    "PoolError",
    "PoolStats",
    "PoolTimeout",
    "TooManyWaiters",
    "__version__",
]

for _shown in (Histogram, Holder, PoolStats):
    _shown.__module__ = "opool"
