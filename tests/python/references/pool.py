"""What the drop-ins must answer like: the pools in a few lines over the standard library."""

import queue


class Resource:
    def __init__(self, obj, pool):
        self.obj = obj
        self.pool = pool

    def __enter__(self):
        return self.obj

    def __exit__(self, kind, value, traceback):
        self.pool.put(self.obj)


class Pool:
    def __init__(self, objects):
        self.pool = queue.Queue()
        for obj in objects:
            self.pool.put(obj)

    def lease(self):
        return Resource(self.pool.get(), self.pool)

    def add_obj(self, obj):
        self.pool.put(obj)


class SamplePool:
    def __init__(self, size, obj):
        self._objects = [obj() for _ in range(size)]

    def acquire(self):
        return self._objects.pop()

    def release(self, x):
        self._objects.append(x)
