"""Whether others get a turn while a call runs: threads and signal handlers."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


class Interrupted(Exception):
    """Raised by the handler of :func:`alarm`."""


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `Interrupted` in the main thread, `seconds` from now."""

    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ticks_during(call: Callable[[], object]) -> int:
    """How often a thread that wakes every millisecond got to run while `call` did."""
    ticks: list[float] = []
    ready, done = threading.Event(), threading.Event()

    def tick() -> None:
        ready.set()
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    ready.wait()
    start = time.perf_counter()
    call()
    end = time.perf_counter()
    done.set()
    thread.join()
    return sum(start < moment < end for moment in ticks)
