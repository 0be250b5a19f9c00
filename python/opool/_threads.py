"""The Python half of the background work: how its threads start, and what it says in the log.

The pools call these functions by name. The logger is `opool`.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from opool import _opool

if TYPE_CHECKING:
    from opool import Pool

_T = TypeVar("_T")

log = logging.getLogger("opool")

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_starting: set[object] = set()
"""One for each thread that is being started. Those of the parent do not exist in a forked child."""
_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def start(worker: Callable[[], None], pool: Pool[Any]) -> bool:
    """Starts a thread that runs `worker`, and does not wait for it. False if there is none to be had at the end."""
    _pools.add(pool)
    # `Thread.start` waits for the new thread, and a signal handler could raise meanwhile. So that is done elsewhere.
    starting = object()
    _starting.add(starting)
    try:
        _thread.start_new_thread(_launch, (worker, f"opool {pool.name or ''}".rstrip(), starting))
    except BaseException as error:
        _starting.discard(starting)
        if not isinstance(error, RuntimeError):
            raise
        if threading.main_thread().is_alive():
            raise
        _opool._stop_background(_all(_pools))  # CPython 3.12 starts no thread once the main thread is through
        return False
    return True


def _launch(worker: Callable[[], None], name: str, starting: object) -> None:
    thread = threading.Thread(target=worker, name=name, daemon=True)
    _threads.add(thread)
    try:
        thread.start()
    except RuntimeError:  # no second thread to be had: this one will do
        worker()
    finally:
        _starting.discard(starting)


def _all(those: Iterable[_T]) -> list[_T]:
    """Whoever is in the set, while other threads add to it."""
    while True:
        try:
            return list(those)
        except RuntimeError:  # it has changed meanwhile
            continue


@atexit.register
def _stop(patience: float = 1.0) -> None:
    """Sends the threads home before the interpreter goes down. One that is inside a hook stays there."""
    _opool._stop_background(_all(_pools))
    end = time.monotonic() + patience
    # A thread that is about to begin would do so while the interpreter goes down.
    while _starting and time.monotonic() < end:
        time.sleep(0.001)
    for thread in _all(_threads):
        if thread.is_alive():
            thread.join(max(0.0, end - time.monotonic()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_starting.clear)


def called(pool: Pool[Any]) -> str:
    """What messages call a pool."""
    return pool._called()


def not_created(pool: Pool[Any], error: BaseException) -> None:
    """An attempt to create an object failed."""
    log.warning("%s: creating an object failed: %r", called(pool), error, exc_info=error)


def unfit(pool: Pool[Any], hook: str, error: BaseException | None) -> None:
    """An object did not pass its check, or could not be reset."""
    why = "said no" if error is None else f"failed: {error!r}"
    # A check that fails is what checks are for; a reset that fails is not.
    level = logging.INFO if hook == "check" else logging.WARNING
    log.log(level, "%s: %s %s; the object is taken out", called(pool), hook, why, exc_info=error)


def not_disposed(pool: Pool[Any], error: BaseException) -> None:
    """An object could not be disposed of."""
    log.warning("%s: dispose failed: %r", called(pool), error, exc_info=error)


def not_all_disposed(pool: Pool[Any]) -> None:
    """Everything is back, but it takes an event loop to dispose of it, and none runs."""
    log.warning("%s: closed, but no event loop runs that could dispose of its objects: use aclose()", called(pool))


def still_busy(pool: Pool[Any]) -> None:
    """Everything is back, but a hook has not returned yet."""
    log.warning("%s: closed, but a hook still runs in the background", called(pool))


def seems_stuck(pool: Pool[Any]) -> None:
    """All who hold something wait themselves; somebody else might still help."""
    from opool import _watch

    log.warning("%s", _watch.describe_deadlock(pool, certain=False))


def leak(pool: Pool[Any], slot: int) -> None:
    """An object has been out for longer than `leak_after`."""
    from opool import _watch

    for holder in _watch.holders(pool):
        if holder._slot == slot:
            log.warning("%s: a lease is kept too long: %s\n%s", called(pool), holder, holder.stack())
