"""Which hooks are coroutine functions."""

from __future__ import annotations

import sys
from functools import partial, partialmethod
from types import MethodType

from opool._interrupts import is_interrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CO_COROUTINE = 0x80
"""The flag of a coroutine function's code: `inspect.CO_COROUTINE`."""


def is_async_callable(hook: object) -> bool:
    """Return whether calling `hook` makes a coroutine, as far as `inspect.iscoroutinefunction` can tell."""
    return is_coroutine_function(hook) or is_coroutine_function(getattr(type(hook), "__call__", None))  # noqa: B004


def is_coroutine_function(function: object) -> bool:
    """Answer as `inspect.iscoroutinefunction`, and load inspect only for what is probably a coroutine function.

    What inspect accepts differs between versions of Python. But it is always a code object with the flag of coroutines,
    below methods and partials; or the mark of `inspect.markcoroutinefunction`, if inspect has been loaded.
    """
    if "inspect" not in sys.modules and not _may_be_coroutine_function(function):
        return False
    import inspect

    return inspect.iscoroutinefunction(function)


def _may_be_coroutine_function(function: object) -> bool:
    """Return whether a coroutine's code is below any methods and partials. Never False where inspect says True."""
    try:
        inner: Any = function
        while inner is not None:
            function = inner
            flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
            if isinstance(flags, int) and flags & _CO_COROUTINE:
                return True
            if isinstance(function, MethodType):
                inner = function.__func__
            elif isinstance(function, (partial, partialmethod)):
                inner = function.func
            else:
                method = getattr(function, "__partialmethod__", None)
                inner = method if isinstance(method, partialmethod) else None
    except Exception as error:  # a strange object: inspect decides
        if is_interrupt(error):
            raise
        return True
    return False
