"""The original object pool: `Pool` and `Resource` under their original import path, over `opool`."""

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
    """Leases its objects in turn; `lease` waits without a timeout if none is idle.

    Args:
        objects: the objects to lease, in this order.

    Raises:
        TypeError: if `objects` is not iterable.

    Example:
        >>> pool = Pool(["a", "b"])
        >>> with pool.lease() as obj:
        ...     obj
        'a'
        >>> pool.pool.qsize()
        2
    """

    def __init__(self, objects: Iterable[T]) -> None:
        objects = iter(objects)
        try:
            super().__init__(objects, timeout=None, fairness="strict")
        except RuntimeError:
            # Again: the idiom of a singleton. As in the original, the objects are new then, if nobody has an old one.
            if self.leased or self.waiting:
                raise
            while self.idle:
                _opool._remove(self, 0.0)
            for obj in objects:
                self.add_obj(obj)

    @property
    def pool(self) -> Pool[T]:
        """The pool itself, which has `qsize`, `empty`, `get` and `put` as the `queue.Queue` of the original."""
        return self

    def qsize(self) -> int:
        """Return the number of idle objects.

        Example:
            >>> Pool(["a", "b"]).qsize()
            2
        """
        return self.idle

    def empty(self) -> bool:
        """Return whether no object is idle.

        Example:
            >>> Pool([]).empty()
            True
        """
        return self.idle == 0

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Remove an object from the pool and return it.

        Args:
            block: whether to wait for one.
            timeout: how many seconds to wait; None waits for ever.

        Returns:
            The object.

        Raises:
            queue.Empty: if no object is idle, or becomes idle in time.
            ValueError: if `timeout` is negative.

        Example:
            >>> pool = Pool(["a", "b"])
            >>> pool.get()
            'a'
            >>> pool.qsize()
            1
        """
        try:
            return _opool._remove(self, timeout if block else 0.0)
        except opool.PoolTimeout as error:
            raise queue.Empty from error

    def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None:
        """Add an object to the end of the pool.

        Args:
            obj: the object.
            block: has no effect: there is always room.
            timeout: has no effect either.

        Example:
            >>> pool = Pool([])
            >>> pool.put("a")
            >>> pool.qsize()
            1
        """
        self.add_obj(obj)
