"""The background workers, threads or greenlets: how they start, and how they stop at interpreter shutdown."""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import threading
import time
import weakref

from opool import _log, _opool
from opool._weaksets import snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from opool._opool import Pool

_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_starting: set[object] = set()
"""One token for each thread that is being started, or that `threading` does not know, and for each greenlet.

A forked child has none of its parent's threads.
"""
_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def start(worker: Callable[[], None], pool: Pool[Any]) -> bool:
    """Start a thread that runs `worker`, without waiting for it; False if the interpreter starts none any more.

    For a caller that is a greenlet it is another greenlet.
    """
    _pools.add(pool)
    _log.keep_open()
    start_new_thread, launch = _thread.start_new_thread, _launch
    if "gevent" in sys.modules or "eventlet" in sys.modules:
        from opool import _greenlets

        if _greenlets.spawn(lambda: _run(worker)):
            return True
        if _greenlets.start_new_thread() is not start_new_thread:
            # `threading` is patched as well, and would make it a greenlet.
            start_new_thread, launch = _greenlets.start_new_thread(), _launch_untold
    # `Thread.start` waits for the new thread, and a signal handler could raise meanwhile: another thread calls it.
    starting = object()
    _starting.add(starting)
    try:
        start_new_thread(launch, (worker, f"opool {pool.name or ''}".rstrip(), starting))
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


def _launch_untold(worker: Callable[[], None], name: str, starting: object) -> None:
    try:
        worker()
    finally:
        _starting.discard(starting)


def _run(worker: Callable[[], None]) -> None:
    running = object()
    _starting.add(running)
    try:
        worker()
    except BaseException as error:
        if type(error).__name__ != "GreenletExit":  # it was killed
            raise
    finally:
        _starting.discard(running)


_stopped = False


@atexit.register
def _stop(timeout: float = 1.0) -> None:
    """Stop the worker threads at interpreter shutdown. A thread inside a hook is left behind after `timeout`.

    It may be called twice: see `_log.keep_open`.
    """
    global _stopped
    if _stopped:
        return
    _stopped = True
    _opool._stop_background(snapshot(_pools))
    end = time.monotonic() + timeout
    # A thread that is still starting must not begin during interpreter shutdown.
    while _starting and time.monotonic() < end:
        _pause(0.001)
    for thread in snapshot(_threads):
        if thread.is_alive():
            thread.join(max(0.0, end - time.monotonic()))


_log.before_shutdown.append(_stop)


def _pause(seconds: float) -> None:
    if "gevent" in sys.modules:
        from opool import _greenlets

        if _greenlets.is_used():
            _greenlets.pause(seconds)
            return
    time.sleep(seconds)


def _finish_imports() -> None:
    """Wait until no other thread is loading these modules: in a forked child their locks would be held for ever."""
    for name in ("logging", "traceback"):  # loaded late, mostly by worker threads
        if name in sys.modules:
            __import__(name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_finish_imports, after_in_child=_starting.clear)
