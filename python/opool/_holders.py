"""Who holds what."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from opool import _opool, _task_holders
from opool._log import logger, pool_name
from opool.errors import PoolCloseTimeout, duration, seconds, shown, thread_name, thread_names

if TYPE_CHECKING:
    from opool import Pool

__all__ = ["Holder", "holders"]

_HIDDEN_MODULES = {__name__, "opool._deadlock"}
"""Their frames on top of a stack are those of the report itself."""

_MAX_NAMED = 10
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
        return stack_of(self, sys._current_frames())

    @property
    def who(self) -> str:
        """What messages call the holder."""
        return self.thread if self.task is None else f"task {self.task!r} of {self.thread}"

    def __str__(self) -> str:
        """As in "<conn 3>, with thread 'worker-1' for 2.1 s"."""
        where = "" if self.place is None else f", taken at {self.place}"
        return f"{shown(self.obj)}, with {self.who} for {duration(self.age, self.exact)}{where}"


def stack_of(holder: Holder, frames: Mapping[int, FrameType]) -> str:
    """Format the stack of the task or the thread that holds the object; `frames` are those of all threads."""
    if holder._task is not None:
        stack = _task_holders.task_stack(holder._task)
        if stack:
            return stack
    frame = frames.get(holder.thread_id)
    while frame is not None and frame.f_globals.get("__name__") in _HIDDEN_MODULES:
        frame = frame.f_back
    if frame is None:
        return f"  {holder.thread} has no stack\n"
    return "".join(traceback.format_stack(frame))


def holders(pool: Pool[Any]) -> list[Holder]:
    """List the holders of the objects of `pool`, the longest first."""
    out = _opool._holders(pool)
    names = thread_names()
    tasks = _task_holders.tasks_holding([held.lease for held in out if held.lease is not None])
    found = []
    for held in out:
        task = tasks.get(id(held.lease))
        found.append(
            Holder(
                obj=held.obj,
                thread_id=held.thread_id,
                age=held.age,
                exact=held.exact,
                entered=held.entered,
                place=held.place,
                thread=thread_name(held.thread_id, names),
                task=_task_holders.task_name(task),
                _slot=held.slot,
                _task=task,
            )
        )
    return sorted(found, key=lambda holder: -holder.age)


def join_some(names: list[str], separator: str) -> str:
    """Join the first names, and say how many more there are."""
    rest = f"{separator}and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return separator.join(names[:_MAX_NAMED]) + rest


def close_timeout_error(pool: Pool[Any], timeout: float) -> PoolCloseTimeout:
    """Make the error of a `close` that timed out: it names who still holds what."""
    found = holders(pool)
    who = join_some([str(holder) for holder in found], "; ") or "a thread that is giving it back now"
    what = "1 object is" if len(found) == 1 else f"{len(found)} objects are"
    error = PoolCloseTimeout(f"{pool_name(pool)}: closed, but {what} still out after {seconds(timeout)}: {who}")
    error.holders = found
    return error


def report_leak(pool: Pool[Any], slot: int) -> None:
    """Log that the object of this slot has been out for longer than `leak_after`."""
    for holder in holders(pool):
        if holder._slot == slot:
            logger.warning("%s: a lease is kept too long: %s\n%s", pool_name(pool), holder, holder.stack())
