"""The worker threads: how they start, and how they stop at interpreter shutdown."""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
import time
import weakref

from opool import _opool
from opool._weaksets import snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from opool._opool import Pool

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_starting: set[object] = set()
"""One token for each thread that is being started. A forked child has none of its parent's threads."""
_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def start(worker: Callable[[], None], pool: Pool[Any]) -> bool:
    """Start a thread that runs `worker`, without waiting for it; False if the interpreter starts none any more."""
    _pools.add(pool)
    # `Thread.start` waits for the new thread, and a signal handler could raise meanwhile: another thread calls it.
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
        _opool._stop_background(snapshot(_pools))  # CPython 3.12 starts no thread once the main thread has ended
        return False
    return True


def run_pending() -> None:
    """Do nothing. At the call, the interpreter does what is pending for this thread, as before any Python function."""


def _launch(worker: Callable[[], None], name: str, starting: object) -> None:
    thread = threading.Thread(target=worker, name=name, daemon=True)
    _threads.add(thread)
    try:
        thread.start()
    except RuntimeError:  # no second thread can be started: this one does the work
        worker()
    finally:
        _starting.discard(starting)


@atexit.register
def _stop(timeout: float = 1.0) -> None:
    """Stop the worker threads at interpreter shutdown. A thread inside a hook is left behind after `timeout`."""
    _opool._stop_background(snapshot(_pools))
    end = time.monotonic() + timeout
    # A thread that is still starting must not begin during interpreter shutdown.
    while _starting and time.monotonic() < end:
        time.sleep(0.001)
    for thread in snapshot(_threads):
        if thread.is_alive():
            thread.join(max(0.0, end - time.monotonic()))


def _finish_imports() -> None:
    """Wait until no other thread is loading these modules: in a forked child their locks would be held for ever."""
    for name in ("logging", "traceback"):  # loaded late, mostly by worker threads
        if name in sys.modules:
            __import__(name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_finish_imports, after_in_child=_starting.clear)
