"""Hands out items to processes, machines and users, each exactly once.

* `Bank` gives items for good (`claim`) or for a time (`lease`), from one file that many processes open.
* `SharedObjectMgr` hands out integers, `Semaphore` and `Lock` permits, `once` runs a request once per key.

Errors derive from `BankError`.
"""

from opool_bank._bank import Item, __version__
from opool_bank._client import Bank
from opool_bank._counts import Counts
from opool_bank._ids import SharedObjectMgr
from opool_bank._lease import Lease, Leases
from opool_bank._once import Once, once
from opool_bank._permits import Lock, Semaphore
from opool_bank.errors import (
    AlreadySettled,
    BankBusy,
    BankClosed,
    BankCorrupt,
    BankError,
    BankFileError,
    BankFull,
    BankMoved,
    BankReadOnly,
    BankRewound,
    BankTimeout,
    BankUnreachable,
    BankUsageError,
    BankWarning,
    ClaimMismatch,
    InProgress,
    Interrupted,
    KeyConflict,
    KindMismatch,
    Mismatch,
    NotABank,
    PermitsMismatch,
    RangeMismatch,
    SchemaTooNew,
    SizeMismatch,
    StaleLease,
    UnknownKey,
)

__all__ = [
    "AlreadySettled",
    "Bank",
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
    "Counts",
    "InProgress",
    "Interrupted",
    "Item",
    "KeyConflict",
    "KindMismatch",
    "Lease",
    "Leases",
    "Lock",
    "Mismatch",
    "NotABank",
    "Once",
    "PermitsMismatch",
    "RangeMismatch",
    "SchemaTooNew",
    "Semaphore",
    "SharedObjectMgr",
    "SizeMismatch",
    "StaleLease",
    "UnknownKey",
    "__version__",
    "once",
]

for _shown in (Bank, Counts, Lease, Leases, Lock, Once, Semaphore, SharedObjectMgr, once):
    _shown.__module__ = "opool_bank"
