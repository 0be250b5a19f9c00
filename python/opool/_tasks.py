"""The Python half of waiting in event loops."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from opool import _background
from opool._background import log

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
        return not self.is_closed()

    def is_closed(self) -> bool:
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except self._trio.RunFinishedError:
            return True
        return False

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        async def task() -> None:
            try:
                await function(*args)
            except Exception:  # else it would end the run
                log.exception("background work")

        self._trio.lowlevel.spawn_system_task(task)

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


async def enter(pool: Pool[Any], in_tasks: bool) -> Pool[Any]:
    """What ``async with pool`` gives."""
    if in_tasks:
        work(pool)
    return pool


_GRACE = 1.0
"""How many seconds `aclose` waits for hooks when everything is back."""


class _Called:
    """What a task of asyncio awaits until `turn` is called."""

    def __init__(self, turn: Any) -> None:
        self._turn = turn

    def __await__(self) -> Generator[Any, None, None]:
        yield self._turn


async def aclose(pool: Pool[Any], timeout: float | None, force: bool) -> None:
    """Closes a pool, and waits for what is out, while the event loop goes on with those who have it."""
    here = _here()
    if here is None:
        raise RuntimeError("aclose needs a running event loop, of asyncio or trio; in plain threads use close()")
    pool._begin_close(force)
    turn = pool._add_closer()
    began, back_since = time.monotonic(), None
    try:
        while True:
            turn._again()
            now = time.monotonic()
            back, over = pool._is_over()
            if over:
                return None
            if back:  # the deadline is for what is out
                back_since = now if back_since is None else back_since
                left: float | None = back_since + _GRACE - now
            else:
                left = None if timeout is None else began + timeout - now
            if left is not None and left <= 0:
                if not back:
                    raise _watch_module().close_timeout(pool, timeout)
                return _background.still_busy(pool)
            # A day at the most: some event loops take no more.
            alarm = None if left is None else here.call_later(min(left, 86_400.0), turn._resume)
            try:
                await (park(turn) if isinstance(here, _Trio) else _Called(turn))
            finally:
                if alarm is not None:
                    alarm.cancel()
    finally:
        pool._no_closer(turn)


async def aclose_at_once(pool: Pool[Any], timeout: float | None, force: bool) -> None:
    """The same on a test's clock, where time passes while somebody waits."""
    pool.close(timeout, force=force)


def _watch_module() -> Any:
    from opool import _watch

    return _watch


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
        tasks = _background._all(getattr(asyncio.tasks, name, ()))  # others begin tasks meanwhile
        found += [task for task in tasks if not task.done()]
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
        here = _here()
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


def _here() -> Any:
    """The event loop that this thread runs, if it runs one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return trio_here()


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
    crew, here = _crew(pool), _here()
    if here is not None:
        crew.use(here)
    crew.end_closed()
    crew.schedule(pool)  # if there is none, whoever uses the pool next in an event loop sees to it


def lost(pool: Pool[Any]) -> None:
    """A job was broken off, or not even begun: probably its event loop ends, so that another one is better."""
    crew, here = _crew(pool), _here()
    if not crew.schedule(pool, avoid=here) and here is not None:
        contextvars.Context().run(here.call_later, _AFTER_A_WHILE, _look_again, weakref.ref(pool))


def _look_again(pool_ref: weakref.ref[Pool[Any]]) -> None:
    pool = pool_ref()
    if pool is not None:
        _begin(pool)


def _begin(pool: Pool[Any]) -> None:
    crew, here = _crew(pool), _here()
    crew.end_closed()
    while True:
        job = pool._next_job()
        if job is None:
            break
        if isinstance(here, _Trio):
            here.spawn(_do, job, here)
        else:
            task = here.create_task(_do(job, here))
            crew.tasks.add(task)
            task.add_done_callback(crew.tasks.discard)
    seconds = pool._seconds_to_work()
    if crew.timer is not None:
        crew.timer.stop(here)
        crew.timer = None
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
    if isinstance(here, _Trio):
        return False  # it has an exception of its own for that
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True  # the coroutine is taken down without its event loop
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or cancelling() > 0


async def _in_thread(here: Any, function: Callable[[], None]) -> None:
    if isinstance(here, _Trio):
        await sys.modules["trio"].to_thread.run_sync(function, abandon_on_cancel=True)
    else:
        await here.run_in_executor(None, function)
