"""What `opool_bank` raises. Everything is a `BankError`, and also what a caller would expect who never heard of it."""

from __future__ import annotations

from typing import Any

__all__ = [
    "AlreadySettled",
    "BankBusy",
    "BankClosed",
    "BankCorrupt",
    "BankError",
    "BankFileError",
    "BankFull",
    "BankMoved",
    "BankReadOnly",
    "BankRewound",
    "BankTimeout",
    "BankUnreachable",
    "BankUsageError",
    "BankWarning",
    "ClaimMismatch",
    "InProgress",
    "Interrupted",
    "KeyConflict",
    "KindMismatch",
    "Mismatch",
    "NotABank",
    "PermitsMismatch",
    "RangeMismatch",
    "SchemaTooNew",
    "SizeMismatch",
    "StaleLease",
    "UnknownKey",
]


class BankWarning(UserWarning):
    """The bank works, but not as it is meant to at this place; the message says how."""


class BankError(Exception):
    """The base of all errors of this package."""


class BankUsageError(BankError, ValueError):
    """Arguments that cannot be, or that contradict each other. Also a `ValueError`."""


class BankClosed(BankError):
    """The bank was closed in this process."""


class BankTimeout(BankError, TimeoutError):
    """No item came free in time. Also a `TimeoutError`."""


class StaleLease(BankError):
    """The token does not hold the item any more: the lease ran out and another one has it, or it was given back.

    Attributes:
        key: the item's key.
        token: the token that was shown.
    """

    key: Any = None
    token: int | None = None


class AlreadySettled(BankError):
    """The item was given before, with another result.

    Attributes:
        key: the item's key.
        result: the stored result, which counts.
    """

    key: Any = None
    result: Any = None


class ClaimMismatch(BankError, ValueError):
    """The claim id was used for something else: another number of items, another key, or for good.

    Also a `ValueError`.
    """


class KeyConflict(BankError, ValueError):
    """A key is there with another payload. Also a `ValueError`.

    Attributes:
        keys: the first of them, at most ten.
    """

    keys: list[Any] = []


class UnknownKey(BankError, KeyError):
    """No item has this key. Also a `KeyError`.

    Attributes:
        key: the key.
    """

    key: Any = None

    def __str__(self) -> str:
        """The message, not its repr as `KeyError` has it."""
        return str(self.args[0]) if self.args else ""


class KindMismatch(BankError, ValueError):
    """A bank of that name holds something else: items, ids or permits. Also a `ValueError`."""


class SizeMismatch(BankError, ValueError):
    """A bank of ids or permits has another size. Also a `ValueError`.

    Attributes:
        size: the size that it has.
    """

    size: int | None = None


class PermitsMismatch(SizeMismatch):
    """The semaphore has another number of permits; `resize` changes it."""


class RangeMismatch(SizeMismatch):
    """The id manager was made for another range."""


class BankFileError(BankError, OSError):
    """The operating system or the database refused. Also an `OSError`.

    If it was a commit that failed, the call may have had its effect, and the message says so: repeat it with the same
    claim id.
    """

    def __str__(self) -> str:
        """The message."""
        return str(self.args[0]) if self.args else ""


class BankBusy(BankFileError, TimeoutError):
    """Another process has had the write lock for too long; nothing was done. Also a `TimeoutError`.

    Attributes:
        pid: the process, as far as it is known.
    """

    pid: int | None = None


class BankUnreachable(BankFileError, ConnectionError):
    """The server of the database does not answer, or lets nobody in; nothing was done. Also a `ConnectionError`."""


class BankFull(BankFileError):
    """No space is left on the disk; nothing was done."""


class BankReadOnly(BankFileError, PermissionError):
    """The file or its folder cannot be written. Also a `PermissionError`."""


class BankMoved(BankFileError):
    """The file was moved, deleted or replaced while it was open; nothing was written."""


class BankCorrupt(BankFileError):
    """The file is damaged."""


class NotABank(BankFileError, ValueError):
    """The file is not a bank. Also a `ValueError`."""


class SchemaTooNew(NotABank):
    """The file was written by a later version of this package."""


class BankRewound(BankError):
    """The file is older than what this process has seen of it: what was given since could be given again."""


class InProgress(BankError):
    """Another runner of the key has not finished yet.

    Attributes:
        retry_after: seconds that its lease lasts, if it is not renewed.
    """

    retry_after: float = 0.0


class Mismatch(BankError, ValueError):
    """The idempotency key was used for another request. Also a `ValueError`."""


class Interrupted(BankError):
    """The first runner of the key died; its effect may have happened.

    Attributes:
        key: the idempotency key.
        attempt: 2 for the first one after the runner that died, and so on.
    """

    key: Any = None
    attempt: int = 0
