"""Which exceptions came from a signal handler, and not from the code that the signal struck."""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, TracebackType
    from typing import Any


def is_interrupt(error: BaseException) -> bool:
    """Return whether `error` is for the caller: it is no `Exception`, or has struck from outside."""
    return not isinstance(error, Exception) or has_struck(error)


def has_struck(error: BaseException) -> bool:
    """Return whether a signal handler has raised `error`, below the call that failed with it.

    That is so if it passed through the function of a handler; and of an exception that was raised in answer to such
    a one. The handler for Ctrl-C is not written in Python: it raises a `KeyboardInterrupt` without arguments.
    """
    if not _is_main_thread():
        return False  # signal handlers run there
    codes = _codes_of_handlers()
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if _passed_handler(found.__traceback__, codes) or (type(found) is KeyboardInterrupt and not found.args):
            return True
        seen.add(id(found))
        found = found.__cause__ or found.__context__
        if found is not None and _is_handled_above(found):
            return False
    return False


def _is_main_thread() -> bool:
    # By the system's number where that tells: gevent may have patched the others.
    on_linux = sys.platform == "linux"
    here, main = threading.get_ident(), threading.main_thread().ident
    return threading.get_native_id() == os.getpid() if on_linux else here == main


def _codes_of_handlers() -> set[CodeType]:
    """Return the code of the functions that are signal handlers now."""
    signal: Any = sys.modules["_signal"]  # it has no enumerations, which take long
    found: set[Any] = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            handler = getattr(handler, "func", handler)  # a partial
            handler = getattr(handler, "__func__", handler)
            found.add(getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None))
    found.discard(None)
    return found


def _passed_handler(traceback: TracebackType | None, codes: set[CodeType]) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code in codes or _is_called_as_handler(frame):
            return True
        traceback = traceback.tb_next
    return False


def _is_called_as_handler(frame: FrameType) -> bool:
    """Return whether the arguments of the function are the number of a signal, then a frame.

    That finds a handler which is not registered any more, or called by another.
    """
    code = frame.f_code
    count = code.co_argcount
    takes_more = bool(code.co_flags & 0x04)  # *args
    if count < 2 and not takes_more:
        return False
    values = frame.f_locals
    arguments = [values.get(name) for name in code.co_varnames[:count]]
    if takes_more:
        arguments += values.get(code.co_varnames[count + code.co_kwonlyargcount]) or ()
    return any(
        isinstance(number, int) and isinstance(frame, FrameType) for number, frame in zip(arguments, arguments[1:])
    )


def _is_handled_above(error: BaseException) -> bool:
    """Return whether a caller handles `error` already: then a frame in which it was caught still runs."""
    if error.__traceback__ is None:
        return False
    caught_in = error.__traceback__.tb_frame
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame is caught_in:
            return True
        frame = frame.f_back
    return False
