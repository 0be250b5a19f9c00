"""The integer manager, against the usual ones in plain Python: a deque and a set, a heap and a set."""

from __future__ import annotations

import heapq
import queue
from array import array
from typing import Any, Callable, Protocol

import opool
from harness import CHUNK_OPERATIONS, FULL, Case, Comparison
from parity.references.objectmgr import ReferenceObjectMgr

ROUNDS = 200

# What `targets.py` asks about.
FRESH = "ids: get and free, fresh"
FREED = "ids: get and free, freed"
LIST = "ids: 1,000 as a list"
ARRAY = "ids: 1,000 into an array"
RANGE = "ids: 1,000,000 as a range"
PLAIN = "deque and set"
LIST_OF_RANGE = "list(range)"


class Manager(Protocol):
    """What both of them do."""

    def get_object(self) -> int | None: ...
    def free_object(self, obj: int, /) -> object: ...


class Heap:
    """The lowest first, in plain Python."""

    def __init__(self, n: int) -> None:
        self.heap = list(range(1, n))
        self.given: set[int] = set()

    def get_object(self) -> int | None:
        if not self.heap:
            return None
        number = heapq.heappop(self.heap)
        self.given.add(number)
        return number

    def free_object(self, obj: int, /) -> int:
        try:
            self.given.remove(obj)
        except KeyError:
            raise ValueError("Object is not currently allocated.") from None
        heapq.heappush(self.heap, obj)
        return obj


def filled(idle: queue.Queue[int]) -> queue.Queue[int]:
    for number in range(1, 100):
        idle.put(number)
    return idle


def used(manager: Manager, n: int) -> Manager:
    """Every id was given, and every other one came back."""
    while manager.get_object() is not None:
        pass
    for number in range(1, n, 2):
        manager.free_object(number)
    return manager


def comparison(name: str, make: Callable[[type], object], statement: str, **loop: Any) -> Comparison:
    sides = {"opool": opool.ObjectMgr, PLAIN: ReferenceObjectMgr}
    cases = [Case(label, statement, {"ids": make(kind)}, CHUNK_OPERATIONS, **loop) for label, kind in sides.items()]
    return Comparison(name, cases, ROUNDS)


def comparisons() -> list[Comparison]:
    """Fresh ids, freed ids, each call alone, and the construction."""
    enough = int(ROUNDS * FULL.share_of_rounds + 2) * CHUNK_OPERATIONS
    pair = "ids.free_object(ids.get_object())"
    makers = {"opool": opool.ObjectMgr, PLAIN: ReferenceObjectMgr}
    return [
        comparison(FRESH, lambda kind: kind(enough), pair),
        comparison(FREED, lambda kind: used(kind(100_001), 100_001), pair),
        comparison("ids: get and free, 200 ids", lambda kind: used(kind(200), 200), pair),
        comparison("ids: get", lambda kind: kind(enough), "ids.get_object()"),
        comparison(
            "ids: free",
            lambda kind: kind(enough),
            "ids.free_object(item)",
            prepare="held = [ids.get_object() for _ in range(times)]",
            each="held",
        ),
        *batches(),
        Comparison(
            "ids: get and free, lowest first",
            [
                Case("opool", pair, {"ids": used(opool.ObjectMgr(100_001, order="lowest"), 100_001)}, CHUNK_OPERATIONS),
                Case("heap and set", pair, {"ids": used(Heap(100_001), 100_001)}, CHUNK_OPERATIONS),
            ],
            ROUNDS,
        ),
        Comparison(
            "ids: a lease",
            [
                Case("opool", "with ids.lease() as i: pass", {"ids": opool.ObjectMgr(100)}),
                Case("opool, a pool of ints", "with pool.lease() as i: pass", {"pool": opool.Pool(range(1, 100))}),
                Case("queue.Queue of ints", "i = idle.get(); idle.put(i)", {"idle": filled(queue.Queue())}),
            ],
        ),
        Comparison(
            "ids: a manager of 100,000",
            [Case(label, "make(100_000)", {"make": make}, times=1) for label, make in makers.items()],
            rounds=60,
        ),
    ]


def batches() -> list[Comparison]:
    """Many ids in one call."""
    endless, numbers = opool.ObjectMgr(2**62), range(10**6, 10**6 + 1000)
    wide = array("q", bytes(8000))
    cold = {"ids": used(opool.ObjectMgr(100_001), 100_001), "array": array("I", bytes(4000))}
    plain = {"ids": used(ReferenceObjectMgr(100_001), 100_001)}
    one_by_one = "for i in [ids.get_object() for _ in repeat(None, 1000)]: ids.free_object(i)"
    return [
        Comparison(
            LIST,
            [
                Case("opool", "ids.get_many(1000)", {"ids": endless}),
                Case(LIST_OF_RANGE, "list(numbers)", {"numbers": numbers}),
            ],
            ROUNDS,
        ),
        Comparison(ARRAY, [Case("opool", "ids.get_into(array)", {"ids": endless, "array": wide})], ROUNDS),
        Comparison(RANGE, [Case("opool", "ids.get_range(1_000_000)", {"ids": endless}, times=10)], rounds=40),
        Comparison(
            "ids: 1,000 freed ones and back",
            [
                Case("opool, array", "ids.get_into(array); ids.free_many(array)", cold),
                Case("opool, list", "ids.free_many(ids.get_many(1000))", cold),
                Case("opool, one by one", one_by_one, cold),
                Case(PLAIN, one_by_one, plain),
            ],
            ROUNDS,
        ),
    ]
