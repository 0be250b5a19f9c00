"""The logger `opool`, and what the pools write to it. The extension calls these functions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from opool import _opool

if TYPE_CHECKING:
    from opool import Pool

logger = logging.getLogger("opool")


def pool_name(pool: Pool[Any]) -> str:
    """Return what messages call a pool."""
    return _opool._called(pool)


def create_failed(pool: Pool[Any], error: BaseException) -> None:
    """Log that an attempt to create an object failed."""
    logger.warning("%s: creating an object failed: %r", pool_name(pool), error, exc_info=error)


def object_rejected(pool: Pool[Any], hook: str, error: BaseException | None) -> None:
    """Log that an object is discarded because its check or its reset failed."""
    why = "returned False" if error is None else f"failed: {error!r}"
    # A check that fails is what checks are for; a reset that fails is not.
    level = logging.INFO if hook == "check" else logging.WARNING
    logger.log(level, "%s: %s %s; object discarded", pool_name(pool), hook, why, exc_info=error)


def dispose_failed(pool: Pool[Any], error: BaseException) -> None:
    """Log that the dispose hook raised."""
    logger.warning("%s: dispose failed: %r", pool_name(pool), error, exc_info=error)


def closed_without_loop(pool: Pool[Any]) -> None:
    """Log that a closed pool needs an event loop to dispose of its objects, and none runs."""
    name = pool_name(pool)
    logger.warning("%s: closed, but no event loop runs that could dispose of its objects: use aclose()", name)


def hook_still_running(pool: Pool[Any]) -> None:
    """Log that close() returns while a hook has not returned yet."""
    logger.warning("%s: closed, but a hook still runs in the background", pool_name(pool))
