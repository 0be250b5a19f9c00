"""Requests of an event loop: each has a future, and a batch of answers costs the loop one wake-up."""

from __future__ import annotations

import asyncio
from typing import Any, Callable
from weakref import WeakKeyDictionary

from opool_bank._bank import BankCore, Completions
from opool_bank.errors import BankClosed

# Seconds that a call waits for the lock that another process has; as in the core.
BUSY_LIMIT = 30.0

_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, Completions] = WeakKeyDictionary()


def _queue(loop: asyncio.AbstractEventLoop) -> Completions:
    """Returns the queue of a loop, which watches the queue's descriptor from then on."""
    queue = _queues.get(loop)
    if queue is None:
        queue = Completions()
        loop.add_reader(queue.fileno(), queue.drain)
        _queues[loop] = queue
    return queue


# What ends the requests of a bank that is closed, each in its own loop.
_pending: WeakKeyDictionary[BankCore, dict[asyncio.Future[Any], Callable[[], None]]] = WeakKeyDictionary()


def close(core: BankCore) -> None:
    """Ends the requests of a bank that wait for an item, with `BankClosed`."""
    for future, end in list(_pending.get(core, {}).items()):
        loop = future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(end)


Sink = tuple[Completions, "asyncio.Future[Any]"]


async def answer(core: BankCore, send: Callable[[Sink], tuple[int, int] | Any]) -> Any:
    """Sends a request and awaits its answer.

    Args:
        core: the bank that it goes to.
        send: called with the sink; returns (ticket, number), or the answer itself if there is nothing to ask for.
    """
    return await take(core, send, None, None)


async def take(
    core: BankCore,
    send: Callable[[Sink], tuple[int, int] | Any],
    look: Callable[[Sink], tuple[int, int]] | None,
    timeout: float | None,
) -> Any:
    """Sends a request that may wait for an item, for `timeout` seconds (None: for ever).

    A request that nobody looked at in this time goes again as `look`, which does not wait. If `look` is None, the
    request waits for nothing but the lock.
    """
    loop = asyncio.get_running_loop()
    queue = _queue(loop)
    future: asyncio.Future[Any] = loop.create_future()
    sent = send((queue, future))
    if not isinstance(sent, tuple):
        return sent
    ticket, number = sent
    waits = look is not None
    timer: asyncio.TimerHandle | None = None
    begun = loop.time()

    def time_up() -> None:
        nonlocal ticket, number, timer, waits
        if future.done():
            return
        taken_back = core.cancel(ticket)
        if taken_back == 0:
            return  # its answer is about to come
        queue.forget(number)
        if taken_back == 2:
            future.set_result([])
        elif waits and look is not None:
            waits = False
            ticket, number = look((queue, future))
            timer = loop.call_later(BUSY_LIMIT, time_up)
        else:
            future.set_exception(core.busy_error(loop.time() - begun))

    def closed() -> None:
        if not future.done() and core.cancel(ticket) != 0:
            queue.forget(number)
            future.set_exception(BankClosed(f"bank {core.title}: it is closed"))

    _pending.setdefault(core, {})[future] = closed
    limit = timeout if waits else BUSY_LIMIT
    if limit is not None:
        timer = loop.call_later(limit, time_up)
    try:
        return await future
    except asyncio.CancelledError:
        if core.cancel(ticket) != 0:
            queue.forget(number)
        raise
    finally:
        _pending[core].pop(future, None)
        if timer is not None:
            timer.cancel()
