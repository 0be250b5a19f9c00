"""Settings, from the same environment variables as the original's."""

import logging
import os

# Read for compatibility; a bank finds the next item by an index, not by reading a page of so many.
CONCURRENT_FETCH_LIMIT = int(os.environ.get("STORAGE_BOX_CONCURRENT_FETCH_LIMIT", "30"))

_level = os.environ.get("STORAGE_BOX_LOGGING_LEVEL", "WARNING")
if _level not in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"):
    raise AssertionError(f"STORAGE_BOX_LOGGING_LEVEL must be CRITICAL, ERROR, WARNING, INFO or DEBUG, not {_level!r}")
DEFAULT_LOGGING_LEVEL: int = getattr(logging, _level)
MAX_ALLOWED_ITEM_SIZE = 400
MAX_ALLOWED_BATCH_SIZE = 25
BATCH_ADDITION_BACKOFF_TIME = 1

# The bank file. Not a setting of the original.
FILE = os.environ.get("STORAGE_BOX_FILE", "storagebox.opool")
