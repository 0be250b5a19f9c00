"""The original sample pool: a fixed number of objects, the newest first. Run it to see it at work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, TypeVar

import opool

__all__ = ["Pool"]

T = TypeVar("T")


class Pool(Generic[T]):
    """Makes its objects at once and lends them without waiting.

    Args:
        size: how many objects to make; none if negative.
        obj: called without arguments for each of them.

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
        """Takes the object that came back last.

        Raises:
            IndexError: if none is left.
        """
        try:
            return self._pool.acquire()
        except opool.PoolTimeout:
            raise IndexError("pop from empty list") from None

    def release(self, obj: T) -> None:
        """Gives an object back. One that the pool never made joins it.

        Raises:
            opool.LeaseError: if the object is back already.
        """
        try:
            self._pool.release(obj)
        except opool.LeaseError:
            if obj in self._pool:
                raise
            self._pool.add_obj(obj)


def main() -> None:
    """Prints what the original module printed: the ids of five objects, the newest first.

    The original then asked for a sixth and died of its `IndexError`; here the error is shown and the program goes on.
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
