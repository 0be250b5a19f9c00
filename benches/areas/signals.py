"""How long Ctrl-C takes to interrupt a main thread that waits for an object: idle, and beside threads that are busy.

The waiting process is a child on one core; this one sends the signal, and both read the same clock.
"""

from __future__ import annotations

import os
import queue
import random
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any, Callable

import opool
from areas.children import usable_cores, use_cores
from harness import Effort, Tell

WAITS: dict[str, Callable[[], object]] = {
    "opool": lambda: opool.Pool([]).lease(timeout=None),
    "queue.Queue": lambda: queue.Queue().get(),
    "time.sleep": lambda: time.sleep(600),  # the interpreter itself
}
BUSY = [0, 8]
LOST_SECONDS = 1.0
SWITCH_MS = sys.getswitchinterval() * 1e3


def spin() -> None:
    while True:
        pass


def child(waiting: str, busy: int, signals: int) -> None:
    """Says that it is about to wait, waits, and says when it was interrupted."""
    wait = WAITS[waiting]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started deaf to it
    for _ in range(busy):
        threading.Thread(target=spin, daemon=True).start()
    for _ in range(signals):
        try:
            print("waiting", flush=True)
            wait()
        except KeyboardInterrupt:
            print(time.monotonic_ns(), flush=True)
    os._exit(0)


def latencies(waiting: str, busy: int, signals: int) -> list[float]:
    """Milliseconds from each signal to the handler's exception."""
    command = [sys.executable, "-m", "areas.signals", waiting, str(busy), str(signals)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    here = Path(__file__).resolve().parents[1]
    found = []
    # Unbuffered: what was read ahead would be invisible to `select`.
    with subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout
        for _ in range(signals):
            if process.stdout.readline() != b"waiting\n":
                raise RuntimeError("the child has ended early")
            # Before it sleeps, it may have to get through the queue for the GIL.
            time.sleep(random.uniform(0.002, 0.006) + busy * 2 * SWITCH_MS / 1e3)
            sent = time.monotonic_ns()
            process.send_signal(signal.SIGINT)
            # CPython's own waits can miss a signal for good: then only another one helps.
            while not select.select([process.stdout], [], [], LOST_SECONDS)[0]:
                if time.monotonic_ns() - sent > 30e9:
                    process.kill()
                    raise RuntimeError("no signal wakes the child")
                process.send_signal(signal.SIGINT)
            found.append((int(process.stdout.readline()) - sent) / 1e6)
    return found


def measure(effort: Effort, tell: Tell) -> list[dict[str, Any]]:
    """Median and maximum, in milliseconds, of each way to wait."""
    found: list[dict[str, Any]] = []
    planned = [(waiting, busy) for busy in BUSY for waiting in WAITS]
    for done, (waiting, busy) in enumerate(planned):
        tell(done, len(planned), f"Ctrl-C beside {busy} busy threads: {waiting}")
        taken = latencies(waiting, busy, effort.signals)
        found.append(
            {"subject": waiting, "busy": busy, "signals": len(taken), "median": median(taken), "max": max(taken)}
        )
    tell(len(planned), len(planned), "")
    return found


if __name__ == "__main__":
    use_cores(usable_cores()[-1:])
    child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
