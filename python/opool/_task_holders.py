"""Which task holds what."""

from __future__ import annotations

import asyncio
import gc
import sys
import sysconfig
import threading
import traceback
import weakref
from typing import TYPE_CHECKING, Any

from opool import _background, _event_loops
from opool._opool import AsyncLease

if TYPE_CHECKING:
    from opool import Pool


def tasks_of(leases: list[Any]) -> dict[int, Any]:
    """The tasks that are inside the `async with` of these async leases, by the leases' ids.

    A lease does not know its task: to ask for it would cost more than the lease. But a suspended coroutine has on its
    stack what its `async with` will call in the end, which is the lease; so all tasks are searched.
    """
    wanted = {id(lease) for lease in leases}
    found: dict[int, Any] = {}
    if not wanted:
        return found
    for task in _all_tasks():
        for coroutine in _chain(task):
            found.update(dict.fromkeys(wanted.intersection(map(id, _on_stack(coroutine))), task))
    current = _current_task()
    if current is not None:
        # It runs, so its stack cannot be looked at; all others have been.
        here = threading.get_ident()
        found.update({id(lease): current for lease in leases if id(lease) not in found and lease._thread == here})
    return found


_LOOK_EVERY = 1.0
"""How many seconds nobody has got anything before it is worth looking for a deadlock."""


def watch(pool: Pool[Any], event_loop: Any) -> None:
    """Looks once in a while, as long as somebody waits, whether all who hold something wait themselves.

    A thread looks while it waits; a task that waits does nothing. What is found is written to the log, and nobody is
    sent away: to look at stacks is no proof, and another task may cancel one of these.
    """
    event_loop.call_later(_LOOK_EVERY, _look, weakref.ref(pool), event_loop, pool.stats().leases)


def _look(pool_ref: weakref.ref[Pool[Any]], event_loop: Any, leases: int) -> None:
    pool = pool_ref()
    if pool is None or not pool.waiting:
        return
    pool._settle()
    if pool.stats().leases == leases and _is_stuck(pool):
        _background.seems_stuck(pool)
        return
    pool._looks_again()
    watch(pool, event_loop)


def _is_stuck(pool: Pool[Any]) -> bool:
    stats = pool.stats()
    has_room = stats.max_size is not None and stats.size < stats.max_size
    if has_room or stats.leased == 0 or stats.idle + stats.creating + stats.checking > 0:
        return False
    leases = [lease for *_, lease in pool._holders()]
    if None in leases or pool._has_given_others():  # a thread has it, and may give it back
        return False
    found = tasks_of(leases)
    return all(_waits_for(found.get(id(lease)), pool) for lease in leases)


def _waits_for(task: Any, pool: Pool[Any]) -> bool:
    innermost = None if task is None else _chain(task)[-1]
    return isinstance(innermost, AsyncLease) and getattr(innermost, "_pool", None) is pool


_HAS_GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")


def _all_tasks() -> list[Any]:
    """The tasks that may be looked at: without a GIL those of other threads may run meanwhile."""
    found: list[Any] = []
    event_loop = asyncio._get_running_loop()
    for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):  # until 3.11, and since
        tasks = _background._all(getattr(asyncio.tasks, name, ()))  # others begin tasks meanwhile
        found += [task for task in tasks if not task.done() and (_HAS_GIL or task.get_loop() is event_loop)]
    trio = sys.modules.get("trio")
    if trio is not None and _event_loops.trio_here() is not None:
        roots = [trio.lowlevel.current_root_task()]
        while roots:
            task = roots.pop()
            found.append(task)
            roots += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def _current_task() -> Any:
    if _event_loops.trio_here() is not None:
        return sys.modules["trio"].lowlevel.current_task()
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _chain(task: Any) -> list[Any]:
    """The coroutine of a task, the one that it awaits, and so on."""
    coroutine = task.coro if hasattr(task, "coro") else task.get_coro()
    chain: list[Any] = []
    while coroutine is not None and len(chain) < 1000:
        chain.append(coroutine)
        coroutine = _awaited(coroutine)
    return chain


def _awaited(coroutine: Any) -> Any:
    """What a coroutine awaits; None if it runs, in another thread.

    CPython 3.10 to 3.12 may answer for one that runs with something that is no object. Nothing in here lets another
    thread run between the two questions.
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


def name(task: Any) -> str | None:
    """What a task is called."""
    if task is None:
        return None
    return str(task.get_name() if hasattr(task, "get_name") else task.name)


def stack(task: Any) -> str:
    """What a task is doing, as a traceback from the outermost coroutine to the innermost; empty if it runs now."""
    if task is _current_task():
        return ""
    frames = [_frame(coroutine) for coroutine in _chain(task)]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames if frame is not None)
    return "".join(summary.format())
