"""Deadlocks: everybody who holds an object of a pool waits for that pool."""

from __future__ import annotations

import weakref
from collections import Counter

from opool import _holders, _opool, _stacks, _task_holders
from opool._log import logger, pool_name
from opool._opool import AsyncLease
from opool._text import is_caller
from opool.errors import PoolDeadlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from opool._opool import Pool

CHECK_INTERVAL = 1.0
"""After how many seconds without a lease it is checked whether all holders wait."""


def examine(pool: Pool[Any], may_be_certain: bool, tells: bool) -> bool:
    """Return whether it is certain that no wait for `pool` ever ends. If it `tells`, log what is only probable.

    All threads that have taken its objects wait for it. The thread that entered a lease need not be who leaves it.
    """
    leases, out = pool.stats().leases, _stacks.taken(pool)
    if may_be_certain and _stacks.are_on_stacks(out) and pool.stats().leases == leases:
        return True
    if tells and _stacks.may_be_on_stacks(out):
        report_deadlock(pool)
    return False


def deadlock_error(pool: Pool[Any]) -> PoolDeadlock:
    """Make the error of a wait that can never end."""
    return PoolDeadlock(describe_deadlock(pool, certain=True))


def report_deadlock(pool: Pool[Any]) -> None:
    """Log that all holders wait for the pool themselves, once as long as nothing changes: others might still help."""
    if _opool._note_deadlock_told(pool):
        logger().warning("%s", describe_deadlock(pool, certain=False))


def describe_deadlock(pool: Pool[Any], *, certain: bool) -> str:
    """Describe who holds how many objects of `pool`, and the stack of each holder."""
    found = _holders.holders(pool)
    if not found:  # the look saw holders, and they have all given back since
        return f"{pool_name(pool)}: all its objects were with those that waited for it themselves, and are back now"
    held = Counter(map(_identity, found))
    one, kind = len(held) == 1, found[0]._kind
    objects = "its only object is" if len(found) == 1 else f"all {len(found)} objects are"
    who = f"a {kind} that waits for this pool itself" if one else f"{kind}s that wait for this pool themselves"
    more = "add objects" if pool.max_size is None else f"raise max_size (now {pool.max_size})"
    if _opool._lends_ids(pool):
        more = "resize the manager"
    lines = [
        f"{pool_name(pool)}: {'a deadlock' if certain else 'probably a deadlock'}: {objects} with {who}. "
        f"Give one back before you take the next, or {more}."
    ]
    # Holders with the same stack share one.
    places: dict[str, list[str]] = {}
    for key, holder in {_identity(holder): holder for holder in found}.items():
        here = " (this one)" if holder.task is None and is_caller(holder.thread_id) else ""
        places.setdefault(_holders.stack_of(holder), []).append(f"{holder.who}{here} holds {held[key]}")
    lines += [f"{_holders.join_some(names, ', ')}, at:\n{stack.rstrip()}" for stack, names in places.items()]
    return "\n".join(lines)


def _identity(holder: _holders.Holder) -> tuple[int, str | None]:
    return holder.thread_id, holder.task


def watch(pool: Pool[Any], event_loop: Any) -> None:
    """Check every second, while tasks wait for `pool`, whether all holders wait themselves.

    A thread checks while it waits; a task that waits does nothing. The result is logged and no wait ends: stacks are no
    proof, and another task may cancel one of these.
    """
    event_loop.call_later(CHECK_INTERVAL, _check, weakref.ref(pool), event_loop, pool.stats().leases)


def _check(pool_ref: weakref.ref[Pool[Any]], event_loop: Any, leases: int) -> None:
    pool = pool_ref()
    if pool is None or not pool.waiting:
        return
    _opool._settle(pool)
    if pool.stats().leases == leases and _is_stuck(pool):
        report_deadlock(pool)
        return
    _opool._note_deadlock_watch(pool)
    watch(pool, event_loop)


def _is_stuck(pool: Pool[Any]) -> bool:
    stats = pool.stats()
    has_room = stats.max_size is not None and stats.size < stats.max_size
    if has_room or stats.leased == 0 or stats.idle + stats.creating + stats.checking > 0:
        return False
    leases = [held.lease for held in _opool._holders(pool)]
    if None in leases or _opool._has_given_others(pool):  # a thread holds an object, and may give it back
        return False
    tasks = _task_holders.tasks_holding(leases)
    return all(_waits_for(tasks.get(id(lease)), pool) for lease in leases)


def _waits_for(task: Any, pool: Pool[Any]) -> bool:
    innermost = None if task is None else _task_holders.awaited_chain(task)[-1]
    return isinstance(innermost, AsyncLease) and _opool._pool(innermost) is pool
