"""Who holds what."""

from __future__ import annotations

import sys
import threading
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opool._background import called
from opool.errors import PoolCloseTimeout, PoolDeadlock, thread_name

if TYPE_CHECKING:
    from opool import Pool

__all__ = ["Holder", "holders"]

_OURS = {__name__, "opool._background"}
"""What the stack of a thread that asks does not show."""


@dataclass(frozen=True)
class Holder:
    """Somebody who has an object of a pool.

    Attributes:
        obj: the object.
        thread_id: the number of the thread that entered the lease (or took the object), as `threading.get_ident`.
        age: for how many seconds it has been out.
        exact: whether the age is exact. Else it counts from when somebody first looked or waited: a pool without
            options that need the time does not read the clock for each lease.
        entered: whether the lease is inside its `with`.
        place: where it was taken, as "file:line in function", if the pool was made with ``track=True``.
    """

    obj: Any
    thread_id: int
    age: float
    exact: bool
    entered: bool
    place: str | None
    thread: str
    _slot: int = field(repr=False, compare=False)

    def stack(self) -> str:
        """What the thread is doing now, as a traceback; a remark if it has ended."""
        frame = sys._current_frames().get(self.thread_id)
        while frame is not None and frame.f_globals.get("__name__") in _OURS:
            frame = frame.f_back
        if frame is None:
            return f"  {self.thread} has no stack\n"
        return "".join(traceback.format_stack(frame))

    def __str__(self) -> str:
        """As in "<conn 3>, with thread 'worker-1' for 2.1 s"."""
        where = "" if self.place is None else f", taken at {self.place}"
        return f"{_shown(self.obj)}, with {self.thread} for {'' if self.exact else 'at least '}{self.age:.3g} s{where}"


def _shown(obj: object) -> str:
    try:
        text = repr(obj)
    except Exception:
        text = f"an object of type {type(obj).__name__}"
    return text if len(text) <= 200 else text[:200] + "..."


def holders(pool: Pool[Any]) -> list[Holder]:
    """Who holds something now, the longest first."""
    found = [
        Holder(obj, ident, age, exact, entered, place, thread_name(ident), slot)
        for obj, slot, ident, age, exact, entered, place in pool._holders()
    ]
    return sorted(found, key=lambda holder: -holder.age)


def close_timeout(pool: Pool[Any], timeout: float) -> PoolCloseTimeout:
    """Made by `close`, when something is still out."""
    found = holders(pool)
    who = "; ".join(map(str, found)) or "somebody who is just giving it back"
    what = "1 object is" if len(found) == 1 else f"{len(found)} objects are"
    error = PoolCloseTimeout(f"{called(pool)}: closed, but {what} still out after {timeout!r} s: {who}")
    error.holders = list(found)
    return error


def deadlock(pool: Pool[Any]) -> PoolDeadlock:
    """Made by the pool, when nothing can come back."""
    return PoolDeadlock(describe_deadlock(pool, certain=True))


def describe_deadlock(pool: Pool[Any], *, certain: bool) -> str:
    """All who hold something wait for this pool, and what each of them is doing."""
    found = holders(pool)
    is_ = "a deadlock" if certain else "probably a deadlock"
    lines = [
        f"{called(pool)}: {is_}: all {len(found)} objects are with threads that wait for this pool themselves. "
        "Take one object a thread, take all at once, or raise max_size."
    ]
    for ident in dict.fromkeys(holder.thread_id for holder in found):
        mine = [holder for holder in found if holder.thread_id == ident]
        here = " (this one)" if ident == threading.get_ident() else ""
        lines.append(f"{mine[0].thread}{here} holds {len(mine)} and is at:\n{mine[0].stack()}")
    return "\n".join(lines)
