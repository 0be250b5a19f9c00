"""Hands out anything scarce exactly once.

* `Pool` lends objects: `with pool.lease() as obj: ...`. Threads wait in order, and nothing is ever lost or lent twice.
* `ObjectMgr` lends integers.

Errors derive from `PoolError`.
"""

from opool._opool import Lease, ObjectMgr, Pool, __version__
from opool.errors import LeaseError, PoolError, PoolTimeout

__all__ = ["Lease", "LeaseError", "ObjectMgr", "Pool", "PoolError", "PoolTimeout", "__version__"]
