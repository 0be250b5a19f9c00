"""One item for each deduplication id."""

from __future__ import annotations

import logging
from typing import Any

from opool_bank import Bank, BankTimeout
from storagebox import settings
from storagebox.repository.deduplication import AlreadyAssigned, DeduplicationDynamoDbRepository, identity
from storagebox.repository.item_bank import ItemBankDynamoDbRepository

log = logging.getLogger("storageBox")
log.setLevel(settings.DEFAULT_LOGGING_LEVEL)

# Seconds after which a process that is fetching for an id, and is not heard of, counts as dead on another machine.
_TTL = 30.0


class Deduplicator:
    """Gives each deduplication id one item, and always the same.

    Args:
        item_repo: where the items are.
        deduplication_repo: who was given what. Several item repositories may share one: an id gets one item from all
            of them.
    """

    def __init__(self, item_repo: Any, deduplication_repo: Any) -> None:
        self.item_repo = item_repo
        self.deduplication_repo = deduplication_repo

    def fetch_item_for_deduplication_id(self, deduplication_id: Any) -> str | None:
        """Return the item of an id, and give it one if it has none; None if no item is left."""
        ours = isinstance(self.deduplication_repo, DeduplicationDynamoDbRepository)
        if ours and isinstance(self.item_repo, ItemBankDynamoDbRepository):
            return self._fetch(identity(deduplication_id))
        return self._fetch_by_steps(deduplication_id)

    def add_items_to_bank(self, items: list[str]) -> None:
        """Add items that are not there yet."""
        self.item_repo.batch_add_items(items=items)

    def _fetch(self, key: str) -> str | None:
        """Both are banks of ours. The id's row is leased meanwhile, so that an id is served once at a time.

        A process that dies in between has claimed at most one item under the id: the next one finds it, in whichever
        item bank the dead one used, before it claims another.
        """
        ids: Bank = self.deduplication_repo.bank
        items: Bank = self.item_repo.bank
        while True:
            known = ids.get(key)
            if known is not None and known.state == "given":
                return str(known.result)
            try:
                lease = ids.lease(_TTL, key=key, create=True, timeout=60)
            except BankTimeout:
                known = ids.get(key)
                if known is None or known.state != "given":
                    raise
                continue
            with lease:
                found = self._left_by_the_dead(ids, key) if lease.attempts > 1 else None
                if found is None:
                    self._note_table(ids, items.name)
                    item = items.claim(key)
                    found = None if item is None else str(item.key)
                if found is not None:
                    lease.done(found)
                return found

    @staticmethod
    def _tables(ids: Bank) -> Bank:
        return Bank(settings.FILE, name=f"{ids.name} (item tables)")

    def _note_table(self, ids: Bank, name: str) -> None:
        noted = self.__dict__.setdefault("_noted", set())
        if (ids.name, name) not in noted:
            self._tables(ids).put([name])
            noted.add((ids.name, name))

    def _left_by_the_dead(self, ids: Bank, key: str) -> str | None:
        for table in self._tables(ids).items():
            for item in Bank(settings.FILE, name=table.key).of(key):
                return str(item.key)
        return None

    def _fetch_by_steps(self, deduplication_id: Any) -> str | None:
        """A repository of the user's own: its calls, in an order in which a failure leaves the item where it was."""
        known: str | None = self.deduplication_repo.get_value_for_deduplication_id(deduplication_id=deduplication_id)
        if known is not None:
            return known
        item: str | None = self.item_repo.get_item_from_bank()
        if item is None:
            # Another call of the same id may have taken the last one.
            known = self.deduplication_repo.get_value_for_deduplication_id(deduplication_id=deduplication_id)
            return known  # noqa: RET504 - the type of a user's repository is not known
        try:
            self.deduplication_repo.put_deduplication_id(deduplication_id=deduplication_id, item_string=item)
        except Exception as error:
            known = self.deduplication_repo.get_value_for_deduplication_id(deduplication_id=deduplication_id)
            if known == item:
                return self._settled(item)
            self.item_repo.add_item_to_bank(item_string=item)
            log.debug("Item %s was returned", item)
            if known is None or not _says_assigned(error):
                raise
            return known
        return self._settled(item)

    def _settled(self, item: str) -> str:
        if isinstance(self.item_repo, ItemBankDynamoDbRepository):
            self.item_repo.settle(item)
        return item


def _says_assigned(error: Exception) -> bool:
    """Whether an error of a repository means "the id has an item": ours, or the client error of boto3."""
    if isinstance(error, AlreadyAssigned):
        return True
    return any(kind.__name__ == "ClientError" for kind in type(error).__mro__)
