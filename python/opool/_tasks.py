"""The Python half of waiting in event loops."""

from __future__ import annotations

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


_trios: weakref.WeakKeyDictionary[Any, _Trio] = weakref.WeakKeyDictionary()


def trio_here() -> _Trio | None:
    """What stands for the run of trio that this thread is in, if it is in one."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        token = trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
    found = _trios.get(token)
    if found is None:
        found = _trios[token] = _Trio(trio, token)
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
