"""Who holds which object of a pool, since when, and what they are doing."""

from __future__ import annotations

import sys

from opool import _opool
from opool._log import logger, pool_name
from opool._text import duration, greenlets, is_caller, seconds, shown, thread_name, thread_names
from opool._with_blocks import callers
from opool.errors import PoolCloseTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass
    from types import FrameType
    from typing import Any

    from opool._opool import Pool
else:
    from opool._records import dataclass

__all__ = ["Holder", "holders"]

_HIDDEN_MODULES = {
    __name__,
    "opool._closing",
    "opool._deadlock",
    "opool._event_loops",
    "opool._interrupts",
    "opool._log",
    "opool._stacks",
}
"""Their frames, and those that they have called, are those of a report."""
_IMPORTING_MODULES = {"_frozen_importlib", "_frozen_importlib_external", "importlib._bootstrap"}
"""Their frames are the last ones where the extension imports one of those modules."""
_ATTEMPTS = 20
"""How often a stack is read anew that changes meanwhile."""

_MAX_NAMED = 10
"""How many holders a message names."""


@dataclass(frozen=True)
class Holder:
    """A thread, task or greenlet that holds an object of a pool, as `Pool.holders` returns it.

    Attributes:
        obj: the object.
        thread_id: the thread that entered the lease or took the object, as `threading.get_ident` numbers it. If that
            thread has ended, a later thread may have its number, and be named here. For a greenlet of gevent it is the
            greenlet's `id`, which is how `threading.get_ident` numbers it in a program that gevent has patched.
        age: how many seconds the object has been out.
        exact: whether `age` is exact. Otherwise it is a lower bound, since somebody first waited or looked: a pool
            reads the clock for each lease only with an option that needs it, such as ``timing=True``.
        entered: whether the lease is inside its `with`.
        place: where the object was taken, as "file:line in function"; only with ``track=True``.
        thread: the name of the thread or greenlet, as messages show it.
        task: the name of the task, if a task holds the object and can be found. Without a GIL only tasks of the calling
            thread can be.

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a"], track=True)
        >>> with pool.lease():
        ...     [holder] = pool.holders()
        >>> holder.obj, holder.thread, holder.task
        ('a', "thread 'MainThread'", None)
    """

    obj: Any
    thread_id: int
    age: float
    exact: bool
    entered: bool
    place: str | None
    thread: str
    task: str | None
    _slot: int
    _task: Any

    def stack(self) -> str:
        """Return what the task or thread is doing now, as the lines of a traceback; one line if it has ended.

        Example:
            >>> import opool
            >>> pool = opool.Pool(["a"])
            >>> with pool.lease():
            ...     print(pool.holders()[0].stack())
              File "...", line ..., in ...
            ...
        """
        return stack_of(self)

    @property
    def _kind(self) -> str:
        """What it is: a task, a greenlet or a thread."""
        if self.task is not None:
            return "task"
        return "greenlet" if "greenlet" in self.thread.partition("'")[0] else "thread"

    @property
    def who(self) -> str:
        """The task and the thread, as messages show them."""
        return self.thread if self.task is None else f"task {self.task!r} of {self.thread}"

    def __str__(self) -> str:
        """Format it as in "<conn 3>, with thread 'worker-1' for 2.1 s"."""
        where = "" if self.place is None else f", taken at {self.place}"
        return f"{shown(self.obj)}, with {self.who} for {duration(self.age, self.exact)}{where}"


def stack_of(holder: Holder) -> str:
    """Format the stack of the task or the thread that holds the object, without what a report has called."""
    if holder._task is not None:
        from opool import _task_holders

        stack = _task_holders.task_stack(holder._task)
        if stack:
            return stack
    frames = _read_stack(holder.thread_id)
    # Whatever such a frame has called describes holders as well: another thread may be doing that now.
    hidden = [index for index, (module, _) in enumerate(frames) if module in _HIDDEN_MODULES]
    if hidden:
        frames = frames[hidden[-1] + 1 :]
    while frames and frames[0][0] in _IMPORTING_MODULES:
        frames.pop(0)
    if not frames:
        return f"  {holder.thread} has no stack\n"
    import traceback

    return "".join(traceback.format_list([place for _, place in reversed(frames)]))


