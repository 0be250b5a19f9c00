"""`Pool.aclose`. The extension calls these functions."""

from __future__ import annotations

import time

from opool import _event_loops, _holders, _log, _opool, _stacks
from opool._interrupts import is_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from typing import Any

    from opool._opool import Pool

_GRACE = 1.0
"""How many seconds `aclose` waits for running hooks once everything is back."""


class _Future:
    """Lets a coroutine of asyncio await `turn`, which is not awaitable itself."""

    def __init__(self, turn: Any) -> None:
        self._turn = turn

    def __await__(self) -> Generator[Any, None, None]:
        yield self._turn


def closed_by_holder(pool: Pool[Any], timeout: float) -> BaseException | None:
    """Return the error of a `close` by a thread that is inside the `with` of a lease: it would wait for itself."""
    out = _stacks.taken(pool)
    mine = _stacks.on_this_stack(out)
    if mine:
        return _holders.closed_by_holder_error(pool, {each.slot for each in mine}, "thread")
    if timeout == float("inf"):
        _log.close_may_wait_for_itself(pool)
    return None


async def aclose(pool: Pool[Any], timeout: float | None, force: bool) -> None:
    """Close a pool and wait until everything is back, while the event loop runs the tasks that hold objects."""
    event_loop = _event_loops.running_loop()
    if event_loop is None:
        raise RuntimeError("aclose needs a running event loop, of asyncio or trio; in plain threads use close()")
    _opool._begin_close(pool, force)
    turn = _opool._add_closer(pool)
    began, back_since = time.monotonic(), None
    try:
        mine = [] if force else _stacks.of_this_task(_stacks.taken(pool))
        if mine:
            raise _holders.closed_by_holder_error(pool, {each.slot for each in mine}, "task")
        while True:
            turn._again()
            now = time.monotonic()
            back, over = _opool._is_over(pool)
            if over:
                return None
            if back:  # the timeout covers what is leased, not the hooks
                back_since = now if back_since is None else back_since
                left: float | None = back_since + _GRACE - now
            else:
                left = None if timeout is None else began + timeout - now
            if left is not None and left <= 0:
                if back:
                    return _log.hook_still_running(pool)
                assert timeout is not None
                raise _holders.close_timeout_error(pool, timeout)
            # At most a day: some event loops accept no longer delay.
            timer = None if left is None else event_loop.call_later(min(left, 86_400.0), turn._resume)
            try:
                await (_event_loops.park(turn) if isinstance(event_loop, _event_loops.TrioLoop) else _Future(turn))
            finally:
                if timer is not None:
                    timer.cancel()
    finally:
        _opool._remove_closer(pool, turn)


async def aclose_after_error(pool: Pool[Any], closing: Awaitable[None]) -> None:
    """Await `closing`, at the end of an `async with pool` whose body has raised: that exception goes on.

    Why the pool could not be closed goes to the log.
    """
    try:
        await closing
    except Exception as error:
        if is_interrupt(error):
            raise
        _log.not_closed(pool, error)


async def aclose_on_clock(pool: Pool[Any], timeout: float | None, force: bool) -> None:
    """Close a pool that has a `opool.testing.Clock`, where waiting advances the clock."""
    pool.close(timeout, force=force)
