"""The Python half of waiting in event loops."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opool import Pool


def arm(pool: Pool[Any], seconds: float) -> None:
    """Lets the running event loop send those away whose time is up, in so many seconds."""
    asyncio.get_running_loop().call_later(seconds, _expire, weakref.ref(pool))


def _expire(pool_ref: weakref.ref[Pool[Any]]) -> None:
    pool = pool_ref()
    if pool is not None:
        seconds = pool._expire()
        if seconds is not None:
            arm(pool, seconds)
