"""What the project is measured against: the same jobs in plain Python, a few lines each."""

import queue
from collections import deque
from collections.abc import Iterable
from typing import Any, Optional


class QueueLease:
    """The classic lease: a context manager that puts the object back into the queue."""

    def __init__(self, obj: Any, pool: "queue.Queue[Any]") -> None:
        self.obj = obj
        self.pool = pool

    def __enter__(self) -> Any:
        return self.obj

    def __exit__(self, *exception: object) -> None:
        self.pool.put(self.obj)


class QueuePool:
    """The classic pool: a `queue.Queue` of the idle objects."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self.pool: queue.Queue[Any] = queue.Queue()
        for obj in objects:
            self.pool.put(obj)

    def lease(self) -> QueueLease:
        return QueueLease(self.pool.get(), self.pool)


class DequeManager:
    """The integers below `n`, each at most once: a deque of the fresh, a deque of the freed, a set of the allocated."""

    def __init__(self, n: int) -> None:
        self.fresh = deque(range(1, n))
        self.freed: deque[int] = deque()
        self.allocated: set[int] = set()

    def get_object(self) -> Optional[int]:
        source = self.fresh or self.freed
        if not source:
            return None
        obj = source.popleft()
        self.allocated.add(obj)
        return obj

    def free_object(self, obj: int) -> int:
        if obj not in self.allocated:
            raise ValueError("Object is not currently allocated.")
        self.allocated.remove(obj)
        self.freed.append(obj)
        return obj


def is_palindrome(text: str) -> bool:
    """The characters that `str.isalnum` keeps, in lower case, from both ends."""
    kept = "".join(filter(str.isalnum, text)).lower()
    left, right = 0, len(kept) - 1
    while left < right:
        if kept[left] != kept[right]:
            return False
        left, right = left + 1, right - 1
    return True


def triplets(numbers: list[Any]) -> list[list[Any]]:
    """All triples of a sorted list that add up to nothing, by two pointers."""
    numbers.sort()
    found = []
    for first, value in enumerate(numbers):
        left, right = first + 1, len(numbers) - 1
        while left < right:
            total = value + numbers[left] + numbers[right]
            if total < 0:
                left += 1
            elif total > 0:
                right -= 1
            else:
                found.append([value, numbers[left], numbers[right]])
                left, right = left + 1, right - 1
    return found
