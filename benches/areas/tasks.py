"""What a task pays: an object that is free, a thousand tasks over ten objects, and threads beside tasks.

The free case is measured as everything that takes nanoseconds (`harness.py`), inside a task; none of the subjects gives
the event loop anything to do. The others run in a process of their own, on one core. Tasks work until told to stop, and
only what ended before that is counted: after it even those who had starved are served. An event loop that is never idle
is timed by its thread's clock, so what other processes take from the core is not counted; threads beside it cannot be.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from statistics import median
from typing import Any, Callable, NamedTuple

import opool
from areas.children import in_a_process, in_turn, use_cores
from areas.peers import objects
from areas.task_peers import NO_POOL, QUEUED, SUBJECTS, queued
from harness import Case, Comparison, Effort, Tell

FREE, WAYS = "tasks: an object is free", "tasks: ways to lease"
TASKS, OBJECTS = 1_000, 10
MIXED_TASKS, MIXED_THREADS, MIXED_OBJECTS = 400, 4, 4
FIGURES = ["throughput", "fairness", "starved", "low", "high"]
UNDER_UVLOOP = ["opool", "Semaphore and deque", "asyncio.Queue", QUEUED, NO_POOL.label]


# ---------------------------------------------------------------------------------------------------------------------
# Without contention


def comparisons() -> list[Comparison]:
    """An object that is free, and what the forms of a lease cost."""
    event_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(event_loop)  # Python 3.9 asks for it when a semaphore is made
    atexit.register(end, event_loop)
    run = event_loop.run_until_complete
    cases, absent = [], {}
    for subject in SUBJECTS:
        try:
            names = run(subject.make(OBJECTS))
            case = Case(subject.label, subject.statement.replace("BODY", "pass"), names, run=run)
            case.compiled()(OBJECTS)
        except Exception as error:  # a peer that is not there, or not made for this interpreter
            if not subject.package:
                raise
            absent[subject.label] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        else:
            cases.append(case)
    pool = {"pool": opool.Pool(objects())}
    ways = [
        Case("lease_async()", "async with pool.lease_async() as obj: pass", pool, run=run),
        Case("lease_async(timeout=5)", "async with pool.lease_async(timeout=5) as obj: pass", pool, run=run),
        Case("await, release", "lease = await pool.lease_async(); lease.release()", pool, run=run),
        Case("lease(), as a thread would", "with pool.lease() as obj: pass", pool, run=run),
    ]
    return [Comparison(FREE, cases, rounds=200, absent=absent), Comparison(WAYS, ways, rounds=200)]


def end(event_loop: asyncio.AbstractEventLoop) -> None:
    """Some peers have tasks of their own, which would complain at the end of the program."""
    for task in asyncio.all_tasks(event_loop):
        task.cancel()
    event_loop.run_until_complete(asyncio.sleep(0.01))
    event_loop.close()


# ---------------------------------------------------------------------------------------------------------------------
# In a child


class Configuration(NamedTuple):
    """What one process does."""

    subject: str
    event_loop: str
    mixed: bool
    seconds: float


WORK = """
async def work(place, counts, running, sleep, {names}):
    done = 0
    while True:
        {statement}
        if not running:
            break
        done += 1
    counts[place] = done
"""


def shares(counts: list[int], seconds: float) -> dict[str, float]:
    """Leases a second, and how they are shared: the idlest and the busiest as parts of the mean."""
    mean = max(sum(counts) / len(counts), 1e-9)
    return {
        "throughput": sum(counts) / seconds,
        "fairness": max(counts) / max(min(counts), 1),
        "starved": counts.count(0),
        "low": min(counts) / mean,
        "high": max(counts) / mean,
    }


async def contended(configuration: Configuration) -> dict[str, dict[str, float]]:
    """A thousand tasks over ten objects."""
    subject = next(subject for subject in [*SUBJECTS, NO_POOL] if subject.label == configuration.subject)
    names = await subject.make(OBJECTS)
    source = WORK.format(names=", ".join(names), statement=subject.statement.replace("BODY", "await sleep(0)"))
    space: dict[str, Any] = {}
    exec(compile(source, subject.label, "exec"), space)
    counts, running = [0] * TASKS, [True]
    began = time.thread_time()
    tasks = [
        asyncio.ensure_future(space["work"](place, counts, running, asyncio.sleep, *names.values()))
        for place in range(TASKS)
    ]
    await asyncio.sleep(configuration.seconds)
    running.clear()
    took = time.thread_time() - began
    await asyncio.gather(*tasks)
    return {"tasks": shares(counts, took)}


class Mixed(NamedTuple):
    """How tasks and threads use the same objects: each a step that takes one, runs its body, and gives it back."""

    in_a_task: Callable[[], Coroutine[Any, Any, None]]
    in_a_thread: Callable[[], None]


def block() -> None:
    """The body of a thread."""
    time.sleep(0.0001)


async def mixed_opool() -> Mixed:
    pool = opool.Pool(range(MIXED_OBJECTS), timeout=None)

    async def in_a_task() -> None:
        async with pool.lease_async():
            await asyncio.sleep(0)

    def in_a_thread() -> None:
        with pool.lease():
            block()

    return Mixed(in_a_task, in_a_thread)


async def mixed_queue() -> Mixed:
    """The threads' queue; tasks wait for it in threads of the event loop's."""
    idle: queue.Queue[int] = queue.Queue()
    for obj in range(MIXED_OBJECTS):
        idle.put(obj)

    async def in_a_task() -> None:
        obj = await asyncio.to_thread(idle.get)
        await asyncio.sleep(0)
        idle.put(obj)

    def in_a_thread() -> None:
        obj = idle.get()
        block()
        idle.put(obj)

    return Mixed(in_a_task, in_a_thread)


async def mixed_asyncio() -> Mixed:
    """The tasks' queue; threads send the event loop to it."""
    event_loop, idle = asyncio.get_running_loop(), (await queued(MIXED_OBJECTS))["idle"]

    async def in_a_task() -> None:
        obj = await idle.get()
        await asyncio.sleep(0)
        idle.put_nowait(obj)

    def in_a_thread() -> None:
        obj = asyncio.run_coroutine_threadsafe(idle.get(), event_loop).result()
        block()
        event_loop.call_soon_threadsafe(idle.put_nowait, obj)

    return Mixed(in_a_task, in_a_thread)


