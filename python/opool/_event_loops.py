"""The Python half of waiting in event loops: what asyncio and trio do differently."""

from __future__ import annotations

import asyncio
import sys
import time
import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from opool import _background
from opool._background import log

if TYPE_CHECKING:
    from opool import Pool
    from opool.testing import Clock


def arm(pool: Pool[Any], event_loop: Any, seconds: float) -> Any:
    """Lets the event loop of this thread send those away whose time is up, in so many seconds; `cancel` undoes it."""
    return event_loop.call_later(seconds, _expire, weakref.ref(pool), event_loop)


def _expire(pool_ref: weakref.ref[Pool[Any]], event_loop: Any) -> None:
    pool = pool_ref()
    if pool is not None:
        pool._expire(event_loop)


class Trio:
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
                try:
                    function(*args)
                except Exception:  # else it would end the run
                    log.exception("background work")

        self._trio.lowlevel.spawn_system_task(later)
        return scope


def _nothing() -> None: ...


_trio_of_run: Any = None
"""A `trio.lowlevel.RunVar`, made when trio is first seen."""


def trio_here() -> Trio | None:
    """What stands for the run of trio that this thread is in, if one of its tasks runs now.

    Trio may be the guest of an event loop of asyncio, or the other way round. Sniffio, which trio brings, knows.
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
    found: Trio | None = _trio_of_run.get()
    if found is None:
        found = Trio(trio, token)
        _trio_of_run.set(found)
    return found


def here() -> Any:
    """The event loop that this thread runs, if it runs one."""
    found = trio_here()
    if found is not None:
        return found
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def is_here() -> bool:
    """Whether this thread runs an event loop."""
    return here() is not None


def work_soon(clock: Clock) -> None:
    """There is work on a test's clock. Tasks that wait for it do not let time pass, as a thread would."""
    event_loop = here()
    if event_loop is not None:
        clock._only_one_thread()
        event_loop.call_soon(clock._work)


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
    event_loop = here()
    if event_loop is None:
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
            alarm = None if left is None else event_loop.call_later(min(left, 86_400.0), turn._resume)
            try:
                await (park(turn) if isinstance(event_loop, Trio) else _Called(turn))
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
