"""The repositories, as the original has them."""

from storagebox.repository.deduplication import DeduplicationDynamoDbRepository
from storagebox.repository.item_bank import ItemBankDynamoDbRepository

__all__ = ["DeduplicationDynamoDbRepository", "ItemBankDynamoDbRepository"]