def _read_stack(ident: int) -> list[tuple[object, tuple[str, int, str, None]]]:
    """List the frames of a thread or greenlet, the innermost first: the module of each, and its place in the source."""
    innermost = None
    try:
        for _ in range(_ATTEMPTS):
            innermost = sys._current_frames().get(ident) or _greenlet_frame(ident)
            stack = [(frame.f_globals.get("__name__"), _place(frame)) for frame in callers(innermost)]
            # A frame that has returned meanwhile has no caller any more, so there the list was cut short.
            if innermost is (sys._current_frames().get(ident) or _greenlet_frame(ident)):
                break
        return stack
    finally:
        # It may be this frame: the cycle would keep the objects of all callers alive until the collector runs.
        innermost = None


def _place(frame: FrameType) -> tuple[str, int, str, None]:
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, None


def _greenlet_frame(ident: int) -> FrameType | None:
    found = greenlets([ident]).get(ident)
    if found is None:
        return None
    frame: FrameType | None = sys._getframe() if is_caller(ident) else found.gr_frame
    return frame


def holders(pool: Pool[Any]) -> list[Holder]:
    """List the holders of the objects of `pool`, the longest first."""
    out = _opool._holders(pool)
    names = thread_names({held.thread_id for held in out})
    tasks = _tasks([held.lease for held in out if held.lease is not None])
    found = []
    for held in out:
        task, name = tasks.get(id(held.lease), (None, None))
        found.append(
            Holder(
                obj=held.obj,
                thread_id=held.thread_id,
                age=held.age,
                exact=held.exact,
                entered=held.entered,
                place=held.place,
                thread=thread_name(held.thread_id, names),
                task=name,
                _slot=held.slot,
                _task=task,
            )
        )
    return sorted(found, key=lambda holder: -holder.age)


def _tasks(leases: list[Any]) -> dict[int, tuple[Any, str]]:
    """Find the tasks that hold these async leases, each with its name, by the ids of the leases."""
    if not leases:
        return {}
    from opool import _task_holders

    tasks = _task_holders.tasks_holding(leases)
    return {lease: (task, _task_holders.task_name(task)) for lease, task in tasks.items()}


def join_some(names: list[str], separator: str) -> str:
    """Join the first names, and say how many more there are."""
    rest = f"{separator}and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return separator.join(names[:_MAX_NAMED]) + rest


def close_timeout_error(pool: Pool[Any], timeout: float) -> PoolCloseTimeout:
    """Make the error of a `close` that timed out: it names who still holds what."""
    found = holders(pool)
    if found:
        what = f"{_out(found)} still out after {seconds(timeout)}: {_names(found)}"
    else:
        what = f"a hook still runs, or an object is just being given back, after {seconds(timeout)}"
    return _close_timeout(pool, what, found)


def closed_by_holder_error(pool: Pool[Any], slots: set[int], kind: str) -> PoolCloseTimeout:
    """Make the error of a `close` in the `with` of a lease: the objects of `slots` cannot come back before it ends."""
    found = [holder for holder in holders(pool) if holder._slot in slots]
    what = f"{_out(found)} still out, and this {kind} itself is inside the with block: {_names(found)}"
    return _close_timeout(pool, f"{what}. Leave it before you close, or use force=True.", found)


def _close_timeout(pool: Pool[Any], what: str, found: list[Holder]) -> PoolCloseTimeout:
    error = PoolCloseTimeout(f"{pool_name(pool)}: closed, but {what}")
    error.holders = found
    return error


def _out(found: list[Holder]) -> str:
    return "1 object is" if len(found) == 1 else f"{len(found)} objects are"


def _names(found: list[Holder]) -> str:
    return join_some([str(holder) for holder in found], "; ")


def report_leak(pool: Pool[Any], slot: int) -> None:
    """Log that the object of this slot has been out for longer than `leak_after`."""
    for holder in holders(pool):
        if holder._slot == slot:
            logger().warning("%s: a lease is kept too long: %s\n%s", pool_name(pool), holder, holder.stack())
