"""How messages show times, objects, threads and greenlets."""

from __future__ import annotations

import gc
import sys
import threading

from opool._interrupts import is_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

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


_OF_A_THREAD = "an object that only its own thread may use; opool runs the factory in a thread of its own"
_OF_A_LOOP = "an object of another event loop, the one in which opool ran the factory"
_BOUND = {
    "created in a thread": _OF_A_THREAD,
    "switch to a different thread": _OF_A_THREAD,
    "attached to a different loop": _OF_A_LOOP,
    "bound to a different event loop": _OF_A_LOOP,
    "Event loop is closed": "an object of an event loop that has ended, the one in which opool ran the factory",
}
"""What the errors of objects say that are bound to a thread or an event loop, and what it means here."""


def bound_hint(error: BaseException) -> str:
    """Return what to add to a message if `error` is that of an object which is used where it was not made."""
    try:
        text = str(error)
    except Exception:
        return ""
    hints = [hint for phrase, hint in _BOUND.items() if phrase in text]
    return f" ({hints[0]})" if hints else ""


def thread_names(idents: Iterable[int] = ()) -> dict[int, str]:
    """Return what messages call the threads that `threading` knows, and the greenlets with these numbers."""
    threads = {thread.ident: thread for thread in threading.enumerate() if thread.ident is not None}
    names = {ident: f"thread {thread.name!r}" for ident, thread in threads.items()}
    if "greenlet" in sys.modules:
        # Where gevent has patched `threading`, it knows each greenlet that has asked for its thread as "Dummy-1".
        told = {ident for ident, thread in threads.items() if not isinstance(thread, threading._DummyThread)}
        names.update((ident, _greenlet_name(found)) for ident, found in greenlets(set(idents) - told).items())
    return names


def thread_name(ident: int, names: Mapping[int, str] | None = None) -> str:
    """Return what messages call a thread or greenlet; `names` are those of `thread_names`, if read already."""
    name = (thread_names([ident]) if names is None else names).get(ident)
    if name is not None:
        return name
    # `_thread` and other languages start threads as well.
    return f"thread {ident}" if ident in sys._current_frames() else f"thread {ident} (ended)"


def greenlets(idents: Iterable[int]) -> dict[int, Any]:
    """Find the greenlets with these addresses. It looks at all objects, so only where there are greenlets."""
    kind = getattr(sys.modules.get("greenlet"), "greenlet", None)
    wanted = set(idents)
    if kind is None or not wanted:
        return {}
    return {id(obj): obj for obj in gc.get_objects() if id(obj) in wanted and issubclass(type(obj), kind)}


def _greenlet_name(found: Any) -> str:
    if found.parent is None:  # a thread has one such, in which it began
        main = sys.modules["greenlet"].getcurrent()
        while main.parent is not None:
            main = main.parent
        return "the main greenlet of this thread" if main is found else "the main greenlet of another thread"
    name = getattr(found, "name", None)
    return f"greenlet {name!r}" if isinstance(name, str) else f"greenlet {id(found)}"


def this_thread() -> int:
    """Return the number of the calling thread, as pools know it: in a program that gevent has patched, the real one."""
    monkey = sys.modules.get("gevent.monkey")
    get_ident = threading.get_ident if monkey is None else monkey.get_original("_thread", "get_ident")
    return int(get_ident())


def is_caller(ident: int) -> bool:
    """Return whether this is the number of the calling thread, or the address of the greenlet that calls."""
    if ident == this_thread():
        return True
    current = getattr(sys.modules.get("greenlet"), "getcurrent", None)
    return current is not None and ident == id(current())
