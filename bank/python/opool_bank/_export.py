"""A bank as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opool_bank import Bank


def export(bank: Bank) -> Iterator[str]:
    """Yield the items of a bank as lines of JSON, for `import_lines`."""
    for item in bank.items():
        yield json.dumps(
            {
                "key": _plain(item.key),
                "payload": _plain(item.payload),
                "state": item.state,
                "priority": item.priority,
                "attempts": item.attempts,
                "max_attempts": item.max_attempts,
                "token": item.token,
                "claim_id": _plain(item.claim_id),
                "result": _plain(item.result),
            }
        )


def _plain(value: Any) -> Any:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value
