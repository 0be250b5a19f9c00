"""A bank as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opool_bank import Bank


def export(bank: Bank) -> Iterator[str]:
    """Yield the items of a bank as lines of JSON, as `opool bank import` reads them."""
    for item in bank.items():
        yield json.dumps(
            {
                "key": plain(item.key),
                "payload": plain(item.payload),
                "state": item.state,
                "priority": item.priority,
                "attempts": item.attempts,
                "max_attempts": item.max_attempts,
                "token": item.token,
                "claim_id": plain(item.claim_id),
                "result": plain(item.result),
            }
        )


def plain(value: Any) -> Any:
    """Return what JSON can say; bytes as an object."""
    return {"bytes": value.hex()} if isinstance(value, bytes) else value
