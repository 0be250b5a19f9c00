"""The event loops of asyncio and trio, behind one interface. The extension calls these functions.

Neither is ever loaded here: without its module no event loop can run. (That of uvloop loads asyncio.)
"""

from __future__ import annotations

import sys
import weakref

from opool import _log, _opool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from opool._opool import Pool

    class Clock(Protocol):
        """What `run_clock_soon` needs of an `opool.testing.Clock`."""

        def _check_thread(self) -> None: ...

        def _run_jobs(self) -> bool: ...


def start_timer(pool: Pool[Any], event_loop: Any, seconds: float) -> Any:
    """Expire the overdue waits of `pool` in `seconds`; the result has a method `cancel`."""
    return event_loop.call_later(seconds, _expire, weakref.ref(pool), event_loop)


def _expire(pool_ref: weakref.ref[Pool[Any]], event_loop: Any) -> None:
    pool = pool_ref()
    if pool is not None:
        _opool._expire(pool, event_loop)


class TrioLoop:
    """A run of trio, with those methods of asyncio's event loops that the pool calls."""

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
            except Exception:  # it would end the run of trio
                _log.callback_failed()

        self._trio.lowlevel.spawn_system_task(task)

    def call_soon(self, function: Callable[[], object]) -> None:
        self._token.run_sync_soon(function)

    call_soon_threadsafe = call_soon

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> Any:
        scope = self._trio.CancelScope()

        async def later() -> None:
            with scope:
                await self._trio.sleep(seconds)
                try:
                    function(*args)
                except Exception:  # it would end the run of trio
                    _log.callback_failed()

        self._trio.lowlevel.spawn_system_task(later)
        return scope


def _nothing() -> None: ...


_trio_of_run: Any = None
"""A `trio.lowlevel.RunVar`, made when trio is first seen."""


def running_trio_loop() -> TrioLoop | None:
    """Return the adapter of the run of trio whose task runs in this thread now, if any.

    Trio may be the guest of an event loop of asyncio, or the other way round: sniffio, which trio brings, tells which.
    """
    trio, sniffio = sys.modules.get("trio"), sys.modules.get("sniffio")
    if trio is None:
        return None
    try:
        if sniffio is None:  # should trio do without it one day
            trio.lowlevel.current_task()
        elif sniffio.current_async_library() != "trio":
            return None
        token = trio.lowlevel.current_trio_token()
    except RuntimeError:  # no library, or no run
        return None
    global _trio_of_run
    if _trio_of_run is None:
        _trio_of_run = trio.lowlevel.RunVar("opool", default=None)
    found: TrioLoop | None = _trio_of_run.get()
    if found is None:
        found = TrioLoop(trio, token)
        _trio_of_run.set(found)
    return found


def running_loop() -> Any:
    """Return the event loop that runs in this thread, or None."""
    found = running_trio_loop()
    if found is not None:
        return found
    get = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if get is None else get()


def current_task() -> Any:
    """Return the task of asyncio or trio that runs in this thread, or None."""
    if running_trio_loop() is not None:
        return sys.modules["trio"].lowlevel.current_task()
    get = getattr(sys.modules.get("asyncio.tasks"), "current_task", None)
    try:
        return None if get is None else get()
    except RuntimeError:  # no event loop runs
        return None


def is_stray_cancellation(error: BaseException, event_loop: Any) -> bool:
    """Return whether a task of `event_loop` got `asyncio.CancelledError` from what it awaits, not for itself.

    Python 3.9 and 3.10 cannot tell: there the answer is False.
    """
    if not isinstance(error, getattr(sys.modules.get("asyncio"), "CancelledError", ())):
        return False
    if isinstance(event_loop, TrioLoop):
        return True  # trio cancels with an exception of its own
    task = current_task()
    cancelling = getattr(task, "cancelling", None)
    return cancelling is not None and cancelling() == 0


def run_clock_soon(clock: Clock) -> None:
    """Run the jobs of a test's clock in the next step of the event loop: its tasks do not advance the clock."""
    event_loop = running_loop()
    if event_loop is not None:
        clock._check_thread()
        event_loop.call_soon(clock._run_jobs)


async def park(turn: Any) -> None:
    """Suspend a task of trio until `turn` is done."""
    trio = sys.modules["trio"]
    task = trio.lowlevel.current_task()

    def resume(_: Any) -> None:
        trio.lowlevel.reschedule(task)

    def abort(_: Any) -> Any:
        turn.forget()
        return trio.lowlevel.Abort.SUCCEEDED

    turn.add_done_callback(resume)
    await trio.lowlevel.wait_task_rescheduled(abort)
