"""Who else hands out objects: each peer, in the form its own manual shows, with objects that do nothing.

To compare one more, or one of our own options, add a line to `SUBJECTS`.
"""

from __future__ import annotations

import os
import queue
import sqlite3
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

import opool
from harness import Case, Comparison
from parity.references.pool import Pool as QueuePool

OBJECTS = 4


class Subject(NamedTuple):
    """A pool: how an object is taken and given back around BODY, and what makes the names this uses.

    `package` is the distribution it comes from ("": ours, or the standard library).
    """

    label: str
    statement: str
    make: Callable[[], Mapping[str, Any]]
    contended: bool = False
    package: str = ""

    def case(self) -> Case:
        """The subject with an empty body."""
        return Case(self.label, self.statement.replace("BODY", "pass"), self.make())


def objects() -> list[object]:
    return [object() for _ in range(OBJECTS)]


def filled(idle: queue.SimpleQueue[object]) -> queue.SimpleQueue[object]:
    for obj in objects():
        idle.put(obj)
    return idle


class StubConnection:
    """A connection to nowhere, for whoever speaks the database interface or something like it."""

    threadsafety = 2
    closed = False
    is_connected = True

    def __init__(self, *_: Any, **__: Any) -> None:
        self.pid = os.getpid()

    def nothing(self, *_: Any, **__: Any) -> Any:
        return None

    disconnect = close = commit = rollback = can_read = should_reconnect = re_auth = nothing

    def cursor(self) -> StubConnection:
        return self


def sqlalchemy() -> dict[str, Any]:
    from sqlalchemy.pool import QueuePool as Pool

    return {"pool": Pool(StubConnection, pool_size=OBJECTS, max_overflow=0, timeout=600)}


def psycopg_pool() -> dict[str, Any]:
    from psycopg.pq import TransactionStatus
    from psycopg_pool import ConnectionPool

    class Status:
        transaction_status = TransactionStatus.IDLE

    class Connection(StubConnection):
        pgconn = Status()
        _pool = None

        @classmethod
        def connect(cls, *_: Any, **__: Any) -> Connection:
            return cls()

        def __enter__(self) -> Connection:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    pool = ConnectionPool("", connection_class=Connection, min_size=OBJECTS, max_size=OBJECTS, timeout=600, open=False)
    pool.open()
    pool.wait()
    return {"pool": pool}


def dbutils() -> dict[str, Any]:
    from dbutils.pooled_db import PooledDB

    limits = dict.fromkeys(("mincached", "maxcached", "maxconnections"), OBJECTS)
    return {"pool": PooledDB(StubConnection, blocking=True, failures=(sqlite3.Error,), **limits)}


def generic_connection_pool() -> dict[str, Any]:
    from generic_connection_pool.threading import BaseConnectionManager, ConnectionPool

    def create(*_: Any, **__: Any) -> StubConnection:
        return StubConnection()

    def dispose(*_: Any, **__: Any) -> None:
        pass

    manager = type("Manager", (BaseConnectionManager,), {"create": create, "dispose": dispose})
    return {"pool": ConnectionPool(manager(), min_idle=OBJECTS, max_size=OBJECTS, total_max_size=OBJECTS)}


def redis() -> dict[str, Any]:
    from redis import BlockingConnectionPool

    class Connection(StubConnection):
        connect = StubConnection.nothing

    return {"pool": BlockingConnectionPool(max_connections=OBJECTS, timeout=None, connection_class=Connection)}


def urllib3() -> dict[str, Any]:
    from urllib3.connectionpool import HTTPConnectionPool

    pool = HTTPConnectionPool("nowhere", maxsize=OBJECTS, block=True)
    pool.ConnectionCls = StubConnection
    return {"pool": pool}


LEASE = "with pool.lease() as obj: BODY"
CONNECTION = "with pool.connection() as obj: BODY"
GET_PUT = "obj = pool.get(); BODY; pool.put(obj)"

SUBJECTS = [
    Subject("opool", LEASE, lambda: {"pool": opool.Pool(objects(), timeout=None)}, contended=True),
    Subject(
        "opool, strict", LEASE, lambda: {"pool": opool.Pool(objects(), timeout=None, fairness="strict")}, contended=True
    ),
    Subject("queue.Queue design", LEASE, lambda: {"pool": QueuePool(objects())}, contended=True),
    Subject("SimpleQueue", GET_PUT, lambda: {"pool": filled(queue.SimpleQueue())}, contended=True),
    Subject("psycopg_pool", CONNECTION, psycopg_pool, contended=True, package="psycopg-pool"),
    Subject("SQLAlchemy", "obj = pool.connect(); BODY; obj.close()", sqlalchemy, contended=True, package="sqlalchemy"),
    Subject("DBUtils", "obj = pool.connection(); BODY; obj.close()", dbutils, package="dbutils"),
    Subject("urllib3", "obj = pool._get_conn(); BODY; pool._put_conn(obj)", urllib3, package="urllib3"),
    Subject("redis", "obj = pool.get_connection(); BODY; pool.release(obj)", redis, package="redis"),
    Subject(
        "generic-connection-pool",
        "with pool.connection('there') as obj: BODY",
        generic_connection_pool,
        package="generic-connection-pool",
    ),
]


def comparisons() -> list[Comparison]:
    """The peers without contention."""
    cases, absent = [], {}
    for subject in SUBJECTS:
        try:
            case = subject.case()
            case.compiled()(OBJECTS)
        except Exception as error:  # a peer that is not there, or not made for this interpreter
            if not subject.package:
                raise
            absent[subject.label] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        else:
            cases.append(case)
    return [Comparison("peers: take and give back", cases, rounds=100, absent=absent)]
