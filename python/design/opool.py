"""The original object pool's import path: `Pool` and `Resource`, over `opool`."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import Generic, TypeVar

import opool
from opool import Lease as Resource
from opool import _opool

__all__ = ["Pool", "Resource"]

T = TypeVar("T")


class Pool(opool.Pool[T], Generic[T]):
    """Lends its objects one after another; whoever finds none waits for as long as it takes.

    Args:
        objects: what to lend, in this order.

    Raises:
        TypeError: if `objects` cannot be iterated over.

    Example:
        >>> pool = Pool(["a", "b"])
        >>> with pool.lease() as obj:
        ...     obj
        'a'
        >>> pool.pool.qsize()
        2
    """

    def __init__(self, objects: Iterable[T]) -> None:
        super().__init__(objects, timeout=None, fairness="strict")

    @property
    def pool(self) -> Pool[T]:
        """What answers `qsize`, `empty`, `get` and `put`, like the `queue.Queue` of the original: the pool itself."""
        return self

    def qsize(self) -> int:
        """Returns how many objects are idle."""
        return self.idle

    def empty(self) -> bool:
        """Returns whether no object is idle."""
        return self.idle == 0

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Takes an object out of the pool for good.

        Args:
            block: whether to wait for one.
            timeout: how many seconds to wait; None is for ever.

        Raises:
            queue.Empty: if there is none (in time).
            ValueError: if `timeout` is negative.
        """
        try:
            return _opool._remove(self, timeout if block else 0.0)
        except opool.PoolTimeout as error:
            raise queue.Empty from error

    def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None:
        """Appends an object; there is always room, so `block` and `timeout` change nothing."""
        self.add_obj(obj)
