"""Where a bank is: a path, or the address of a database."""

from __future__ import annotations

import os
from typing import Union

from opool_bank.errors import BankUsageError

Address = Union[str, "os.PathLike[str]"]

_LATER = ("postgresql:", "postgres:", "redis:", "rediss:", "valkey:", "dynamodb:")


def path_of(address: Address) -> str:
    """Returns the path of a bank's file; refuses addresses of databases that this version does not know."""
    path = os.fspath(address)
    if not isinstance(path, str):
        raise TypeError(f"a bank's address must be a str or a path, not {type(address).__name__} {address!r}")
    if path.startswith("sqlite:///"):
        path = path[len("sqlite:///") :]
    elif path.startswith(_LATER):
        kind = path.partition(":")[0]
        raise BankUsageError(
            f"{kind} is not supported by this version of opool-bank; give the path of a file, not {path!r}"
        )
    elif "://" in path:
        raise BankUsageError(f"{path!r} is neither a path nor the address of a database that opool-bank knows")
    if not path or "\0" in path:
        raise BankUsageError(f"a bank needs the path of a file, not {path!r}")
    return path
