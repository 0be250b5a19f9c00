"""The Python half of waiting in event loops."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opool import Pool


def arm(pool: Pool[Any], event_loop: Any, seconds: float) -> Any:
    """Lets the event loop of this thread send those away whose time is up, in so many seconds; `cancel` undoes it."""
    return event_loop.call_later(seconds, _expire, weakref.ref(pool), event_loop)


def _expire(pool_ref: weakref.ref[Pool[Any]], event_loop: Any) -> None:
    pool = pool_ref()
    if pool is not None:
        pool._expire(event_loop)


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

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> Any:
        scope = self._trio.CancelScope()

        async def later() -> None:
            with scope:
                await self._trio.sleep(seconds)
                function(*args)

        self._trio.lowlevel.spawn_system_task(later)
        return scope


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
# Which task holds what


def tasks_of(leases: list[Any]) -> dict[int, Any]:
    """The tasks that are inside the `async with` of these async leases, by the leases' ids.

    A lease does not know its task: to ask for it would cost more than the lease. But a suspended coroutine has on its
    stack what its `async with` will call in the end, which is the lease; so all tasks are searched.
    """
    wanted = {id(lease) for lease in leases}
    found: dict[int, Any] = {}
    if not wanted:
        return found
    for task in _all_tasks():
        for coroutine in _chain(task):
            found.update(dict.fromkeys(wanted.intersection(map(id, _on_stack(coroutine))), task))
    current = _current_task()
    if current is not None:
        # It runs, so its stack cannot be looked at; all others have been.
        here = threading.get_ident()
        found.update({id(lease): current for lease in leases if id(lease) not in found and lease._thread == here})
    return found


def _all_tasks() -> list[Any]:
    found: list[Any] = []
    for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):  # until 3.11, and since
        found += [task for task in list(getattr(asyncio.tasks, name, ())) if not task.done()]
    trio = sys.modules.get("trio")
    if trio is not None and trio_here() is not None:
        roots = [trio.lowlevel.current_root_task()]
        while roots:
            task = roots.pop()
            found.append(task)
            roots += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def _current_task() -> Any:
    if trio_here() is not None:
        return sys.modules["trio"].lowlevel.current_task()
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _chain(task: Any) -> list[Any]:
    """The coroutine of a task, the one that it awaits, and so on."""
    coroutine = task.coro if hasattr(task, "coro") else task.get_coro()
    chain: list[Any] = []
    while coroutine is not None and len(chain) < 1000:
        chain.append(coroutine)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return chain


def _frame(coroutine: Any) -> Any:
    return getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)


def _on_stack(coroutine: Any) -> list[Any]:
    return gc.get_referents(*(thing for thing in (coroutine, _frame(coroutine)) if thing is not None))


def name(task: Any) -> str | None:
    """What a task is called."""
    if task is None:
        return None
    return str(task.get_name() if hasattr(task, "get_name") else task.name)


def stack(task: Any) -> str:
    """What a task is doing, as a traceback from the outermost coroutine to the innermost; empty if it runs now."""
    if task is _current_task():
        return ""
    frames = [_frame(coroutine) for coroutine in _chain(task)]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames if frame is not None)
    return "".join(summary.format())


# ----------------------------------------------------------------------------------------------------------------------
# Hooks that are coroutine functions

_homes: weakref.WeakKeyDictionary[Pool[Any], asyncio.AbstractEventLoop] = weakref.WeakKeyDictionary()
"""Where the background tasks of a pool run: in the event loop that used it last."""

_scheduled: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()
_tasks: set[asyncio.Task[None]] = set()


def is_async(hook: object) -> bool:
    """Whether calling it makes a coroutine."""
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(type(hook), "__call__", None))  # noqa: B004


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
