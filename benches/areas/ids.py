"""The integer manager, against the usual one in plain Python: a deque and a set."""

from __future__ import annotations

from typing import Any, Callable, Protocol

import opool
from harness import CHUNK_OPERATIONS, FULL, Case, Comparison
from references.objectmgr import ReferenceObjectMgr

ROUNDS = 200


class Manager(Protocol):
    """What both of them do."""

    def get_object(self) -> int | None: ...
    def free_object(self, obj: int, /) -> object: ...


def used(manager: Manager, n: int) -> Manager:
    """Every id was given, and every other one came back."""
    while manager.get_object() is not None:
        pass
    for number in range(1, n, 2):
        manager.free_object(number)
    return manager


def comparison(name: str, make: Callable[[type], object], statement: str, **loop: Any) -> Comparison:
    sides = {"opool": opool.ObjectMgr, "deque and set": ReferenceObjectMgr}
    cases = [Case(label, statement, {"ids": make(kind)}, CHUNK_OPERATIONS, **loop) for label, kind in sides.items()]
    return Comparison(name, cases, ROUNDS)


def comparisons() -> list[Comparison]:
    """Fresh ids, freed ids, each call alone, and the construction."""
    enough = int(ROUNDS * FULL.share_of_rounds + 2) * CHUNK_OPERATIONS
    pair = "ids.free_object(ids.get_object())"
    makers = {"opool": opool.ObjectMgr, "deque and set": ReferenceObjectMgr}
    return [
        comparison("ids: get and free, fresh", lambda kind: kind(enough), pair),
        comparison("ids: get and free, freed", lambda kind: used(kind(100_001), 100_001), pair),
        comparison("ids: get and free, 200 ids", lambda kind: used(kind(200), 200), pair),
        comparison("ids: get", lambda kind: kind(enough), "ids.get_object()"),
        comparison(
            "ids: free",
            lambda kind: kind(enough),
            "ids.free_object(item)",
            prepare="held = [ids.get_object() for _ in range(times)]",
            each="held",
        ),
        Comparison(
            "ids: a manager of 100,000",
            [Case(label, "make(100_000)", {"make": make}, times=1) for label, make in makers.items()],
            rounds=60,
        ),
    ]
