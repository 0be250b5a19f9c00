"""The item bank of the `storagebox` package, by its import path, on a bank file of `opool_bank`.

Names, signatures and results are the original's; what it lost or gave twice is neither lost nor given twice here.
The file is `STORAGE_BOX_FILE` (default `storagebox.opool`); a table name is a bank's name in it.
"""

from storagebox.api import Deduplicator
from storagebox.repository.deduplication import DeduplicationDynamoDbRepository
from storagebox.repository.item_bank import ItemBankDynamoDbRepository

__all__ = ["DeduplicationDynamoDbRepository", "Deduplicator", "ItemBankDynamoDbRepository"]
