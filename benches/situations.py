"""What pools do where it matters: each peer is put into the same situations, and what happens is printed.

    python benches/situations.py [--only PROBE ...] [--peer PEER ...]

Every answer comes from a process of its own, which is ended if it hangs. The connections are stubs, so that factories
can be slow or fail at will; the pools are the real ones, made as their manuals say. `make bench-env` brings the peers.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable

from kits import KITS, SIZE, Connection, real

PATIENCE = 60.0  # seconds for one answer


class Hit(KeyboardInterrupt):
    """Raised by the signal handler."""


def thread(target: Callable[[], object]) -> threading.Thread:
    started = threading.Thread(target=target, daemon=True)
    started.start()
    return started


def outcome(call: Callable[[], object]) -> tuple[str, float]:
    """What came of a call, and after how many seconds."""
    began = time.monotonic()
    try:
        call()
        what = "ok"
    except BaseException as error:
        what = type(error).__name__
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if cause is not error:
            what += f" from {type(cause).__name__}"
    return what, time.monotonic() - began


def hit_while(call: Callable[[], object], after: float) -> None:
    """Calls again and again, until a signal handler has raised, once, as Ctrl-C does."""

    def handler(*_: object) -> None:
        raise Hit

    signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        while True:
            call()
    except BaseException:  # some raise another one in its place
        pass


# ----------------------------------------------------------------------------------------------------------------------
# The probes: each says in a few words what happened.


def fairness(kit: Any) -> str:
    """32 threads over 4 objects, 200 us each, for a second: who is served?"""
    pool, served, stop = kit(timeout=30.0), [0] * 32, time.monotonic() + 1.0

    def work(number: int) -> None:
        while time.monotonic() < stop:
            obj = pool.get()
            time.sleep(0.0002)
            pool.put(obj)
            served[number] += 1

    for worker in [thread(lambda number=number: work(number)) for number in range(32)]:  # type: ignore[misc]
        worker.join()
    starved = sum(count < sum(served) / 320 for count in served)
    return f"busiest/idlest {max(served) / max(min(served), 1):.2f}" + (f", {starved} of 32 starve" if starved else "")


def interrupted(kit: Any) -> str:
    """A signal handler raises at random points of a loop of leases; every 10 times: are all objects still there?"""
    pool, count, reports = kit(timeout=1.0), 0, [0.0]

    def watch() -> None:
        while time.monotonic() - reports[0] < 5:
            time.sleep(0.1)
        print(f"frozen after {count} exceptions", flush=True)
        os._exit(0)

    reports[0] = time.monotonic()
    thread(watch)
    while count < 1_000:
        for _ in range(10):
            hit_while(pool.cycle, random.uniform(0.00005, 0.001))
            count += 1
        gc.collect()
        held: list[Any] = []
        what = outcome(lambda held=held: held.extend(pool.get() for _ in range(SIZE)))[0]  # type: ignore[misc]
        if what != "ok":
            return f"objects are lost after {count} exceptions: {what}"
        while held:
            pool.put(held.pop())
        reports[0] = time.monotonic()
    return f"nothing lost in {count} exceptions"


def interrupted_wait(kit: Any) -> str:
    """A signal handler raises while the main thread waits, 20 times: is the object that comes back then still there?"""

    def lost() -> bool:
        pool = kit(size=1, timeout=0.5)
        taken, back = threading.Event(), threading.Event()

        def hold() -> None:
            obj = pool.get()
            taken.set()
            back.wait()
            pool.put(obj)

        holder = thread(hold)
        taken.wait()
        began = time.monotonic()
        hit_while(pool.cycle, 0.1)
        assert 0.09 < time.monotonic() - began < 0.4, "it was to be interrupted"
        back.set()
        holder.join()
        return outcome(pool.cycle)[0] != "ok"

    return f"{sum(lost() for _ in range(20))} of 20 lost"


def forked(kit: Any) -> str:
    """Two threads lease, the main thread forks, 40 times. Does the child's first lease work, and whose object is it?"""
    pool, frozen, parents = kit(timeout=30.0), 0, 0
    mine = [pool.get() for _ in range(2)]
    made = {id(real(obj)) for obj in mine}
    for obj in mine:
        pool.put(obj)

    def work() -> None:
        while True:
            pool.cycle()

    keep = [thread(work) for _ in range(2)]
    for _ in range(40):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(1)
            os._exit(int(id(real(pool.get())) in made))
        status = os.waitpid(child, 0)[1]
        frozen += os.WIFSIGNALED(status)
        parents += status == 256
    assert keep
    return f"{frozen} of 40 freeze, {parents} get the parent's connection"


def released_twice(kit: Any) -> str:
    """The same object is given back a second time."""
    pool = kit(size=2, timeout=0.3)
    obj = pool.get()
    pool.put(obj)
    what, _ = outcome(lambda: pool.put(obj))
    one, two = pool.get(), pool.get()
    return what + (", then lent to two at once" if real(one) is real(two) else "")


def slow_factory(kit: Any) -> str:
    """A factory takes 1 s in one thread; another gives its object back meanwhile. Which is when?"""
    slow = threading.Event()

    def make() -> Connection:
        if slow.is_set():
            time.sleep(1.0)
        return Connection()

    pool = kit(make, size=2)
    first, times = pool.get(), []
    slow.set()
    asking = thread(lambda: times.append(outcome(pool.get)[1]))
    time.sleep(0.2)
    _, giving = outcome(lambda: pool.put(first))
    asking.join()
    return f"giving back takes {giving:.1f} s; the one who waits has one after {times[0]:.1f} s"


