"""Several threads over four objects: throughput, fairness, and how long one waits for an object.

Every configuration runs in a process of its own, on the cores it is allowed. When the clock starts, all threads stand
in the queue: an empty body may otherwise run for seconds before the first thread has to wait, and what one measures is
luck. Threads work until told to stop; what is counted ends when the last one has. The waits of an empty body are taken
in a run of their own, because asking the clock costs as much as a lease.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from areas.children import in_a_process, in_turn, usable_cores, use_cores
from areas.peers import OBJECTS, SUBJECTS, Subject
from harness import Effort, Tell

BODIES = {"empty": "pass", "sleep": "sleep(0.0001)"}
THREADS = [8, 64]
CORES = [1, 2]
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
AVERAGED = ["throughput", "fairness", *PERCENTILES]

WORK = """
def hold(taken, go, {names}):
    {holding}

def work(place, running, sleep, now, {names}):
    done, waits = 0, []
    took = waits.append
    since[place] = now()
    while running:
        {before}
        {statement}
        done += 1
    counts[place], times[place] = done, waits
"""
QUEUING_SECONDS = 0.05


class Configuration(NamedTuple):
    """What one process does."""

    subject: str
    body: str
    threads: int
    cores: int
    seconds: float


# ---------------------------------------------------------------------------------------------------------------------
# In the child


def run(subject: Subject, configuration: Configuration, timed: bool) -> tuple[float, list[int], list[float]]:
    """One run: leases a second, leases by thread, and all waits in seconds."""
    names, body = subject.make(), BODIES[configuration.body]
    source = WORK.format(
        names=", ".join(names),
        holding=subject.statement.replace("BODY", "taken.release(); go.wait()"),
        before="before = now()" if timed else "pass",
        statement=subject.statement.replace("BODY", f"took(now() - before); {body}" if timed else body),
    )
    everyone = range(configuration.threads)
    counts, times, since = [0 for _ in everyone], [[0.0] for _ in everyone], [0.0 for _ in everyone]
    space: dict[str, Any] = {"counts": counts, "times": times, "since": since}
    exec(compile(source, subject.label, "exec"), space)

    taken, go, running = threading.Semaphore(0), threading.Event(), [True]
    for _ in range(OBJECTS):
        threading.Thread(target=space["hold"], args=(taken, go, *names.values())).start()
        taken.acquire()
    fixed = (running, time.sleep, time.perf_counter, *names.values())
    threads = [threading.Thread(target=space["work"], args=(place, *fixed)) for place in everyone]
    for thread in threads:
        thread.start()
    time.sleep(QUEUING_SECONDS)
    began = time.perf_counter()
    go.set()
    time.sleep(configuration.seconds)
    running.clear()
    for thread in threads:
        thread.join()
    throughput = sum(counts) / (time.perf_counter() - began)
    for waits, start in zip(times, since):
        waits[:1] = [wait - (began - start) for wait in waits[:1]]  # nobody could be served before
    return throughput, counts, sorted(wait for waits in times for wait in waits)


def child(configuration: Configuration) -> dict[str, float]:
    """The figures of one configuration; waits in microseconds."""
    subject = next(subject for subject in SUBJECTS if subject.label == configuration.subject)
    always = configuration.body != "empty"
    throughput, counts, waits = run(subject, configuration, timed=always)
    if not always:
        _, _, waits = run(subject, configuration, timed=True)
    found = {"throughput": throughput, "fairness": max(counts) / max(min(counts), 1)}
    for name, part in PERCENTILES.items():
        found[name] = waits[min(int(part * len(waits)), len(waits) - 1)] * 1e6
    return found


# ---------------------------------------------------------------------------------------------------------------------
# In the parent


def configurations(effort: Effort) -> Iterator[Configuration]:
    """All of them, the subjects side by side."""
    available = usable_cores()
    for cores in CORES:
        if cores > len(available):
            continue
        for body in BODIES:
            for threads in THREADS:
                # An empty body needs two runs; and a fair share counts few leases if many threads take turns.
                part = 0.5 if body == "empty" else 0.8 if threads == 8 else 1.0
                for subject in SUBJECTS:
                    if subject.contended:
                        seconds = effort.contended_seconds * part
                        yield Configuration(subject.label, body, threads, cores, seconds)


def measure(effort: Effort, tell: Tell) -> list[dict[str, Any]]:
    """Every configuration with its figures: the medians over the rounds."""

    def title(configuration: Configuration) -> str:
        return f"{configuration.threads} threads, {configuration.body} body: {configuration.subject}"

    def run(configuration: Configuration) -> dict[str, Any]:
        return in_a_process("contention", configuration, configuration.cores)

    found = []
    for configuration, good, first in in_turn(list(configurations(effort)), run, title, effort, tell):
        figures = {name: median(each[name] for each in good) for name in AVERAGED} if good else first
        found.append({**configuration._asdict(), **figures})
    return found


if __name__ == "__main__":
    use_cores(json.loads(sys.argv[2]))
    print(json.dumps(child(Configuration(*json.loads(sys.argv[1])))), flush=True)
    os._exit(0)  # a peer's own threads may not want to end
