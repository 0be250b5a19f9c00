"""What `opool` raises. Everything is a `PoolError`, and also what a caller would expect who never heard of it."""

from __future__ import annotations

__all__ = ["LeaseError", "PoolError", "PoolTimeout"]


class PoolError(Exception):
    """The base of all errors of this package."""


class PoolTimeout(PoolError, TimeoutError):
    """No object came free in time. Also a `TimeoutError`."""


class LeaseError(PoolError, ValueError):
    """A lease or an object was given back twice, or a lease was entered after its end. Also a `ValueError`."""


for _error in (PoolError, PoolTimeout, LeaseError):
    _error.__module__ = "opool"
