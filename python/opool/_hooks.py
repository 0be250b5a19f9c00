"""What a hook is: a function, or a coroutine function."""

from __future__ import annotations

import inspect


def is_async_callable(hook: object) -> bool:
    """Return whether calling `hook` makes a coroutine."""
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(type(hook), "__call__", None))  # noqa: B004
