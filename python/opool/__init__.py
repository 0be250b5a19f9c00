"""Object pools and id managers for threads and asyncio: each object is leased to one holder at a time.

* `Pool` leases objects: `with pool.lease() as obj: ...` in threads, `async with pool.lease_async() as obj: ...` in
  tasks of asyncio and trio. All wait in one queue, first come, first served. With a `factory` the pool creates its
  objects on demand, checks and resets them, and disposes of them.
* `ObjectMgr` allocates integers from a range.

A pool and a manager belong to one process. Exceptions derive from `PoolError`. Background work is logged by the logger
`opool`.

Example:
    >>> import opool
    >>> pool = opool.Pool(["a", "b"])
    >>> with pool.lease() as obj:
    ...     obj
    'a'
"""

from opool import (
    _forks,  # noqa: F401 (registers what is done before and after a fork)
    _threads,  # noqa: F401 (registers the function that stops the worker threads at exit)
)
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
