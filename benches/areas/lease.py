"""The lease without contention, against what the interpreter itself costs."""

from __future__ import annotations

import queue
import threading
from collections import deque

import opool_floor

import opool
from areas.peers import filled, objects
from harness import Case, Comparison
from parity.references.pool import Pool as QueuePool

LEASE, PAIR, WITHIN = "lease", "acquire and release", "lease(timeout=5)"
NULLS = ["null, ordinary", "null, unbound"]  # the better one is the floor


def comparisons() -> list[Comparison]:
    """The lease, the pair of calls without one, and the lease with a keyword."""
    pool = {"pool": opool.Pool(objects())}
    ordinary, unbound = {"null": opool_floor.ordinary}, {"null": opool_floor.unbound}
    lock, queued = {"lock": threading.Lock()}, {"pool": QueuePool(objects())}
    get_put = "obj = idle.get(); idle.put(obj)"
    fifo: queue.Queue[object] = queued["pool"].pool
    return [
        Comparison(
            LEASE,
            [
                Case("opool", "with pool.lease() as obj: pass", pool),
                Case(NULLS[0], "with null.get() as obj: pass", ordinary),
                Case(NULLS[1], "with null.get() as obj: pass", unbound),
                Case("with lock", "with lock: pass", lock),
                Case("queue.Queue design", "with pool.lease() as obj: pass", queued),
            ],
        ),
        Comparison(
            PAIR,
            [
                Case("opool", "obj = pool.acquire(); pool.release(obj)", pool),
                Case("deque", "obj = idle.popleft(); idle.append(obj)", {"idle": deque(objects())}),
                Case("SimpleQueue", get_put, {"idle": filled(queue.SimpleQueue())}),
                Case("queue.Queue", get_put, {"idle": fifo}),
            ],
        ),
        Comparison(
            WITHIN,
            [
                Case("opool", "with pool.lease(timeout=5) as obj: pass", pool),
                Case("opool, lease()", "with pool.lease() as obj: pass", pool),
                Case(NULLS[0], "with null.get_within(timeout=5) as obj: pass", ordinary),
                Case(NULLS[1], "with null.get_within(timeout=5) as obj: pass", unbound),
                Case("queue.Queue", "obj = idle.get(timeout=5); idle.put(obj)", {"idle": fifo}),
            ],
        ),
    ]
