"""A pool of connections to an SQLite database: one to write with, several to read with.

    python examples/sqlite.py notes.db

SQLite lets one connection write at a time, and with a write-ahead log the others read meanwhile. So writers wait for
each other in the pool, in order, and "database is locked" does not happen.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import opool


def make_pool(path: str, max_size: int, *, read_only: bool = False) -> opool.Pool[sqlite3.Connection]:
    """A pool of connections to one database."""

    def connect() -> sqlite3.Connection:
        # A connection may go from thread to thread, as long as one has it at a time: that is what the pool sees to.
        conn = sqlite3.connect(path, timeout=5, check_same_thread=False)
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute(f"PRAGMA query_only = {int(read_only)}")
        return conn

    return opool.Pool(
        factory=connect,
        reset=sqlite3.Connection.rollback,  # whatever was not committed is undone before the next one comes
        dispose=sqlite3.Connection.close,
        max_size=max_size,
        max_idle=60,  # seconds
        timeout=10,
        name="readers" if read_only else "writer",
    )


def write(writer: opool.Pool[sqlite3.Connection], text: str) -> None:
    """One transaction."""
    with writer.lease() as conn:
        conn.execute("INSERT INTO notes VALUES (?)", [text])
        conn.commit()


def count(readers: opool.Pool[sqlite3.Connection]) -> int:
    """Reads while others write."""
    with readers.lease() as conn:
        (found,) = conn.execute("SELECT count(*) FROM notes").fetchone()
        return int(found)


def main(path: str) -> None:
    """Shows it at work."""
    with make_pool(path, 1) as writer, make_pool(path, 4, read_only=True) as readers:
        with writer.lease() as conn:
            conn.execute("DROP TABLE IF EXISTS notes")
            conn.execute("CREATE TABLE notes (text)")
        with ThreadPoolExecutor(8) as threads:
            written = [threads.submit(write, writer, f"note {number}") for number in range(50)]
            counts = [threads.submit(count, readers) for _ in range(50)]
            for task in written:
                task.result()
            assert all(0 <= task.result() <= 50 for task in counts)
        print(f"{count(readers)} notes, by {writer.stats().created} connection")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(str(Path(folder) / "notes.db"))
