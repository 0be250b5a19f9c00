"""A pool of connections to PostgreSQL, with psycopg 3.

    python examples/postgres.py "dbname=postgres user=postgres"

Several threads share a few connections. The pool opens them when they are needed, looks whether they still work, rolls
back what somebody left unfinished, and replaces them before they grow old.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg

import opool


def ping(conn: psycopg.Connection) -> None:
    """The check: raises if the server has ended the connection. It leaves no transaction open."""
    conn.execute("SELECT 1")
    conn.rollback()


def make_pool(conninfo: str) -> opool.Pool[psycopg.Connection]:
    """A pool as an application would have one, at the level of a module."""
    return opool.Pool(
        factory=lambda: psycopg.connect(conninfo, connect_timeout=5),
        check=ping,  # before a connection goes out that was idle for longer than a second
        reset=psycopg.Connection.rollback,  # when it comes back; one that is broken fails here, and is replaced
        dispose=psycopg.Connection.close,
        max_size=4,
        max_idle=600,  # seconds
        max_lifetime=3600,
        order="lifo",  # what is not needed becomes idle, and goes
        timeout=10,  # for everything together: waiting, connecting, checking
        name="db",
    )


def work(pool: opool.Pool[psycopg.Connection], number: int) -> int:
    """One unit of work. Without `commit`, all of it is undone."""
    with pool.lease() as conn:
        conn.execute("INSERT INTO visits VALUES (%s)", [number])
        if number % 10 == 0:
            return 0  # not committed: as if it had never been
        conn.commit()
        return 1


def main(conninfo: str) -> None:
    """Shows it at work."""
    with make_pool(conninfo) as pool:
        with pool.lease() as conn:
            conn.execute("DROP TABLE IF EXISTS visits")
            conn.execute("CREATE TABLE visits (number int)")
            conn.commit()
        with ThreadPoolExecutor(16) as threads:
            committed = sum(threads.map(lambda number: work(pool, number), range(100)))
        with pool.lease() as conn:
            row = conn.execute("SELECT count(*) FROM visits").fetchone()
        stats = pool.stats()
        print(f"{committed} committed, {row[0] if row else None} found")
        print(f"{stats.leases} leases of {stats.created} connections")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
