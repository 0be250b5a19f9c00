"""The Python half of waiting in event loops."""

from __future__ import annotations

import asyncio
import inspect
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opool import Pool


def arm(pool: Pool[Any], event_loop: Any, seconds: float) -> None:
    """Lets the event loop of this thread send those away whose time is up, in so many seconds."""
    event_loop.call_later(seconds, _expire, weakref.ref(pool), event_loop)


def _expire(pool_ref: weakref.ref[Pool[Any]], event_loop: Any) -> None:
    pool = pool_ref()
    if pool is not None:
        seconds = pool._expire()
        if seconds is not None:
            arm(pool, event_loop, seconds)


class _Trio:
    """Trio's run, with those methods of asyncio's event loops that the pool calls."""

    def __init__(self, trio: Any, token: Any) -> None:
        self._trio = trio
        self._token = token

    def is_running(self) -> bool:
        return True  # else `run_sync_soon` says so

    def is_closed(self) -> bool:
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except self._trio.RunFinishedError:
            return True
        return False

    def call_soon(self, function: Callable[[], object]) -> None:
        self._token.run_sync_soon(function)

    call_soon_threadsafe = call_soon

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> None:
        async def later() -> None:
            await self._trio.sleep(seconds)
            function(*args)

        self._trio.lowlevel.spawn_system_task(later)


def _nothing() -> None: ...


_trio_of_run: Any = None
"""A `trio.lowlevel.RunVar`, made when trio is first seen."""


def trio_here() -> _Trio | None:
    """What stands for the run of trio that this thread is in, if it is in one."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        token = trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
    global _trio_of_run
    if _trio_of_run is None:
        _trio_of_run = trio.lowlevel.RunVar("opool", default=None)
    found: _Trio | None = _trio_of_run.get()
    if found is None:
        found = _Trio(trio, token)
        _trio_of_run.set(found)
    return found


async def park(turn: Any) -> None:
    """Suspends a task of trio until `turn` comes."""
    trio = sys.modules["trio"]
    task = trio.lowlevel.current_task()

    def resume(_: Any) -> None:
        trio.lowlevel.reschedule(task)

    def abort(_: Any) -> Any:
        turn.forget()
        return trio.lowlevel.Abort.SUCCEEDED

    turn.add_done_callback(resume)
    await trio.lowlevel.wait_task_rescheduled(abort)


async def enter(pool: Pool[Any]) -> Pool[Any]:
    """What ``async with pool`` gives."""
    return pool


async def aclose(pool: Pool[Any], close: Callable[[], None]) -> None:
    """Closes a pool in a thread of its own, while the event loop goes on with those who hold something."""
    if trio_here() is not None:
        await sys.modules["trio"].to_thread.run_sync(close, abandon_on_cancel=True)
    else:
        await asyncio.get_running_loop().run_in_executor(None, close)


# ----------------------------------------------------------------------------------------------------------------------
# Hooks that are coroutine functions

_homes: weakref.WeakKeyDictionary[Pool[Any], asyncio.AbstractEventLoop] = weakref.WeakKeyDictionary()
"""Where the background tasks of a pool run: in the event loop that used it last."""

_scheduled: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()
_tasks: set[asyncio.Task[None]] = set()


def is_async(hook: object) -> bool:
    """Whether calling it makes a coroutine."""
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None))


def work(pool: Pool[Any]) -> None:
    """There is something to do in the background of a pool whose hooks are coroutine functions."""
    try:
        home = _homes[pool] = asyncio.get_running_loop()
        schedule: Callable[..., object] = home.call_soon
    except RuntimeError:
        found = _homes.get(pool)
        if found is None or found.is_closed():
            return  # whoever uses the pool next in an event loop sees to it
        schedule = found.call_soon_threadsafe
    if pool not in _scheduled:
        _scheduled.add(pool)
        schedule(_begin, weakref.ref(pool))


def _begin(pool_ref: weakref.ref[Pool[Any]]) -> None:
    pool = pool_ref()
    if pool is None:
        return
    try:
        while True:
            job = pool._next_job()
            if job is None:
                break
            task = asyncio.get_running_loop().create_task(_do(job))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
    finally:
        _scheduled.discard(pool)
    seconds = pool._seconds_to_work()
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, _begin, pool_ref)


async def _do(job: Any) -> None:
    """Runs a hook, in the event loop or in a thread, and tells the pool how that ended."""
    hook = job.hook
    if hook is None or not is_async(hook):
        await asyncio.get_running_loop().run_in_executor(None, job.run)
        return
    try:
        result = await (hook() if job.obj is None else hook(job.obj))
    except BaseException as error:
        job.fail(error)
        if not isinstance(error, Exception):
            raise
    else:
        job.finish(result)