MIXED = {"opool": mixed_opool, "queue.Queue, to_thread": mixed_queue, "asyncio.Queue, threadsafe": mixed_asyncio}


async def mixed(configuration: Configuration) -> dict[str, dict[str, float]]:
    """Four threads and four hundred tasks over four objects."""
    steps = await MIXED[configuration.subject]()
    by_task, by_thread, running = [0] * MIXED_TASKS, [0] * MIXED_THREADS, [True]

    async def task(place: int) -> None:
        done = 0
        while True:
            await steps.in_a_task()
            if not running:
                break
            done += 1
        by_task[place] = done

    def thread(place: int) -> None:
        done = 0
        while True:
            steps.in_a_thread()
            if not running:
                break
            done += 1
        by_thread[place] = done

    began = time.perf_counter()
    tasks = [asyncio.ensure_future(task(place)) for place in range(MIXED_TASKS)]
    threads = [threading.Thread(target=thread, args=(place,)) for place in range(MIXED_THREADS)]
    for each in threads:
        each.start()
    await asyncio.sleep(configuration.seconds)
    running.clear()
    took = time.perf_counter() - began
    await asyncio.gather(*tasks)
    while any(each.is_alive() for each in threads):
        await asyncio.sleep(0.01)
    return {"tasks": shares(by_task, took), "threads": shares(by_thread, took)}


# ---------------------------------------------------------------------------------------------------------------------
# In the parent


def configurations(effort: Effort) -> Iterator[Configuration]:
    """All of them, the subjects side by side."""
    seconds = effort.contended_seconds
    for subject in [*SUBJECTS, NO_POOL]:
        if subject.contended:
            yield Configuration(subject.label, "asyncio", False, seconds)
    for label in UNDER_UVLOOP:
        yield Configuration(label, "uvloop", False, seconds)
    for label in MIXED:
        yield Configuration(label, "asyncio", True, seconds * 2)  # the threads' shares are small


def measure(effort: Effort, tell: Tell) -> list[dict[str, Any]]:
    """Every configuration with its figures, a row a kind of worker: the medians over the rounds."""

    def title(configuration: Configuration) -> str:
        return f"{'threads and tasks' if configuration.mixed else 'tasks'}: {configuration.subject}"

    def run(configuration: Configuration) -> dict[str, Any]:
        return in_a_process("tasks", configuration, 1)

    found = []
    for configuration, good, first in in_turn(list(configurations(effort)), run, title, effort, tell):
        for kind in good[0] if good else ["tasks"]:
            row = {name: median(each[kind][name] for each in good) for name in FIGURES} if good else first
            found.append({**configuration._asdict(), "kind": kind, **row})
    found.sort(key=lambda row: (row["mixed"], row["kind"]))  # the subjects side by side
    return found


def main(configuration: Configuration, cores: list[int]) -> None:
    """The child."""
    use_cores(cores)
    event_loop = importlib.import_module(configuration.event_loop).new_event_loop()
    asyncio.set_event_loop(event_loop)
    run = mixed if configuration.mixed else contended
    print(json.dumps(event_loop.run_until_complete(run(configuration))), flush=True)
    os._exit(0)  # a peer's own tasks may not want to end


if __name__ == "__main__":
    main(Configuration(*json.loads(sys.argv[1])), json.loads(sys.argv[2]))
