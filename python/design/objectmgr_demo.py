"""A demonstration of the id manager: `python -m design.objectmgr_demo`.

Services allocate and free ports, the lowest free port first. Then more jobs than there are ports wait for one. The last
part shows what a manager of a billion ids costs.
"""

from __future__ import annotations

import mmap
import random
import sys
import threading
import time
from array import array
from pathlib import Path

from opool import ObjectMgr

PORTS = range(8000, 8064)
ADMIN = 8032
BILLION = 10**9
STEP = 10**7
SERVICES = ["api", "auth", "cache", "cron", "mail", "search", "web"]
BAR = 40


def row(ports: ObjectMgr, owners: dict[int, str]) -> str:
    """Show each port as a character: the first letter of its service, `x` for excluded, `.` for free."""
    excluded = {port for span in ports.excluded for port in span}
    return "".join(owners[port][0] if port in owners else "x" if port in excluded else "." for port in ports.ids)


def progress(done: int, of: int) -> None:
    """Draw a progress bar, if stderr is a terminal."""
    if sys.stderr.isatty():
        filled = BAR * done // of
        end = "\n" if done == of else ""
        sys.stderr.write(f"\r  [{'#' * filled}{' ' * (BAR - filled)}] {100 * done // of:3} %{end}")
        sys.stderr.flush()


def memory() -> str:
    """Return the memory of the process, where the system tells it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return "unknown"
    return f"{pages * mmap.PAGESIZE >> 20} MiB"


def allocate_ports(chance: random.Random) -> None:
    """Let services allocate ports, single ones and ranges, and free them."""
    ports = ObjectMgr(PORTS, order="lowest")
    owners: dict[int, str] = {}
    print(f"{len(PORTS)} ports, {PORTS.start} to {PORTS.stop - 1}; the lowest free one goes first")
    ports.exclude([8000, *range(8008, 8012)])
    print(f"  excluded for good     {ports.excluded}")
    print(f"  reserved              {ports.reserve(ADMIN)}; a second time: {ports.reserve(ADMIN)}")
    owners[ADMIN] = "ADMIN"
    for _ in range(9):
        service = chance.choice(SERVICES)
        count = chance.choice([1, 1, 2, 4])
        run = ports.get_range(count)
        if run is not None:
            owners.update(dict.fromkeys(run, service))
            print(f"  {row(ports, owners)}  {service} takes {', '.join(map(str, run))}")
        if chance.random() < 0.5:
            leaver = chance.choice(sorted(set(owners.values()) - {"ADMIN"}))
            freed = [port for port in ports if owners[port] == leaver]
            ports.free_many(freed)
            for port in freed:
                del owners[port]
            print(f"  {row(ports, owners)}  {leaver} leaves: {len(freed)} freed")
    print(f"  {ports!r}")
    try:
        ports.free_many([ADMIN, 8063])
    except ValueError as error:
        print(f"  a wrong id changes nothing: {error}; {ADMIN} still allocated: {ADMIN in ports}")
    kept = ports.dump()
    print(f"  kept in {len(kept)} bytes, read back equal: {ObjectMgr.load(kept) == ports}")


def wait_for_ports() -> None:
    """Let threads lease a port each, and wait until one is free."""
    ports = ObjectMgr(range(9000, 9002))
    print(f"\n5 jobs, {ports.available} ports")
    begin = time.perf_counter()

    def job(name: str) -> None:
        with ports.lease(timeout=5) as port:
            # In one call: `print` writes the end of the line separately, and other threads could write in between.
            print(f"  {name} has {port} after {1e3 * (time.perf_counter() - begin):3.0f} ms\n", end="")
            time.sleep(0.05)

    jobs = [threading.Thread(target=job, args=(f"job {number}",)) for number in range(5)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join()
    print(f"  {ports!r}")


def allocate_a_billion() -> None:
    """Allocate a billion ids in ranges, dump the manager, and free some."""
    print(f"\n{BILLION:,} ids")
    begin = time.perf_counter()
    ids = ObjectMgr(range(BILLION))
    print(f"  constructed           {1e6 * (time.perf_counter() - begin):8.0f} us; memory of the process: {memory()}")
    begin = time.perf_counter()
    for _ in range(0, BILLION, STEP):
        ids.get_range(STEP)
        progress(len(ids), BILLION)
    took = time.perf_counter() - begin
    print(f"  all allocated         {1e3 * took:8.0f} ms; {memory()}; the next: {ids.get_object()}")
    begin = time.perf_counter()
    kept = ids.dump()
    took = time.perf_counter() - begin
    print(f"  dumped                {1e3 * took:8.0f} ms; {len(kept):,} bytes that any Roaring library reads")
    begin = time.perf_counter()
    ids.free_many(range(0, BILLION, 1000))
    print(f"  every 1000th freed    {1e3 * (time.perf_counter() - begin):8.0f} ms; {ids!r}")
    numbers = array("I", bytes(4 * 10**6))
    begin = time.perf_counter()
    ids.get_into(numbers)
    print(f"  into an array         {1e3 * (time.perf_counter() - begin):8.0f} ms; {numbers[0]}, {numbers[1]}, ...")


def main() -> None:
    """Print all parts."""
    allocate_ports(random.Random(8))
    wait_for_ports()
    allocate_a_billion()


if __name__ == "__main__":
    main()
