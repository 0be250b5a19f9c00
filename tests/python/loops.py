"""What the tests of tasks share: the event loops, with one way to start tasks in each of them and to cancel them."""

import asyncio
import gc

import pytest
import trio

from support import LIMIT

try:
    import uvloop
except ImportError:
    uvloop = None


class Task:
    """A task that a test has started, in whatever event loop; its end is kept, not raised."""

    def __init__(self, cancel):
        self._cancel = cancel
        self.ended = False
        self.cancelled = False
        self.result = None
        self.error = None

    def cancel(self):
        self._cancel()

    async def run(self, function, args, cancelled):
        try:
            self.result = await function(*args)
        except cancelled:
            self.cancelled = True
            raise
        except Exception as error:
            self.error = error.with_traceback(None)
        finally:
            self.ended = True

    def get(self):
        assert self.ended and not self.cancelled, "it has no result"
        if self.error is not None:
            raise self.error
        return self.result


class _AsyncioGroup:
    def __init__(self):
        self._tasks = []

    def start(self, function, *args):
        task = Task(lambda: real.cancel())
        real = asyncio.ensure_future(task.run(function, args, asyncio.CancelledError))
        self._tasks.append(real)
        return task

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, traceback):
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _TrioGroup:
    async def __aenter__(self):
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *exception):
        return await self._manager.__aexit__(*exception)

    def start(self, function, *args):
        scope = trio.CancelScope()
        task = Task(scope.cancel)

        async def run():
            with scope:
                await task.run(function, args, trio.Cancelled)

        self._nursery.start_soon(run)
        return task


class Asyncio:
    """asyncio, with the event loop that `new` makes."""

    def __init__(self, name, new):
        self.name = name
        self.new = new

    def __repr__(self):
        return self.name

    def run(self, main, *args):
        """As `asyncio.run`."""
        loop = self.new()
        try:
            return loop.run_until_complete(main(*args))
        finally:
            loop.run_until_complete(self._cancel_all())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    @staticmethod
    async def _cancel_all():
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    sleep = staticmethod(asyncio.sleep)
    group = _AsyncioGroup

    @staticmethod
    async def in_thread(function, *args):
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)


class Trio:
    name = "trio"
    group = _TrioGroup
    sleep = staticmethod(trio.sleep)

    def __repr__(self):
        return self.name

    def run(self, main, *args):
        return trio.run(main, *args)

    @staticmethod
    async def in_thread(function, *args):
        return await trio.to_thread.run_sync(function, *args)


ASYNCIO = Asyncio("asyncio", asyncio.new_event_loop)
ASYNCIOS = [ASYNCIO]
if uvloop is not None:
    ASYNCIOS.append(Asyncio("uvloop", uvloop.new_event_loop))
TRIO = Trio()

every_asyncio = pytest.mark.parametrize("loop", ASYNCIOS, ids=repr)
every_loop = pytest.mark.parametrize("loop", [*ASYNCIOS, TRIO], ids=repr)


async def until(loop, predicate, seconds=LIMIT):
    """Lets the event loop go on until `predicate()` is true."""
    steps = 0
    while not predicate():
        await loop.sleep(0 if steps < 100 else 0.001)
        steps += 1
        assert steps < 100 + seconds * 1000, "still not true"


async def queue_up(loop, group, pool, function, *args):
    """Starts a task, and lets it come into the queue."""
    before = pool.waiting
    task = group.start(function, *args)
    await until(loop, lambda: pool.waiting == before + 1)
    return task


def collect():
    """Runs the collector as often as it takes."""
    for _ in range(3):
        gc.collect()
