"""Which task holds which async lease, and what it is doing."""

from __future__ import annotations

import gc
import sys
from collections import Counter

from opool import _event_loops, _opool
from opool._text import this_thread
from opool._weaksets import snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def tasks_holding(leases: list[Any]) -> dict[int, Any]:
    """Find the tasks that are inside the `async with` of these async leases, by the ids of the leases.

    A lease does not know its task: asking for it would cost more than the lease. But a suspended coroutine has on its
    stack what its `async with` will call in the end, which is the lease; so all tasks are searched.
    """
    wanted = {id(lease) for lease in leases}
    found: dict[int, Any] = {}
    if not wanted:
        return found
    for task in _all_tasks():
        for coroutine in awaited_chain(task):
            found.update(dict.fromkeys(wanted.intersection(map(id, _on_stack(coroutine))), task))
        if len(found) == len(wanted):
            return found
    current = _event_loops.current_task()
    if current is not None:
        # It runs, so its stack cannot be read; those of all others have been.
        here = this_thread()
        mine = [lease for lease in leases if id(lease) not in found and _opool._thread(lease) == here]
        found.update({id(lease): current for lease in mine})
    return found


def held_by_suspended(leases: list[tuple[Any, int]]) -> list[Any]:
    """Find the leases that only suspended tasks can leave.

    Args:
        leases: each with the number of references to it, besides that of the tuple.
    """
    if not leases:
        return []
    seen: Counter[int] = Counter()
    for task in {id(task): task for task in _all_tasks()}.values():
        for coroutine in awaited_chain(task):
            if not (getattr(coroutine, "cr_running", False) or getattr(coroutine, "gi_running", False)):
                seen.update(map(id, _on_stack(coroutine)))
    # Not if something else refers to it as well: that could be the task that runs.
    return [lease for lease, references in leases if references and seen[id(lease)] == references]


def _all_tasks() -> Iterator[Any]:
    """Yield the tasks whose stacks may be read, those of this thread first.

    Without a GIL those of other threads are left out: they may run meanwhile.
    """
    trio = sys.modules.get("trio")
    if trio is not None and _event_loops.running_trio_loop() is not None:
        roots = [trio.lowlevel.current_root_task()]
        while roots:
            task = roots.pop()
            yield task
            roots += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return
    event_loop = _event_loops.running_loop()
    if isinstance(event_loop, asyncio.AbstractEventLoop):
        yield from asyncio.all_tasks(event_loop)
    if not _has_gil():
        return
    if sys.version_info < (3, 14):
        for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):  # until 3.11, and since
            tasks = snapshot(getattr(asyncio.tasks, name, ()))  # other threads start tasks
            yield from (task for task in tasks if not task.done())
    else:
        # The interpreter keeps the tasks of each thread in a list of its own, and lists them for a given event loop
        # only; an event loop in which nobody waits is known to nobody here.
        Task = asyncio.Task  # noqa: N806
        yield from (each for each in gc.get_objects() if isinstance(each, Task) and not each.done())


def _has_gil() -> bool:
    return not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled()


def awaited_chain(task: Any) -> list[Any]:
    """Return the coroutine of a task, what that awaits, and so on to the innermost."""
    coroutine = task.coro if hasattr(task, "coro") else task.get_coro()
    chain: list[Any] = []
    while coroutine is not None and len(chain) < 1000:
        chain.append(coroutine)
        coroutine = _awaited(coroutine)
    return chain


def _awaited(coroutine: Any) -> Any:
    """Return what a coroutine awaits; None if it runs, in another thread.

    For a coroutine that runs, CPython 3.10 to 3.12 may return an invalid object. Nothing here lets another thread run
    between the two reads.
    """
    try:
        return None if coroutine.cr_running else coroutine.cr_await
    except AttributeError:
        pass
    try:
        return None if coroutine.gi_running else coroutine.gi_yieldfrom
    except AttributeError:
        return None


def _frame(coroutine: Any) -> Any:
    return getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)


def _on_stack(coroutine: Any) -> list[Any]:
    return gc.get_referents(*(thing for thing in (coroutine, _frame(coroutine)) if thing is not None))


def task_name(task: Any) -> str:
    """Return the name of a task."""
    return str(task.get_name() if hasattr(task, "get_name") else task.name)


def task_stack(task: Any) -> str:
    """Format the stack of a task, from the outermost coroutine to the innermost; empty if the task runs now."""
    if task is _event_loops.current_task():
        return ""
    import traceback

    frames = [_frame(coroutine) for coroutine in awaited_chain(task)]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames if frame is not None)
    return "".join(summary.format())
