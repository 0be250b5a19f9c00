"""Who was given what."""

from __future__ import annotations

import abc
import logging

from opool_bank import BankTimeout
from storagebox.repository.dynamodb import DynamoDBBasedRepository

log = logging.getLogger("storageBox")


class AlreadyAssigned(Exception):
    """The deduplication id has an item already."""


def identity(deduplication_id: object) -> str:
    """Return a deduplication id as it is stored. The original stored the id as it was, and looked it up as a str."""
    if isinstance(deduplication_id, bool) or not isinstance(deduplication_id, (str, int)):
        raise TypeError(
            f"deduplication_id must be a str or an int, not {type(deduplication_id).__name__} {deduplication_id!r}"
        )
    return str(deduplication_id)


class DeduplicationRepository(abc.ABC):
    """What `Deduplicator` needs of a store of assignments."""

    @abc.abstractmethod
    def get_value_for_deduplication_id(self, deduplication_id: str) -> str | None:
        """Return the item of an id; None if it has none."""

    @abc.abstractmethod
    def put_deduplication_id(self, deduplication_id: str, item_string: str) -> None:
        """Store the item of an id; raises if the id has one."""


class DeduplicationDynamoDbRepository(DeduplicationRepository, DynamoDBBasedRepository):
    """Assignments in a bank file: the item's key is the deduplication id, its result the item that was given."""

    def get_value_for_deduplication_id(self, deduplication_id: str) -> str | None:
        """Return the item of an id; None if it has none."""
        found = self.bank.get(identity(deduplication_id))
        return None if found is None or found.state != "given" else str(found.result)

    def put_deduplication_id(self, deduplication_id: str, item_string: str) -> None:
        """Store the item of an id.

        Raises:
            AlreadyAssigned: the id has one.
        """
        key = identity(deduplication_id)
        try:
            lease = self.bank.lease(30, key=key, create=True, timeout=0)
        except BankTimeout:
            raise AlreadyAssigned(f"deduplication id {key!r} has an item already, or is just getting one") from None
        lease.done(item_string)