def failing_factory(kit: Any) -> str:
    """The factory always fails; a lease may take 2 s. What is raised, and when?"""

    def make() -> Connection:
        raise OSError("the real reason")

    what, took = outcome(kit(make, timeout=2.0).get)
    return f"{what} after {took:.1f} s"


def one_deadline(kit: Any) -> str:
    """The factory takes 3 s; a lease may take 0.5 s."""

    def make() -> Connection:
        time.sleep(3.0)
        return Connection()

    what, took = outcome(kit(make, timeout=0.5).get)
    return f"{what} after {took:.1f} s"


def closed(kit: Any) -> str:
    """Everything is out, somebody waits (up to 5 s), and the pool is closed."""
    pool, found = kit(size=1, timeout=5.0), []
    held = pool.get()
    waiting = thread(lambda: found.append(outcome(pool.get)))
    time.sleep(0.2)
    outcome(pool.close)
    waiting.join(8)
    assert held
    return f"{found[0][0]} after {found[0][1] - 0.2:.1f} s" if found else "waits for ever"


def deadlocked(kit: Any) -> str:
    """A thread that holds the only object asks for another; a lease may take 5 s."""
    pool = kit(size=1, timeout=5.0)
    if hasattr(pool.pool, "lease"):  # a bare object could be given back by anybody; a lease that was entered could not
        with pool.pool.lease():
            what, took = outcome(pool.get)
    else:
        held = pool.get()
        what, took = outcome(pool.get)
        assert held
    return f"{what} after {took:.1f} s"


def dropped(kit: Any) -> str:
    """A lease is lost without being given back."""
    pool = kit(size=1, timeout=0.5)
    lease = pool.pool.lease() if hasattr(pool.pool, "lease") else pool.get()
    del lease
    gc.collect()
    what, _ = outcome(pool.get)
    return "comes back" if what == "ok" else f"lost: {what}"


def idle_threads(kit: Any) -> str:
    """Threads that are there 4 s after the last lease."""
    pool = kit()
    pool.cycle()
    time.sleep(4.0)
    return str(threading.active_count() - 1)


def above_the_limit(kit: Any) -> str:
    """Closing takes 20 ms; 8 threads throw away what they get, for a second. How many are open at the same time?"""
    lock, gauge = threading.Lock(), [0, 0]

    class Slow(Connection):
        def __init__(self) -> None:
            with lock:
                gauge[0] += 1
                gauge[1] = max(gauge)

        def close(self, *_: Any, **__: Any) -> None:
            time.sleep(0.02)
            with lock:
                gauge[0] -= 1

    options: dict[str, Any] = {"dispose": Slow.close} if kit is KITS["opool"] else {}
    pool, stop = kit(Slow, **options), time.monotonic() + 1.0

    def work() -> None:
        while time.monotonic() < stop:
            if kit is KITS["opool"]:
                pool.pool.lease().discard()
            elif kit is KITS["SQLAlchemy"]:
                pool.get().invalidate()
            else:
                conn = pool.get()
                real(conn).close()
                real(conn).closed = True
                real(conn).pgconn = type("Bad", (), {"transaction_status": 4})
                pool.put(conn)

    for worker in [thread(work) for _ in range(8)]:
        worker.join()
    return f"{gauge[1]} with a limit of {SIZE}"


def cost(kit: Any) -> str:
    """Nanoseconds of the thread's own time for one lease, in the form of the manual; the best of nine."""
    pool = kit()
    pool.cycle()
    best = float("inf")
    for _ in range(9):
        began = time.thread_time_ns()
        for _ in range(5_000):
            pool.cycle()
        best = min(best, (time.thread_time_ns() - began) / 5_000)
    return f"{best:,.0f} ns, a method call included"


PROBES = {
    probe.__name__: probe
    for probe in [
        fairness,
        interrupted,
        interrupted_wait,
        forked,
        released_twice,
        dropped,
        slow_factory,
        failing_factory,
        one_deadline,
        closed,
        deadlocked,
        idle_threads,
        above_the_limit,
        cost,
    ]
}


def answer(peer: str, probe: str) -> str:
    """What a process of its own says; or that it hangs."""
    command = [sys.executable, "-W", "ignore", __file__, "--answer", peer, probe]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"hangs (over {PATIENCE:.0f} s)"
    said = done.stdout.strip().splitlines()
    return said[-1] if said else "?: " + (done.stderr.strip().splitlines() or ["no answer"])[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PROBES, default=list(PROBES), metavar="PROBE")
    parser.add_argument("--peer", nargs="+", choices=list(KITS), default=list(KITS), metavar="PEER")
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        peer, probe = arguments.answer
        print(PROBES[probe](KITS[peer]), flush=True)
        os._exit(0)  # whatever hangs by now may hang
    for probe in arguments.only:
        print(f"\n{probe}: {PROBES[probe].__doc__}")
        for peer in arguments.peer:
            print(f"  {peer:14}{answer(peer, probe)}", flush=True)


if __name__ == "__main__":
    main()
