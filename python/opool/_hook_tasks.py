"""Runs hooks that are coroutine functions, as tasks of the event loops that use the pool."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import weakref

from opool import _event_loops, _log, _opool
from opool._event_loops import TrioLoop
from opool._hooks import is_async_callable
from opool._interrupts import is_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from typing import Any

    from opool._opool import Pool

_CHECK_INTERVAL = 1.0
"""How often, in seconds, an event loop in which somebody waits checks for jobs: the loop that ran them may be gone."""

_RETRY_DELAY = 0.1
"""After how many seconds the same loop starts a requeued job: by then a loop that is ending has ended."""


class HookRunner:
    """Runs the hooks of one pool in the event loops that use it.

    Any of the loops may end at any time, by itself or with its thread, and with the hook that it runs. So each loop in
    which somebody waits checks once in a while whether there is a job (`_check`).
    """

    def __init__(self) -> None:
        self.loops: list[weakref.ref[Any]] = []
        """The loops that have used the pool, the latest last."""
        self.scheduled: weakref.ref[Any] | None = None
        """The loop that starts the next jobs."""
        self.checking: weakref.WeakSet[Any] = weakref.WeakSet()
        """The loops that have a call of `_check` pending."""
        self.tasks: set[asyncio.Task[None]] = set()
        """The running tasks of asyncio, which refers to them only weakly."""
        self.timer: JobTimer | None = None

    def add_loop(self, event_loop: Any) -> None:
        """Make `event_loop` the latest that has used the pool."""
        if not self.loops or self.loops[-1]() is not event_loop:
            known = [loop for reference in self.loops for loop in [reference()] if loop not in (None, event_loop)]
            self.loops = [weakref.ref(loop) for loop in (*known, event_loop) if not loop.is_closed()]

    def close_orphans(self) -> None:
        """Close the coroutines of tasks whose event loop was closed before they ended: nobody else will."""
        for task in list(self.tasks):
            if task in self.tasks and task.get_loop().is_closed():
                self.tasks.discard(task)
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                try:
                    task.get_coro().close()
                except Exception:  # the hook raised, or ignored GeneratorExit
                    _log.orphan_not_closed()

    def schedule(self, pool: Pool[Any], avoid: Any = None) -> bool:
        """Let a running loop other than `avoid` start the jobs of `pool`; False if there is none."""
        scheduled = None if self.scheduled is None else self.scheduled()
        if scheduled is not None and scheduled is not avoid and scheduled.is_running():
            return True
        here = _event_loops.running_loop()
        for reference in reversed(self.loops):
            event_loop = reference()
            if event_loop is None or event_loop is avoid or not event_loop.is_running():
                continue
            call = event_loop.call_soon if event_loop is here else event_loop.call_soon_threadsafe
            try:
                self.scheduled = reference
                # In an empty context: a job serves everybody, not the task that happens to schedule it.
                contextvars.Context().run(call, ScheduledStart(pool, reference))
            except RuntimeError:  # it has just ended
                self.scheduled = None
                continue
            except BaseException:
                self.scheduled = None
                raise
            return True
        return False

    def start_jobs(self, pool: Pool[Any]) -> None:
        """Start all jobs that are due, in the loop of this thread, and a timer for the next."""
        here = _event_loops.running_loop()
        self.close_orphans()
        while True:
            job = _opool._next_job(pool)
            if job is None:
                break
            if isinstance(here, TrioLoop):
                here.spawn(run_job, job, here)
            else:
                task = here.create_task(run_job(job, here))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        # Another thread may do the same now and stop this timer, so the timer is stopped first, and what is due is read
        # after that.
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.stop(here)
        seconds = _opool._seconds_to_work(pool)
        if seconds is not None:
            self.timer = JobTimer(pool, here, seconds)


class ScheduledStart:
    """The callback by which an event loop starts the jobs of a pool."""

    def __init__(self, pool: Pool[Any], event_loop: weakref.ref[Any]) -> None:
        self._pool = weakref.ref(pool)
        self._event_loop = event_loop

    def __call__(self) -> None:
        pool = self._pool()
        if pool is not None:
            runner = _runner(pool)
            if runner.scheduled is self._event_loop:
                runner.scheduled = None
            runner.start_jobs(pool)


class JobTimer:
    """Starts the jobs of a pool later, in the event loop of this thread."""

    def __init__(self, pool: Pool[Any], event_loop: Any, seconds: float) -> None:
        self._pool: weakref.ref[Pool[Any]] | None = weakref.ref(pool)
        self._event_loop = weakref.ref(event_loop)
        self._handle = event_loop.call_later(seconds, self._fire)

    def stop(self, here: Any) -> None:
        """Start nothing any more. `here` is the event loop of this thread."""
        self._pool = None
        if self._event_loop() is here:  # handles are not thread-safe
            self._handle.cancel()

    def _fire(self) -> None:
        pool = None if self._pool is None else self._pool()
        if pool is not None:
            _runner(pool).start_jobs(pool)


_runners: weakref.WeakKeyDictionary[Pool[Any], HookRunner] = weakref.WeakKeyDictionary()


_of_the_parent: list[object] = []
"""In a forked child: tasks of its parent. To drop one would end its coroutine here as well."""


def start_anew() -> None:
    """Forget the event loops that have used the pools, in a forked child: they run in its parent only."""
    for runner in list(_runners.values()):
        _of_the_parent.append((runner.tasks, runner.timer))
        if runner.timer is not None:
            runner.timer.stop(None)
        runner.__init__()  # type: ignore[misc]


def _runner(pool: Pool[Any]) -> HookRunner:
    runner = _runners.get(pool)
    if runner is None:
        runner = _runners.setdefault(pool, HookRunner())
    return runner


async def enter(pool: Pool[Any], is_async: bool) -> Pool[Any]:
    """Return what ``async with pool`` gives; `is_async` tells whether the pool has hooks for event loops."""
    if is_async:
        schedule(pool)
    return pool


def add_loop(pool: Pool[Any], event_loop: Any) -> None:
    """Let `event_loop`, which runs in this thread and in which somebody waits, run the hooks of `pool`."""
    runner = _runner(pool)
    runner.add_loop(event_loop)
    if event_loop not in runner.checking:
        runner.checking.add(event_loop)
        runner.close_orphans()
        contextvars.Context().run(event_loop.call_later, _CHECK_INTERVAL, _check, weakref.ref(pool), event_loop)


def _check(pool_ref: weakref.ref[Pool[Any]], event_loop: Any) -> None:
    pool = pool_ref()
    if pool is None:
        return
    runner = _runner(pool)
    runner.checking.discard(event_loop)
    if pool.waiting:
        add_loop(pool, event_loop)
        if _opool._has_work(pool):
            runner.schedule(pool)


def schedule(pool: Pool[Any]) -> None:
    """Start the jobs of `pool` soon. If no event loop runs, the next one that uses the pool does."""
    runner, here = _runner(pool), _event_loops.running_loop()
    if here is not None:
        runner.add_loop(here)
    runner.close_orphans()
    runner.schedule(pool)


def has_no_running_loop(pool: Pool[Any]) -> bool:
    """Return whether none of the event loops that have used `pool` runs."""
    loops = [reference() for reference in _runner(pool).loops]
    return not any(event_loop is not None and event_loop.is_running() for event_loop in loops)


def requeue(pool: Pool[Any]) -> None:
    """Start a job again that was broken off, or never begun: in another loop, as this one is probably ending."""
    runner, here = _runner(pool), _event_loops.running_loop()
    if not runner.schedule(pool, avoid=here) and here is not None:
        contextvars.Context().run(here.call_later, _RETRY_DELAY, _retry, weakref.ref(pool))


def _retry(pool_ref: weakref.ref[Pool[Any]]) -> None:
    pool = pool_ref()
    if pool is not None:
        _runner(pool).start_jobs(pool)


async def run_job(job: Any, here: Any) -> None:
    """Run the hook of `job`, in the event loop or in a thread of its executor, and report the result to the pool."""
    hook = job.hook
    if hook is None or not is_async_callable(hook):
        coroutine = None
        with contextlib.suppress(RuntimeError):  # the loop is ending and has no executor any more: the job is requeued
            coroutine = await _run_in_thread(here, job.begin)
        if coroutine is None:
            return
    else:
        coroutine = None
    try:
        result = await (coroutine or (hook() if job.obj is None else hook(job.obj)))
    except BaseException as error:
        if _event_loops.is_stray_cancellation(error, here) or not is_interrupt(error):
            # Without this frame, which tells a reader nothing.
            traceback = error.__traceback__
            job.fail(error.with_traceback(None if traceback is None else traceback.tb_next))
        else:
            job.break_off()
            raise
    else:
        job.finish(result)


async def _run_in_thread(here: Any, function: Callable[[], Any]) -> Any:
    if isinstance(here, TrioLoop):
        return await sys.modules["trio"].to_thread.run_sync(function, abandon_on_cancel=True)
    return await here.run_in_executor(None, function)


def run_coroutine(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run the coroutine that a hook has made, where no event loop runs, in one for itself."""
    import asyncio

    try:
        return asyncio.run(coroutine)
    finally:
        coroutine.close()  # not begun if an event loop runs here
