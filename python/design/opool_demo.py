"""A short tour of the object pool: `python -m design.opool_demo`."""

from __future__ import annotations

import threading
import time

import opool
from design.opool import Pool


class Printer:
    """Something scarce: it notices when two jobs use it at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: list[str] = []
        self._busy = threading.Lock()

    def __repr__(self) -> str:
        return self.name

    def print(self, job: str) -> None:
        """Prints `job`, which takes a moment."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(f"two jobs on {self.name} at once")
        time.sleep(0.001)
        self.jobs.append(job)
        self._busy.release()


def one_after_another() -> None:
    """Leases come in turn, and every object goes back to the end of the line."""
    print("One after another")
    pool = Pool(["red", "green", "blue"])
    for _ in range(4):
        with pool.lease() as colour:
            print(f"  leased {colour}, {pool.pool.qsize()} left")
    try:
        with pool.lease() as colour:
            raise ValueError(f"something went wrong with {colour}")
    except ValueError as error:
        print(f"  {error}; still, {pool.pool.qsize()} of 3 are back")


def many_threads() -> None:
    """Forty jobs on two printers: nobody prints on a printer that is busy, and the work is shared."""
    print("Forty jobs, eight threads, two printers")
    printers = [Printer("printer A"), Printer("printer B")]
    pool = Pool(printers)

    def work(thread: int) -> None:
        for job in range(5):
            with pool.lease() as printer:
                printer.print(f"job {thread}.{job}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for printer in printers:
        print(f"  {printer}: {len(printer.jobs)} jobs")


def mistakes() -> None:
    """What would hand one object to two holders raises instead, and says why."""
    print("Mistakes are named")
    pool = opool.Pool(["token"], name="tokens", timeout=0.05)
    lease = pool.lease()
    try:
        pool.lease()
    except opool.PoolTimeout as error:
        print(f"  PoolTimeout: {error}")
    lease.release()
    try:
        lease.release()
    except opool.LeaseError as error:
        print(f"  LeaseError: {error}")
    pool.lease()
    print(f"  a lease that is dropped gives its object back: {pool}")


def main() -> None:
    """Runs the tour."""
    one_after_another()
    many_threads()
    mistakes()


if __name__ == "__main__":
    main()
