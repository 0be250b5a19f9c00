"""Whether others get a turn while a call runs: threads and signal handlers."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from operator import methodcaller
from typing import Any


class Interrupted(Exception):
    """Raised by the handler of :func:`alarm`."""


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `Interrupted` in the main thread when the process has computed for that many seconds."""

    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def computing() -> Iterator[Callable[[], float]]:
    """How many seconds this thread has computed since: a busy machine does not add to them."""
    start = time.thread_time()
    yield lambda: time.thread_time() - start


def lets_others_run(call: partial[object], times: int = 3) -> bool:
    """Whether a thread that wakes every millisecond runs that often while one `call` does.

    `call` is of a function written in C or Rust, and so is all that runs between the two readings of the clock: nobody
    takes the GIL from such code, so the thread runs there only because the function lets go of it. The switch interval
    is short, so that the thread has asked for the GIL by then: CPython gives it to a thread that has asked, where it
    could else take it back at once. On a busy machine a whole call may pass before the thread has its turn; so there
    are several.
    """
    ticks: list[float] = []
    ready, done = threading.Event(), threading.Event()

    def tick() -> None:
        ready.set()
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    ready.wait()
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    clock = partial(time.perf_counter)
    try:
        for _ in range(20):
            start, _, end = map(methodcaller("__call__"), (clock, call, clock))
            if sum(start < moment < end for moment in ticks) >= times:
                return True
        return False
    finally:
        sys.setswitchinterval(before)
        done.set()
        thread.join()
