"""The original sample pool: a fixed number of objects, last in, first out. Run it for a demonstration."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, TypeVar

import opool

__all__ = ["Pool"]

T = TypeVar("T")


class Pool(Generic[T]):
    """Creates all its objects when it is constructed, and never waits for one.

    Args:
        size: how many objects to create; none if negative.
        obj: called without arguments to create each of them.

    Example:
        >>> pool = Pool(2, list)
        >>> first = pool.acquire()
        >>> pool.release(first)
        >>> pool.acquire() is first
        True
    """

    def __init__(self, size: int, obj: Callable[[], T]) -> None:
        self._pool: opool.Pool[T] = opool.Pool((obj() for _ in range(size)), order="lifo", timeout=0)

    def acquire(self) -> T:
        """Take the object that was released last.

        Returns:
            The object.

        Raises:
            IndexError: if no object is idle.

        Example:
            >>> Pool(1, list).acquire()
            []
        """
        try:
            return self._pool.acquire()
        except opool.PoolTimeout:
            raise IndexError("pop from empty list") from None

    def release(self, obj: T) -> None:
        """Release an object. One that the pool did not create is added to it.

        Args:
            obj: the object.

        Raises:
            opool.LeaseError: if the object has been released already.

        Example:
            >>> pool = Pool(0, list)
            >>> pool.release(["another"])
            >>> pool.acquire()
            ['another']
        """
        try:
            self._pool.release(obj)
        except opool.LeaseError:
            if obj in self._pool:
                raise
            self._pool.add_obj(obj)


def main() -> None:
    """Print what the original module printed: the ids of five objects, last in, first out.

    The original then asked for a sixth and ended with an `IndexError`; here the error is printed.
    """

    class Thing:
        id = 1

    pool = Pool(5, Thing)
    first, second = pool.acquire(), pool.acquire()
    first.id, second.id = 5, 7
    pool.release(first)
    pool.release(second)
    try:
        while True:
            print(pool.acquire().id, flush=True)
    except IndexError as error:
        print(f"IndexError: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
