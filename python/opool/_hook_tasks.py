"""The work for a pool whose hooks are coroutine functions: tasks do it, in the event loops that use the pool."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opool import _event_loops
from opool._background import log
from opool._event_loops import Trio

if TYPE_CHECKING:
    from opool import Pool


async def enter(pool: Pool[Any], in_tasks: bool) -> Pool[Any]:
    """What ``async with pool`` gives."""
    if in_tasks:
        work(pool)
    return pool


def is_async(hook: object) -> bool:
    """Whether calling it makes a coroutine."""
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(type(hook), "__call__", None))  # noqa: B004


class _Crew:
    """The event loops that look after one pool.

    Any of them may end at any time, by itself or with its thread, and with what it is doing for the pool. So each in
    which somebody waits looks once in a while whether there is something to do (`_watch`).
    """

    def __init__(self) -> None:
        self.loops: list[weakref.ref[Any]] = []
        """Those that have used the pool, the latest last."""
        self.scheduled: weakref.ref[Any] | None = None
        """Which one is going to look next."""
        self.watching: weakref.WeakSet[Any] = weakref.WeakSet()
        self.tasks: set[asyncio.Task[None]] = set()
        """Of asyncio's, which forgets tasks that nobody knows."""
        self.timer: Any = None

    def use(self, event_loop: Any) -> None:
        if not self.loops or self.loops[-1]() is not event_loop:
            known = [loop for reference in self.loops for loop in [reference()] if loop not in (None, event_loop)]
            self.loops = [weakref.ref(loop) for loop in (*known, event_loop) if not loop.is_closed()]

    def end_closed(self) -> None:
        """Ends the tasks whose event loop was closed over them: nobody else will."""
        for task in list(self.tasks):
            if task in self.tasks and task.get_loop().is_closed():
                self.tasks.discard(task)
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                try:
                    task.get_coro().close()
                except Exception:  # it does not want to end; when it is collected, nobody asks it
                    log.exception("a hook whose event loop was closed")

    def schedule(self, pool: Pool[Any], avoid: Any = None) -> bool:
        """Has one of the event loops look what there is to do, if any of them runs."""
        scheduled = None if self.scheduled is None else self.scheduled()
        if scheduled is not None and scheduled is not avoid and scheduled.is_running():
            return True
        here = _event_loops.here()
        for reference in reversed(self.loops):
            event_loop = reference()
            if event_loop is None or event_loop is avoid or not event_loop.is_running():
                continue
            call = event_loop.call_soon if event_loop is here else event_loop.call_soon_threadsafe
            self.scheduled = reference
            try:
                # In nobody's context: what is done is done for everybody.
                contextvars.Context().run(call, _Look(pool, reference))
            except RuntimeError:  # it has just ended
                self.scheduled = None
                continue
            return True
        return False


class _Look:
    """A call of `_begin` in some event loop."""

    def __init__(self, pool: Pool[Any], event_loop: weakref.ref[Any]) -> None:
        self._pool = weakref.ref(pool)
        self._event_loop = event_loop

    def __call__(self) -> None:
        pool = self._pool()
        if pool is not None:
            crew = _crew(pool)
            if crew.scheduled is self._event_loop:
                crew.scheduled = None
            _begin(pool)


_crews: weakref.WeakKeyDictionary[Pool[Any], _Crew] = weakref.WeakKeyDictionary()

_WATCH_EVERY = 1.0
"""How many seconds it may take until somebody who waits finds that the event loop is gone that was at work for it."""

_AFTER_A_WHILE = 0.1
"""How many seconds later a job is begun again that was broken off: by then an event loop that ends has ended."""


def _crew(pool: Pool[Any]) -> _Crew:
    crew = _crews.get(pool)
    if crew is None:
        crew = _crews.setdefault(pool, _Crew())
    return crew


def join(pool: Pool[Any], event_loop: Any) -> None:
    """Somebody waits for a pool whose hooks are coroutine functions, in the event loop of this thread."""
    crew = _crew(pool)
    crew.use(event_loop)
    if event_loop not in crew.watching:
        crew.watching.add(event_loop)
        crew.end_closed()
        contextvars.Context().run(event_loop.call_later, _WATCH_EVERY, _watch, weakref.ref(pool), event_loop)


