"""The logger `opool`, and what the pools write to it. The extension calls these functions.

The module logging is loaded with the first record: most programs have it already, the others need it only then.
"""

from __future__ import annotations

from opool import _opool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Logger
    from typing import Any

    from opool._opool import Pool


def logger() -> Logger:
    """Return the logger of the package."""
    import logging

    return logging.getLogger("opool")


def pool_name(pool: Pool[Any]) -> str:
    """Return what messages call a pool."""
    return _opool._called(pool)


def create_failed(pool: Pool[Any], error: BaseException) -> None:
    """Log that an attempt to create an object failed."""
    logger().warning("%s: creating an object failed: %r", pool_name(pool), error, exc_info=error)


def object_rejected(pool: Pool[Any], hook: str, error: BaseException | None) -> None:
    """Log that an object is discarded because its check or its reset failed."""
    why = "returned False" if error is None else f"failed: {error!r}"
    # A check that fails is what checks are for; a reset that fails is not.
    log = logger().info if hook == "check" else logger().warning
    log("%s: %s %s; object discarded", pool_name(pool), hook, why, exc_info=error)


def dispose_failed(pool: Pool[Any], error: BaseException) -> None:
    """Log that the dispose hook raised."""
    logger().warning("%s: dispose failed: %r", pool_name(pool), error, exc_info=error)


def closed_without_loop(pool: Pool[Any]) -> None:
    """Log that a closed pool needs an event loop to dispose of its objects, and none runs."""
    name = pool_name(pool)
    logger().warning("%s: closed, but no event loop runs that could dispose of its objects: use aclose()", name)


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
