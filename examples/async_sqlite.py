"""A pool of connections to an SQLite database for tasks, with aiosqlite: one to write with, several to read with.

    python examples/async_sqlite.py notes.db

Each connection of aiosqlite has a thread of its own, in which SQLite does its work while the event loop goes on. So a
connection costs something, and there is a reason to have few. Why one for writing: see `sqlite.py`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import aiosqlite

import opool


def make_pool(path: str, max_size: int, *, read_only: bool = False) -> opool.Pool[aiosqlite.Connection]:
    """A pool of connections to one database."""

    async def connect() -> aiosqlite.Connection:
        conn = await aiosqlite.connect(path, timeout=5)
        await conn.execute("PRAGMA journal_mode = WAL")
        await conn.execute(f"PRAGMA query_only = {int(read_only)}")
        return conn

    return opool.Pool(
        factory=connect,
        reset=aiosqlite.Connection.rollback,  # whatever was not committed is undone before the next one comes
        dispose=aiosqlite.Connection.close,
        max_size=max_size,
        timeout=10,
        name="readers" if read_only else "writer",
    )


async def write(writer: opool.Pool[aiosqlite.Connection], text: str) -> None:
    """One transaction."""
    async with writer.lease_async() as conn:
        await conn.execute("INSERT INTO notes VALUES (?)", [text])
        await conn.commit()


async def count(readers: opool.Pool[aiosqlite.Connection]) -> int:
    """Reads while others write."""
    async with readers.lease_async() as conn, conn.execute("SELECT count(*) FROM notes") as cursor:
        row = await cursor.fetchone()
        return int(row[0]) if row else 0


async def main(path: str) -> None:
    """Shows it at work."""
    async with make_pool(path, 1) as writer, make_pool(path, 4, read_only=True) as readers:
        async with writer.lease_async() as conn:
            await conn.execute("DROP TABLE IF EXISTS notes")
            await conn.execute("CREATE TABLE notes (text)")
            await conn.commit()
        _, counts = await asyncio.gather(
            asyncio.gather(*(write(writer, f"note {number}") for number in range(50))),
            asyncio.gather(*(count(readers) for _ in range(50))),
        )
        assert all(0 <= found <= 50 for found in counts)
        print(f"{await count(readers)} notes, by {writer.stats().created} connection")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main(str(Path(folder) / "notes.db")))