def _watch(pool_ref: weakref.ref[Pool[Any]], event_loop: Any) -> None:
    pool = pool_ref()
    if pool is None:
        return
    crew = _crew(pool)
    crew.watching.discard(event_loop)
    if pool.waiting:
        join(pool, event_loop)
        if pool._has_work():
            crew.schedule(pool)


def work(pool: Pool[Any]) -> None:
    """There is something to do in the background of a pool whose hooks are coroutine functions, now or soon."""
    crew, here = _crew(pool), _event_loops.here()
    if here is not None:
        crew.use(here)
    crew.end_closed()
    crew.schedule(pool)  # if there is none, whoever uses the pool next in an event loop sees to it


def is_idle(pool: Pool[Any]) -> bool:
    """Whether none of the event loops that have used the pool runs."""
    loops = [reference() for reference in _crew(pool).loops]
    return not any(event_loop is not None and event_loop.is_running() for event_loop in loops)


def run_at_once(job: Any) -> None:
    """Runs a hook on a test's clock, where nothing takes time, so that it can wait for nothing either."""
    coroutine = job.hook() if job.obj is None else job.hook(job.obj)
    try:
        coroutine.send(None)
    except StopIteration as end:
        job.finish(end.value)
    except Exception as error:
        job.fail(error)
    else:
        coroutine.close()
        job.fail(RuntimeError("on a test's clock no time passes in hooks, and this one waits for something"))


def lost(pool: Pool[Any]) -> None:
    """A job was broken off, or not even begun: probably its event loop ends, so that another one is better."""
    crew, here = _crew(pool), _event_loops.here()
    if not crew.schedule(pool, avoid=here) and here is not None:
        contextvars.Context().run(here.call_later, _AFTER_A_WHILE, _look_again, weakref.ref(pool))


def _look_again(pool_ref: weakref.ref[Pool[Any]]) -> None:
    pool = pool_ref()
    if pool is not None:
        _begin(pool)


def _begin(pool: Pool[Any]) -> None:
    crew, here = _crew(pool), _event_loops.here()
    crew.end_closed()
    while True:
        job = pool._next_job()
        if job is None:
            break
        if isinstance(here, Trio):
            here.spawn(_do, job, here)
        else:
            task = here.create_task(_do(job, here))
            crew.tasks.add(task)
            task.add_done_callback(crew.tasks.discard)
    # Another thread may be here too. Whoever stops a timer, the other's perhaps, asks after that when there is work.
    timer, crew.timer = crew.timer, None
    if timer is not None:
        timer.stop(here)
    seconds = pool._seconds_to_work()
    if seconds is not None:
        crew.timer = _Timer(pool, here, seconds)


class _Timer:
    """Lets an event loop look after a pool later."""

    def __init__(self, pool: Pool[Any], event_loop: Any, seconds: float) -> None:
        self._pool: weakref.ref[Pool[Any]] | None = weakref.ref(pool)
        self._event_loop = weakref.ref(event_loop)
        self._handle = event_loop.call_later(seconds, self._ring)

    def stop(self, here: Any) -> None:
        self._pool = None
        if self._event_loop() is here:  # no other thread may do that
            self._handle.cancel()

    def _ring(self) -> None:
        pool = None if self._pool is None else self._pool()
        if pool is not None:
            _begin(pool)


async def _do(job: Any, here: Any) -> None:
    """Runs a hook, in the event loop or in a thread, and tells the pool how that ended."""
    hook = job.hook
    if hook is None or not is_async(hook):
        with contextlib.suppress(RuntimeError):  # the event loop ends, and has no threads any more: the job goes back
            await _in_thread(here, job.run)
        return
    try:
        result = await (hook() if job.obj is None else hook(job.obj))
    except Exception as error:
        job.fail(error)
    except asyncio.CancelledError as error:
        if _was_cancelled(here):
            job.break_off()
            raise
        job.fail(error)
    except BaseException:
        job.break_off()
        raise
    else:
        job.finish(result)


def _was_cancelled(here: Any) -> bool:
    """Whether the running task was cancelled, and not something that it awaits. Until 3.11 nobody knows."""
    if isinstance(here, Trio):
        return False  # it has an exception of its own for that
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True  # the coroutine is taken down without its event loop
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or cancelling() > 0


async def _in_thread(here: Any, function: Callable[[], None]) -> None:
    if isinstance(here, Trio):
        await sys.modules["trio"].to_thread.run_sync(function, abandon_on_cancel=True)
    else:
        await here.run_in_executor(None, function)
