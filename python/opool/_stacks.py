"""Which leases are on the stack of the thread that entered them: no other thread can leave those.

The pool knows who entered a lease. That need not be who leaves it: a web framework enters a dependency in one thread
and leaves it in another, and an `ExitStack` may be passed on. The stack of a running frame cannot be read. But a
reference to a lease is either in an object that the collector sees (a suspended generator, an `ExitStack`, a list), or
on the stack of a running frame. So a lease is on the stack of its thread if nothing that the collector sees refers to
it, its thread is inside a `with` that was entered with a lease, and no other thread runs a generator that could have
entered it.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType, MethodType

from opool import _opool
from opool._text import greenlets, is_caller, this_thread
from opool._with_blocks import LEASE, LEASE_ASYNC, VARIABLE, callers, with_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple

    from opool._opool import Pool
else:
    from opool._records import NamedTuple

_COROUTINE = 0x80 | 0x200
"""The flags of the code of coroutine functions, and of asynchronous generator functions."""
_SUSPENDABLE = 0x20 | 0x100 | _COROUTINE
"""The flags of all code whose frames may go on in another thread."""
_ON_ITS_WAY = (GeneratorType, CoroutineType, AsyncGeneratorType, MethodType)
"""What refers to a lease that any thread may leave: whatever is suspended, and the method that an `ExitStack` keeps."""


class Taken(NamedTuple):
    """An object that is out."""

    slot: int
    """The index of its slot."""
    thread: int
    """The thread that took it or entered its lease."""
    obj: Any
    entered: bool
    lease: Any
    """None if `acquire` took it."""
    references: int
    """How many references to the lease there are, without this one."""
    is_task: bool


def taken(pool: Pool[Any]) -> list[Taken]:
    """List what is out."""
    return [Taken(*each) for each in _opool._out(pool)]


def are_on_stacks(out: list[Taken]) -> bool:
    """Return whether it is certain that each lease in `out` is on the stack of the thread that entered it.

    A lease of a task counts where its thread is inside a coroutine: then its event loop does not go on.
    """
    if not has_gil() or not all(each.entered and each.lease is not None for each in out):
        return False
    frames = _frames(out)
    try:
        return (
            all(_is_inside(frames.get(thread), held) for thread, held in _by_thread(out).items())
            and not _others_could_be_inside(frames, {each.thread for each in out})
            and not _greenlets_could_be_inside()
            and not _referrers([each.lease for each in out if not each.is_task], frames)
        )
    finally:
        # It contains this frame: the cycle would keep the objects of all callers alive until the collector runs.
        frames.clear()


def may_be_on_stacks(out: list[Taken]) -> bool:
    """Return whether nothing says that somebody else than the thread that took it may give back what is in `out`."""
    entered = [each for each in out if each.entered and not each.is_task]
    others = [each for each in out if not each.entered]
    frames = _frames(out)
    try:
        for thread, held in _by_thread(entered).items():
            if sum(len(with_blocks(frame)) for frame in callers(frames.get(thread))) < len(held):
                return False
        if _referrers([each.lease for each in entered], frames):
            return False
        if entered and _others_could_be_inside(frames, {each.thread for each in out}):
            return False
        found = _referrers([each.obj if each.lease is None else each.lease for each in others], frames)
        # A frame among them is that of a suspended generator, until Python 3.10.
        return not any(isinstance(referrer, (*_ON_ITS_WAY, FrameType)) for referrer in found)
    finally:
        frames.clear()


def on_this_stack(out: list[Taken]) -> list[Taken]:
    """List the leases in `out` that are certainly on the stack of this thread. They are all of threads.

    Those to which a suspended coroutine or the like refers are left out.
    """
    mine = _unseen([each for each in out if is_caller(each.thread) and each.entered and not each.is_task])
    return mine if are_on_stacks(mine) else []


def of_this_task(out: list[Taken]) -> list[Taken]:
    """List the leases of tasks in `out` that the running coroutine, or one that awaits it, is certainly inside of."""
    inside = sum(with_blocks(frame).count(LEASE_ASYNC) for frame in callers(sys._getframe(1)))
    if not inside or not has_gil():
        return []
    here = this_thread()
    mine = _unseen([each for each in out if each.thread == here and each.is_task])
    return mine if len(mine) <= inside else []


def has_gil() -> bool:
    """Return whether there is a GIL: without one, references are not counted so that they could be told."""
    return not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled()


def _frames(out: list[Taken]) -> dict[int, FrameType]:
    """Return the running frame of each thread, and that of each greenlet that has something of `out`."""
    frames = sys._current_frames()
    for ident, found in greenlets({each.thread for each in out} - frames.keys()).items():
        frame = sys._getframe() if is_caller(ident) else found.gr_frame
        if frame is not None:
            frames[ident] = frame
    return frames


def _suspended_greenlets() -> list[FrameType]:
    """List the frames of all greenlets that are suspended."""
    kind = getattr(sys.modules.get("greenlet"), "greenlet", None)
    if kind is None:
        return []
    found = [obj for obj in gc.get_objects() if issubclass(type(obj), kind)]
    return [each.gr_frame for each in found if each.gr_frame is not None]


def _by_thread(out: list[Taken]) -> dict[int, list[Taken]]:
    found: dict[int, list[Taken]] = {}
    for each in out:
        found.setdefault(each.thread, []).append(each)
    return found


def _is_inside(frame: FrameType | None, held: list[Taken]) -> bool:
    """Return whether a thread, which runs `frame`, is inside as many `with` blocks as these leases need."""
    kinds: Counter[str] = Counter()
    in_coroutine = False
    for each in callers(frame):
        kinds.update(with_blocks(each))
        in_coroutine = in_coroutine or bool(each.f_code.co_flags & _COROUTINE)
    leases = [each for each in held if not each.is_task]
    in_variables = sum(each.references > 1 for each in leases)
    return (
        (in_coroutine or len(leases) == len(held))
        and kinds[LEASE] >= len(leases) - in_variables
        and kinds[LEASE] + kinds[VARIABLE] >= len(leases)
    )


def _others_could_be_inside(frames: Mapping[int, FrameType], threads: set[int]) -> bool:
    """Return whether a thread other than `threads` runs something that may have entered a lease in one of them."""
    return any(
        frame.f_code.co_flags & _SUSPENDABLE and with_blocks(frame)
        for thread, innermost in frames.items()
        if thread not in threads
        for frame in callers(innermost)
    )


def _greenlets_could_be_inside() -> bool:
    """Return whether a suspended greenlet is inside a `with`: nothing tells which greenlet has entered a lease."""
    return any(with_blocks(frame) for innermost in _suspended_greenlets() for frame in callers(innermost))


def _referrers(things: list[Any], frames: Mapping[int, FrameType]) -> list[Any]:
    """List what the collector sees to refer to any of `things`, but for running frames and what this module made."""
    if not things:
        return []
    arguments = tuple(things)  # CPython 3.13 and later show the tuple that it makes of a list
    ours = {id(things), id(arguments)}
    running = {id(frame) for innermost in frames.values() for frame in callers(innermost)}
    running.update(id(frame) for frame in callers(sys._getframe()))
    found = gc.get_referrers(*arguments)
    ours |= running
    return [each for each in found if id(each) not in ours and not isinstance(each, Taken) and not _runs(each)]


def _unseen(out: list[Taken]) -> list[Taken]:
    """List those to whose leases nothing refers that the collector sees."""
    frames = _frames(out)
    try:
        seen = set(map(id, gc.get_referents(*_referrers([each.lease for each in out], frames))))
    finally:
        frames.clear()
    return [each for each in out if id(each.lease) not in seen]


def _runs(thing: object) -> bool:
    """Return whether it is a generator or a coroutine that runs: the collector may see its stack while it calls."""
    return (isinstance(thing, GeneratorType) and thing.gi_running) or (
        isinstance(thing, CoroutineType) and thing.cr_running
    )
