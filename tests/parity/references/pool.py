"""What the drop-ins must answer like: the pools in a few lines over the standard library."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import Any, Callable


class Resource:
    def __init__(self, obj: Any, pool: queue.Queue[Any]) -> None:
        self.obj = obj
        self.pool = pool

    def __enter__(self) -> Any:
        return self.obj

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        self.pool.put(self.obj)


class Pool:
    def __init__(self, objects: Iterable[Any]) -> None:
        self.pool: queue.Queue[Any] = queue.Queue()
        for obj in objects:
            self.pool.put(obj)

    def lease(self) -> Resource:
        return Resource(self.pool.get(), self.pool)

    def add_obj(self, obj: Any) -> None:
        self.pool.put(obj)


class SamplePool:
    def __init__(self, size: int, obj: Callable[[], Any]) -> None:
        self._objects = [obj() for _ in range(size)]

    def acquire(self) -> Any:
        return self._objects.pop()

    def release(self, x: Any) -> None:
        self._objects.append(x)
