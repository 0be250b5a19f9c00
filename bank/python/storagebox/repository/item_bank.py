"""Where the items are."""

from __future__ import annotations

import abc
import logging

from opool_bank import BankTimeout, Lease
from storagebox import settings
from storagebox.repository.dynamodb import DynamoDBBasedRepository

log = logging.getLogger("storageBox")


class ItemBankRepository(abc.ABC):
    """What `Deduplicator` needs of a store of items."""

    @abc.abstractmethod
    def batch_add_items(self, items: list[str]) -> None:
        """Add items that are not there yet."""

    @abc.abstractmethod
    def add_item_to_bank(self, item_string: str) -> None:
        """Add an item, or give one back that `get_item_from_bank` returned."""

    @abc.abstractmethod
    def get_item_from_bank(self) -> str | None:
        """Take an item out; None if there is none."""


class ItemBankDynamoDbRepository(ItemBankRepository, DynamoDBBasedRepository):
    """Items in a bank file.

    Example:
        >>> items = ItemBankDynamoDbRepository(table_name="voucher_codes")  # doctest: +SKIP
        >>> items.batch_add_items(["SAVE-1", "SAVE-2"])  # doctest: +SKIP
    """

    def __init__(self, table_name: str) -> None:
        super().__init__(table_name)
        self._out: dict[str, Lease] = {}

    def batch_add_items(self, items: list[str]) -> None:
        """Add items that are not there yet; those that were given stay given."""
        for item in items:
            if not len(item) < settings.MAX_ALLOWED_ITEM_SIZE:
                raise AssertionError(f"Item size cannot exceed {settings.MAX_ALLOWED_ITEM_SIZE} KB")
        self.bank.put(items)

    def add_item_to_bank(self, item_string: str) -> None:
        """Add an item, or give back one that this repository took out. Nobody else's is ever given back."""
        lease = self._out.pop(item_string, None)
        if lease is None:
            self.bank.put([item_string])
        else:
            lease.release()

    def get_item_from_bank(self) -> str | None:
        """Take an item out; None if there is none. It stays out until `add_item_to_bank` gives it back."""
        try:
            lease = self.bank.lease(ttl=None, timeout=0)
        except BankTimeout:
            return None
        # Kept: dropping a lease would give it back.
        self._out[lease.key] = lease
        return str(lease.key)

    def settle(self, item_string: str) -> None:
        """Note that an item that was taken out is given for good."""
        lease = self._out.pop(item_string, None)
        if lease is not None:
            lease.done()
