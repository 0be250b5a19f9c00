"""Where a bank is: a path, or the address of a database."""

from __future__ import annotations

import os
from typing import Union

from opool_bank.errors import BankUsageError

Address = Union[str, "os.PathLike[str]"]

_POSTGRES = ("postgresql://", "postgres://")
_LATER = ("redis:", "rediss:", "valkey:", "dynamodb:")


def is_database(address: Address) -> bool:
    """Returns whether an address is one of a database server, not of a file."""
    return os.fspath(address).startswith(_POSTGRES)


def path_of(address: Address) -> str:
    """Returns the path of a bank's file or the address of its database; refuses what this version cannot open."""
    path = os.fspath(address)
    if not isinstance(path, str):
        raise TypeError(f"a bank's address must be a str or a path, not {type(address).__name__} {address!r}")
    if is_database(path):
        if "\0" in path:
            raise BankUsageError("the address of a database must not contain NUL")
        return path
    if path.startswith("sqlite:///"):
        path = path[len("sqlite:///") :]
    elif path.startswith(_LATER):
        kind = path.partition(":")[0]
        raise BankUsageError(
            f"{kind} is not supported by this version of opool-bank; give the path of a file or a postgresql:// address"
        )
    elif "://" in path or path.startswith(("postgresql:", "postgres:")):
        # Not shown: it may hold a password.
        kind = path.partition(":")[0]
        raise BankUsageError(
            f"an address that begins with {kind + ':'!r} is neither a path nor the address of a database that "
            "opool-bank knows; those of PostgreSQL begin with postgresql://"
        )
    if not path or "\0" in path:
        raise BankUsageError(f"a bank needs the path of a file or the address of a database, not {path!r}")
    return path
