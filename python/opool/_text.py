"""How messages show times, objects and threads."""

from __future__ import annotations

import sys
import threading

from opool._interrupts import is_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MOMENT = 0.001
"""The shortest time that messages show, in seconds."""


def seconds(time: float) -> str:
    """Format a time, as in "0.25 s", "2.1 s" or "7260 s": as exact as anybody needs it."""
    if time >= 100:
        return f"{time:.0f} s"
    return f"{time:.3g} s" if time >= MOMENT else "0 s"


def duration(time: float, exact: bool) -> str:
    """Format the time for which an object has been out; if it is not `exact`, a lower bound."""
    if exact:
        return seconds(time)
    return f"at least {seconds(time)}" if time >= MOMENT else "an unknown time"


def shown(obj: object) -> str:
    """Return the beginning of the `repr` of a user's object, or its type where `repr` fails."""
    try:
        text = repr(obj)
    except Exception as error:
        if is_interrupt(error):
            raise
        text = f"an object of type {type(obj).__name__}"
    return text if len(text) <= 200 else text[:200] + "..."


def thread_names() -> dict[int, str]:
    """Return what messages call the threads that `threading` knows, by their numbers."""
    return {thread.ident: f"thread {thread.name!r}" for thread in threading.enumerate() if thread.ident is not None}


def thread_name(ident: int, names: Mapping[int, str] | None = None) -> str:
    """Return what messages call a thread; `names` are those of `thread_names`, if they have been read already."""
    name = thread_names().get(ident) if names is None else names.get(ident)
    if name is not None:
        return name
    # `_thread` and other languages start threads as well.
    return f"thread {ident}" if ident in sys._current_frames() else f"thread {ident} (ended)"
