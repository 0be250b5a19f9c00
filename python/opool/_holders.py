"""Who holds what."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from opool import _task_holders
from opool._background import called
from opool.errors import PoolCloseTimeout, PoolDeadlock, duration, seconds, shown, thread_name, thread_names

if TYPE_CHECKING:
    from opool import Pool

__all__ = ["Holder", "holders"]

_OURS = {__name__, "opool._background"}
"""What the stack of a thread that asks does not show."""

_MANY = 10
"""How many holders a message names."""


@dataclass(frozen=True)
class Holder:
    """Somebody who has an object of a pool.

    Attributes:
        obj: the object.
        thread_id: the number of the thread that entered the lease (or took the object), as `threading.get_ident`.
            Should that thread have ended with it, a later thread may have the number, and be named here.
        age: for how many seconds it has been out.
        exact: whether the age is exact. Else it counts from when somebody first looked or waited: a pool without
            options that need the time does not read the clock for each lease.
        entered: whether the lease is inside its `with`.
        place: where it was taken, as "file:line in function", if the pool was made with ``track=True``.
        thread: what the thread is called.
        task: the name of the task that has it, if a task has it and can be found. Without a GIL only the tasks of the
            thread that asks can.
    """

    obj: Any
    thread_id: int
    age: float
    exact: bool
    entered: bool
    place: str | None
    thread: str
    task: str | None
    _slot: int = field(repr=False, compare=False)
    _task: Any = field(repr=False, compare=False)

    def stack(self) -> str:
        """What the task or the thread is doing now, as a traceback; a remark if it has ended."""
        return _stack(self, sys._current_frames())

    @property
    def who(self) -> str:
        """What messages call the holder."""
        return self.thread if self.task is None else f"task {self.task!r} of {self.thread}"

    def __str__(self) -> str:
        """As in "<conn 3>, with thread 'worker-1' for 2.1 s"."""
        where = "" if self.place is None else f", taken at {self.place}"
        return f"{shown(self.obj)}, with {self.who} for {duration(self.age, self.exact)}{where}"


def _stack(holder: Holder, frames: Mapping[int, FrameType]) -> str:
    if holder._task is not None:
        stack = _task_holders.stack(holder._task)
        if stack:
            return stack
    frame = frames.get(holder.thread_id)
    while frame is not None and frame.f_globals.get("__name__") in _OURS:
        frame = frame.f_back
    if frame is None:
        return f"  {holder.thread} has no stack\n"
    return "".join(traceback.format_stack(frame))


def holders(pool: Pool[Any]) -> list[Holder]:
    """Who holds something now, the longest first."""
    out = pool._holders()
    names = thread_names()
    tasks = _task_holders.tasks_of([lease for *_, lease in out if lease is not None])
    found = [
        Holder(obj, ident, age, exact, entered, place, thread_name(ident, names), _task_holders.name(task), slot, task)
        for obj, slot, ident, age, exact, entered, place, lease in out
        for task in [tasks.get(id(lease))]
    ]
    return sorted(found, key=lambda holder: -holder.age)


def _some(names: list[str], separator: str) -> str:
    """The first of many: a message is for reading."""
    rest = f"{separator}and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return separator.join(names[:_MANY]) + rest


def _holder(holder: Holder) -> tuple[int, str | None]:
    return holder.thread_id, holder.task


def close_timeout(pool: Pool[Any], timeout: float) -> PoolCloseTimeout:
    """Made by `close`, when something is still out."""
    found = holders(pool)
    who = _some([str(holder) for holder in found], "; ") or "somebody who is just giving it back"
    what = "1 object is" if len(found) == 1 else f"{len(found)} objects are"
    error = PoolCloseTimeout(f"{called(pool)}: closed, but {what} still out after {seconds(timeout)}: {who}")
    error.holders = found
    return error


def deadlock(pool: Pool[Any]) -> PoolDeadlock:
    """Made by the pool, when nothing can come back."""
    return PoolDeadlock(describe_deadlock(pool, certain=True))


def describe_deadlock(pool: Pool[Any], *, certain: bool) -> str:
    """All who hold something wait for this pool, and what each of them is doing."""
    found, frames = holders(pool), sys._current_frames()
    held = Counter(map(_holder, found))
    one, kind = len(held) == 1, "thread" if found[0].task is None else "task"
    objects = "its only object is" if len(found) == 1 else f"all {len(found)} objects are"
    who = f"a {kind} that waits for this pool itself" if one else f"{kind}s that wait for this pool themselves"
    more = "add objects" if pool.max_size is None else f"raise max_size (now {pool.max_size})"
    if pool._lends_ids():
        more = "resize the manager"
    lines = [
        f"{called(pool)}: {'a deadlock' if certain else 'probably a deadlock'}: {objects} with {who}. "
        f"Give one back before you take the next, or {more}."
    ]
    # Those that do the same are told of once.
    places: dict[str, list[str]] = {}
    for key, holder in {_holder(holder): holder for holder in found}.items():
        here = " (this one)" if holder.task is None and holder.thread_id == threading.get_ident() else ""
        places.setdefault(_stack(holder, frames), []).append(f"{holder.who}{here} holds {held[key]}")
    # This one is among them: in a cycle with it, what all callers have would stay alive until the collector comes.
    frames.clear()
    lines += [f"{_some(who_is_there, ', ')}, at:\n{stack.rstrip()}" for stack, who_is_there in places.items()]
    return "\n".join(lines)
