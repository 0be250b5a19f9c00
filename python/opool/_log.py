"""The logger `opool`, and what the pools write to it. The extension calls these functions.

The module logging is loaded with the first record: most programs have it already, the others need it only then.
"""

from __future__ import annotations

import atexit
import sys

from opool import _opool
from opool._text import bound_hint, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger
    from typing import Any

    from opool._opool import Pool


before_shutdown: list[Callable[[], None]] = []
"""What has to happen before `logging` shuts down at interpreter exit, since it may still write records."""


def logger() -> Logger:
    """Return the logger of the package."""
    import logging

    keep_open()
    return logging.getLogger("opool")


def keep_open() -> None:
    """See to it that `logging`, if it has been loaded, is the last to shut down.

    Functions of `atexit` are called in reverse order. Whoever loads `logging` after this package makes it shut down
    first; so what has to happen before that is registered once more.
    """
    # Defined at the end of `logging`: it has been loaded, and not only begun to load in another thread.
    is_loaded = hasattr(sys.modules.get("logging"), "captureWarnings")
    if is_loaded and before_shutdown:
        functions = before_shutdown[:]
        before_shutdown.clear()
        for function in functions:  # twice, if another thread is here as well, does no harm
            atexit.register(function)


def pool_name(pool: Pool[Any]) -> str:
    """Return what messages call a pool."""
    return _opool._called(pool)


def create_failed(pool: Pool[Any], error: BaseException, reached: bool) -> None:
    """Log that an attempt to create an object failed: as DEBUG if the error has `reached` a caller, as a cause."""
    log = logger().debug if reached else logger().warning
    log("%s: creating an object failed", pool_name(pool), exc_info=error)


def object_rejected(pool: Pool[Any], hook: str, error: BaseException | None) -> None:
    """Log that an object is discarded because its check or its reset failed."""
    why = "returned False" if error is None else f"failed: {shown(error)}{bound_hint(error)}"
    # A check that fails is what checks are for; a reset that fails is not.
    log = logger().info if hook == "check" else logger().warning
    log("%s: %s %s; object discarded", pool_name(pool), hook, why, exc_info=error)


def dispose_failed(pool: Pool[Any], error: BaseException) -> None:
    """Log that the dispose hook raised."""
    name, why = pool_name(pool), f"{shown(error)}{bound_hint(error)}"
    logger().warning("%s: dispose failed: %s", name, why, exc_info=error)


def blocked_loop(pool: Pool[Any]) -> None:
    """Log that a blocking call makes an event loop stand still."""
    what = "lease() waits in the thread of an event loop, which stands still until an object comes free"
    logger().warning("%s: %s: use async with pool.lease_async()", pool_name(pool), what)


def closed_without_loop(pool: Pool[Any]) -> None:
    """Log that a closed pool needs an event loop to dispose of its objects, and none runs."""
    name = pool_name(pool)
    logger().warning("%s: closed, but no event loop runs that could dispose of its objects: use aclose()", name)


def close_may_wait_for_itself(pool: Pool[Any]) -> None:
    """Log that `close`, without a timeout, waits for what its own thread has taken."""
    what = "close() waits without a timeout for what this thread has taken itself; another thread has to give it back"
    logger().warning("%s: %s", pool_name(pool), what)


def hook_still_running(pool: Pool[Any]) -> None:
    """Log that close() returns while a hook has not returned yet."""
    logger().warning("%s: closed, but a hook still runs in the background", pool_name(pool))


def not_closed(pool: Pool[Any], error: BaseException) -> None:
    """Log why a pool could not be closed after its `with`, whose body has raised something else."""
    text = str(error)
    name = pool_name(pool)
    logger().warning("%s", text if text.startswith(f"{name}: ") else f"{name}: not closed: {error!r}")


def callback_failed() -> None:
    """Log the exception that is being handled: one of a callback in an event loop, where nobody would see it."""
    logger().exception("an error in the background")


def orphan_not_closed() -> None:
    """Log the exception that is being handled: one of a hook that was closed after its event loop."""
    logger().exception("a hook raised when it was closed, after its event loop")
