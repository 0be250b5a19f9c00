"""What is measured: claims of the bank, what one writes with `sqlite3` alone, and the peers.

Each function takes a path, fills a bank or a queue there if it is not there yet, and returns what makes the calls of a
thread (`crowd.Make`).
"""

from __future__ import annotations

import itertools
import os
import queue
import sqlite3
import threading
from typing import Any

from crowd import Call, Make

from opool_bank import Bank

ITEMS = 200_000
SCHEMA = """
CREATE TABLE item(id INTEGER PRIMARY KEY, key TEXT UNIQUE, user TEXT, state INT DEFAULT 0);
CREATE INDEX free ON item(id) WHERE state = 0;
CREATE UNIQUE INDEX users ON item(user) WHERE user IS NOT NULL;
"""


_serial = itertools.count()


def _users(place: int) -> Any:
    """Ids that nobody else has, nor an earlier thread of this process."""
    prefix = f"{os.getpid()}-{next(_serial)}-{place}-"
    return (f"{prefix}{number}" for number in itertools.count())


def bank(file: str) -> Make:
    """Claims for good, each under a new id."""
    opened = Bank(file)
    if opened.counts().put == 0:
        opened.put(range(ITEMS), atomic=True)

    def make(place: int) -> Call:
        users = _users(place)
        return lambda: opened.claim(next(users)) is not None

    return make


def bank_lease_and_done(file: str) -> Make:
    """Leases and finishes: two commits."""
    opened = Bank(file)
    if opened.counts().put == 0:
        opened.put(range(ITEMS), atomic=True)

    def call() -> None:
        with opened.lease(60) as item:
            item.done()

    return lambda place: call


def _fill(file: str) -> None:
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = WAL")
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        db.executescript(SCHEMA)
        with db:
            db.executemany("INSERT INTO item(key) VALUES (?)", ((str(n),) for n in range(ITEMS)))
    db.close()


def _claim(db: sqlite3.Connection, user: str) -> bool:
    if db.execute("SELECT key FROM item WHERE user = ?", (user,)).fetchone() is not None:
        return True
    found = db.execute("SELECT id FROM item WHERE state = 0 ORDER BY id LIMIT 1").fetchone()
    if found is None:
        return False
    db.execute("UPDATE item SET state = 1, user = ? WHERE id = ?", (user, *found))
    return True


def _connect(file: str) -> sqlite3.Connection:
    db = sqlite3.connect(file, isolation_level=None, timeout=60, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db


def plain(file: str) -> Make:
    """What one writes with `sqlite3` alone: a connection a thread, BEGIN IMMEDIATE, WAL, synchronous=FULL."""
    _fill(file)

    def make(place: int) -> Call:
        db = _connect(file)
        users = _users(place)

        def call() -> bool:
            db.execute("BEGIN IMMEDIATE")
            found = _claim(db, next(users))
            db.execute("COMMIT")
            return found

        return call

    return make


def group(file: str) -> Make:
    """The same with one thread that commits for all that came meanwhile, in Python."""
    _fill(file)
    wishes: queue.SimpleQueue[tuple[str, threading.Event]] = queue.SimpleQueue()

    def commit() -> None:
        db = _connect(file)
        while True:
            batch = [wishes.get()]
            while not wishes.empty():
                batch.append(wishes.get())
            db.execute("BEGIN IMMEDIATE")
            for user, _ in batch:
                _claim(db, user)
            db.execute("COMMIT")
            for _, came in batch:
                came.set()

    threading.Thread(target=commit, daemon=True).start()

    def make(place: int) -> Call:
        users = _users(place)

        def call() -> None:
            came = threading.Event()
            wishes.put((next(users), came))
            came.wait()

        return call

    return make


QUEUED = 5_000


def litequeue(file: str) -> Make:
    """`pop`, which nothing gives back if the process dies; synchronous=NORMAL."""
    from litequeue import LiteQueue

    queue = LiteQueue(file)
    if queue.qsize() == 0:
        for number in range(QUEUED):
            queue.put(str(number))

    def make(place: int) -> Call:
        mine = LiteQueue(file)
        return lambda: mine.pop() is not None

    return make


def persistqueue(file: str) -> Make:
    """`get` of the queue with acknowledgements."""
    import persistqueue as package

    queue = package.SQLiteAckQueue(file, multithreading=True, auto_commit=True)
    if queue.qsize() == 0:
        for number in range(QUEUED):
            queue.put(str(number))

    def call() -> bool:
        try:
            return queue.get(block=False) is not None
        except package.exceptions.Empty:
            return False

    return lambda place: call


def huey(file: str) -> Make:
    """`dequeue`, which deletes the row: a worker that is killed has lost it. synchronous=FULL."""
    from huey.storage import SqliteStorage

    storage = SqliteStorage(filename=file, fsync=True, timeout=60)
    if storage.queue_size() == 0:
        for number in range(QUEUED):
            storage.enqueue(str(number).encode())
    return lambda place: lambda: storage.dequeue() is not None


PEERS = {
    "litequeue": ("litequeue", litequeue, "NORMAL: a power cut may lose the last ones"),
    "persist-queue": ("persist-queue", persistqueue, "ack queue"),
    "huey": ("huey on SQLite", huey, "FULL; a killed worker loses its task"),
}
