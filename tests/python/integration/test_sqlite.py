"""Real use: a pool of sqlite3 connections to one file, which several threads write and read at the same time."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import opool
from opool.testing import check_invariants
from support import LIMIT, Crew, eventually, run_child, threads

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ACCOUNTS, START = 6, 100


class Database:
    """A file with accounts, and pools of connections to it, whose opening and closing is counted."""

    def __init__(self, path):
        self.path = str(path)
        self.opened = []
        self.closed = []
        conn = self.connect()
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)")
        conn.executemany("INSERT INTO accounts VALUES (?, ?)", [(i, START) for i in range(ACCOUNTS)])
        conn.execute("CREATE TABLE journal (worker INTEGER, number INTEGER, PRIMARY KEY (worker, number))")
        conn.commit()
        self.close(conn)

    def connect(self):
        # It waits for the database's own lock for up to half a minute, so no writer is turned away.
        conn = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        conn.execute("PRAGMA synchronous = OFF")
        self.opened.append(conn)
        return conn

    def close(self, conn):
        conn.close()
        self.closed.append(conn)

    def pool(self, **more):
        hooks = {"factory": self.connect, "check": ping, "reset": sqlite3.Connection.rollback, "dispose": self.close}
        return opool.Pool(**{**hooks, "max_size": 3, **more})

    def all_closed(self):
        return sorted(map(id, self.opened)) == sorted(map(id, self.closed))


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "bank.db")
    yield database
    eventually(database.all_closed)


def ping(conn):
    return conn.execute("SELECT 1").fetchone() == (1,)


def total(conn):
    (found,) = conn.execute("SELECT sum(balance) FROM accounts").fetchone()
    return found


def test_writers_and_readers_share_the_connections_and_the_sum_is_kept(database):
    written = threading.Event()

    def write(pool, worker, count=400):
        for number in range(count):
            with pool.lease() as conn:
                assert not conn.in_transaction
                conn.execute("BEGIN IMMEDIATE")
                source, target = number % ACCOUNTS, (number + worker + 1) % ACCOUNTS
                conn.execute("UPDATE accounts SET balance = balance - 1 WHERE id = ?", [source])
                conn.execute("UPDATE accounts SET balance = balance + 1 WHERE id = ?", [target])
                conn.execute("INSERT INTO journal VALUES (?, ?)", [worker, number])
                if number % 4 == 3:
                    continue  # forgotten: nothing of it may remain
                conn.commit()
                query = "SELECT max(number) FROM journal WHERE worker = ?"
                assert conn.execute(query, [worker]).fetchone() == (number,)

    def read(pool):
        looks = 0
        while not written.is_set() or not looks:
            with pool.lease() as conn:
                assert not conn.in_transaction
                assert total(conn) == ACCOUNTS * START
                looks += 1
        return looks

    with database.pool() as pool:
        readers = Crew(3, lambda _: read(pool))
        try:
            threads(4, lambda worker: write(pool, worker))
        finally:
            written.set()
        assert all(readers.join())
        check_invariants(pool)
        with pool.lease() as conn:
            found = conn.execute("SELECT worker, count(*) FROM journal GROUP BY worker").fetchall()
        assert sorted(found) == [(worker, 300) for worker in range(4)]
    assert len(database.opened) <= 1 + 3


@pytest.mark.parametrize("way", ["return", "exception", "drop", "release"])
def test_what_is_not_committed_never_reaches_the_next_user(database, way):
    def leave_it(pool):
        if way in ("return", "exception"):
            with pool.lease() as conn:
                conn.execute("UPDATE accounts SET balance = 0")
                if way == "exception":
                    raise ZeroDivisionError
        else:
            lease = pool.lease()
            lease.obj.execute("UPDATE accounts SET balance = 0")
            if way == "release":
                lease.release()

    with database.pool(max_size=1) as pool:
        for _ in range(10):
            try:
                leave_it(pool)
            except ZeroDivisionError:
                pass
            with pool.lease() as conn:
                assert not conn.in_transaction
                assert total(conn) == ACCOUNTS * START
        assert len(database.opened) == 1 + 1


def test_a_connection_that_somebody_has_closed_does_not_come_back(database):
    with database.pool(max_size=1) as pool:
        with pool.lease() as conn:
            conn.close()
        with pool.lease() as conn:
            assert total(conn) == ACCOUNTS * START
        assert pool.stats().retired["not_reset"] == 1


def test_a_connection_that_was_closed_behind_the_pools_back_is_replaced_by_the_check(database):
    with database.pool(max_size=1, check_after=0) as pool:
        with pool.lease() as conn:
            pass
        conn.close()
        with pool.lease() as conn:
            assert total(conn) == ACCOUNTS * START
        assert pool.stats().retired["unfit"] == 1


def test_a_database_that_cannot_be_opened_is_said_at_once(tmp_path):
    missing = tmp_path / "no such folder" / "file.db"

    def connect():
        return sqlite3.connect(str(missing), check_same_thread=False)

    with opool.Pool(factory=connect, dispose=sqlite3.Connection.close) as pool:
        with pytest.raises(opool.FactoryError) as caught:
            pool.lease()
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        missing.parent.mkdir()
        with pool.lease(timeout=LIMIT) as conn:
            assert ping(conn)


def test_a_writer_that_would_block_another_waits_in_the_pool_instead(database):
    with database.pool(max_size=1) as pool:

        def write(worker):
            with pool.lease() as conn:
                conn.execute("PRAGMA busy_timeout = 0")  # SQLite itself would refuse a second writer at once
                conn.execute("BEGIN IMMEDIATE")
                conn.execute("INSERT INTO journal VALUES (?, 0)", [worker])
                conn.commit()

        threads(16, write)
        with pool.lease() as conn:
            assert conn.execute("SELECT count(*) FROM journal").fetchone() == (16,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_each_process_has_connections_of_its_own(tmp_path):
    run_child(f"""
import os, signal, sqlite3, traceback, warnings
import opool
from pathlib import Path
from support import LIMIT
from test_sqlite import ACCOUNTS, START, Database, total

warnings.simplefilter("ignore", DeprecationWarning)     # from 3.12 on: fork beside threads, which is what we test
database = Database(Path({str(tmp_path)!r}) / "bank.db")
pool = database.pool(max_size=2)
with pool.lease() as conn:
    assert total(conn) == ACCOUNTS * START
child = os.fork()
if child == 0:
    status = 1
    try:
        signal.alarm(LIMIT)
        with pool.lease() as conn:
            assert conn not in database.opened[:2], "it has its parent's locks and file positions"
            conn.execute("INSERT INTO journal VALUES (1, 1)")
            conn.commit()
        pool.close()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
assert os.waitpid(child, 0)[1] == 0
with pool.lease() as conn:
    assert conn.execute("SELECT * FROM journal").fetchall() == [(1, 1)]
pool.close()
assert len(database.opened) == 2 and database.all_closed()
""")


def test_the_example_runs(tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLES / "sqlite.py"), str(tmp_path / "notes.db")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (0, "50 notes, by 1 connection\n")
