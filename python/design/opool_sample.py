"""The original sample pool: a fixed number of objects, the newest first. Run it to see it at work."""

from __future__ import annotations

from typing import Callable, Generic, TypeVar

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
    """Lends two lists and shows which one comes next."""
    pool: Pool[list[str]] = Pool(2, list)
    first, second = pool.acquire(), pool.acquire()
    first.append("first")
    second.append("second")
    print(f"acquired {first} and {second}")
    pool.release(first)
    pool.release(second)
    print(f"released both; the newest comes out first: {pool.acquire()}, then {pool.acquire()}")
    try:
        pool.acquire()
    except IndexError as error:
        print(f"nothing is left: IndexError: {error}")


if __name__ == "__main__":
    main()
