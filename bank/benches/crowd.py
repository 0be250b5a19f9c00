"""Threads and processes that make calls, and what came of it. No child outlives the run, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable

Call = Callable[[], Any]
# Called in each thread; makes the call that the thread then makes. The call answers False when nothing is left.
Make = Callable[[int], Call]

HERE = os.path.dirname(os.path.abspath(__file__))
_libc = ctypes.CDLL(None)
_running: list[subprocess.Popen[str]] = []


def _dies_with_its_parent() -> None:
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


def start(*command: str, **options: Any) -> subprocess.Popen[str]:
    """Starts a child that the kernel kills with this process; from the main thread, whose death it is."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
    child = subprocess.Popen(command, text=True, preexec_fn=_dies_with_its_parent, **options)
    _running.append(child)
    return child


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts Python code that may import what stands beside this file, and waits until it says that it is ready."""
    path = f"import sys; sys.path.insert(0, {HERE!r})\n"
    child = start(sys.executable, "-c", path + code, *map(str, arguments))
    assert child.stdout is not None
    said = child.stdout.readline()
    if said != "ready\n":
        raise RuntimeError(f"a child said {said!r} and ended with status {child.wait()}")
    return child


def go(child: subprocess.Popen[str]) -> None:
    """Lets a child that is ready begin, or end."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def answer(child: subprocess.Popen[str]) -> str:
    """Waits for a child; returns what it printed."""
    out, _ = child.communicate()
    _running.remove(child)
    if child.returncode != 0:
        raise RuntimeError(f"a child ended with status {child.returncode}")
    return out


def end(child: subprocess.Popen[str]) -> None:
    """Kills a child."""
    child.kill()
    child.communicate()
    _running.remove(child)


def end_all() -> None:
    """Kills what is still running."""
    for child in list(_running):
        end(child)


class Figure:
    """Calls that some threads made: how many a second, how long they took, how evenly they were served."""

    def __init__(self, counts: list[int], times: list[float], seconds: float) -> None:
        times = sorted(times) or [0.0]
        self.rate = sum(counts) / seconds
        self.p50, self.p99 = times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3
        self.longest = times[-1] * 1e3
        self.fair = min(counts) / max(counts) if max(counts) else 0.0

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s, p99 {self.p99:.1f} ms"


def threads(make: Make, number: int, seconds: float) -> Figure:
    """Makes calls in `number` threads until the time is up, or nothing is left."""
    counts, ends = [0] * number, [0.0] * number
    times: list[float] = []
    stop = threading.Event()
    barrier = threading.Barrier(number + 1)
    clock = time.perf_counter

    def work(place: int) -> None:
        call = make(place)
        mine: list[float] = []
        barrier.wait()
        while not stop.is_set():
            begun = clock()
            if call() is False:
                break
            mine.append(clock() - begun)
        ends[place] = clock()
        counts[place] = len(mine)
        times.extend(mine)

    workers = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(number)]
    for worker in workers:
        worker.start()
    barrier.wait()
    begun = clock()
    for worker in workers:
        worker.join(max(0.0, begun + seconds - clock()))
    stop.set()
    for worker in workers:
        worker.join()
    return Figure(counts, times, max(ends) - begun)


_MEMBER = """
import calls, crowd
make = getattr(calls, sys.argv[1])(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
figure = crowd.threads(make, int(sys.argv[3]), float(sys.argv[4]))
print(figure.rate, figure.longest)
"""


def processes(kind: str, file: str, number: int, in_each: int, seconds: float) -> tuple[float, float, float]:
    """Runs `threads` in several processes at once.

    Returns:
        The rate of all, the slowest process as a part of the fastest, and the longest call in ms.
    """
    members = [python(_MEMBER, kind, file, in_each, seconds) for _ in range(number)]
    for member in members:
        go(member)
    answers = [tuple(map(float, answer(member).split())) for member in members]
    rates = [rate for rate, _ in answers]
    return sum(rates), min(rates) / max(rates), max(longest for _, longest in answers)
