"""What both repositories have in common: a bank in the file, under the table's name."""

from __future__ import annotations

from opool_bank import Bank
from storagebox import settings


class DynamoDBBasedRepository:
    """A repository on a bank file. The bank is made at its first use; a table of DynamoDB had to be there before.

    Args:
        table_name: the bank's name in the file.

    Attributes:
        bank: the bank.
    """

    def __init__(self, table_name: str) -> None:
        self.table_name = table_name
        self.bank = Bank(settings.FILE, name=table_name)

    def table_alreaedy_exists(self, table_name: str) -> bool:
        """Return True: a bank is made when it is opened. The name is spelled as in the original."""
        return bool(Bank(settings.FILE, name=table_name))
