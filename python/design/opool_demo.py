"""Ten workers share three resources: `python -m design.opool_demo`."""

from __future__ import annotations

import random
import sys
import threading
import time
import uuid

from design.opool import Pool

WORKERS = 10
RESOURCES = 3


class Resource:
    """A resource with an id of its own."""

    def __init__(self) -> None:
        self.id = uuid.uuid4()


def work(number: int, start: threading.Barrier, pool: Pool[Resource]) -> None:
    """Wait for the other workers, then a random moment, and use a resource."""
    start.wait()
    time.sleep(random.random() / 15)
    with pool.lease() as resource:
        # In one call: `print` writes the end of the line separately, and other threads could write in between.
        sys.stdout.write(f"worker {number} got resource {resource.id}\n")


def main() -> None:
    """Print which resource each worker got."""
    pool = Pool([Resource() for _ in range(RESOURCES)])
    start = threading.Barrier(WORKERS)
    workers = [threading.Thread(target=work, args=(number, start, pool)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
