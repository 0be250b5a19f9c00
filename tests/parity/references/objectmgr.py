"""The original manager's behaviour in plain Python: what the tests compare with."""

from __future__ import annotations

from collections import deque


class ReferenceObjectMgr:
    """Ids of ``range(1, n)``: fresh ones ascending, then freed ones in the order they were freed."""

    def __init__(self, n: int) -> None:
        self.object_pool = deque(range(1, n))
        self.allocated_objects: set[object] = set()
        self.freed_objects: deque[int] = deque()

    def get_object(self) -> int | None:
        if self.object_pool:
            obj = self.object_pool.popleft()
        elif self.freed_objects:
            obj = self.freed_objects.popleft()
        else:
            return None
        self.allocated_objects.add(obj)
        return obj

    def free_object(self, obj: object) -> object:
        if obj not in self.allocated_objects:
            raise ValueError("Object is not currently allocated.")
        self.allocated_objects.discard(obj)
        # What comes back is the int, also for something equal to it: an int of this size is its own hash.
        self.freed_objects.append(hash(obj))
        return obj
