"""The pools of `situations.py`, each made as its manual says, and used in the same few words."""

from __future__ import annotations

from typing import Any, Callable

SIZE = 4
Make = Callable[[], object]


class Connection:
    """A connection to nowhere, with whatever the peers ask of one."""

    threadsafety = 2
    closed = False
    _pool = None

    class pgconn:  # noqa: N801
        transaction_status = 0

    def nothing(self, *_: Any, **__: Any) -> None:
        pass

    close = commit = rollback = _ping = nothing

    def cursor(self) -> Connection:
        return self

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Opool:
    """How this peer is made and used; the others have the same methods."""

    def __init__(self, make: Make = Connection, size: int = SIZE, timeout: float = 10.0, **more: Any) -> None:
        import opool

        self.pool = opool.Pool(factory=make, max_size=size, timeout=timeout, **more)

    def get(self) -> Any:
        return self.pool.acquire()

    def put(self, obj: Any) -> None:
        self.pool.release(obj)

    def close(self) -> None:
        self.pool.close(timeout=0.1)

    def cycle(self) -> None:
        with self.pool.lease():
            pass


class PsycopgPool:
    def __init__(self, make: Make = Connection, size: int = SIZE, timeout: float = 10.0, **more: Any) -> None:
        from psycopg_pool import ConnectionPool

        made = type("Made", (Connection,), {"connect": classmethod(lambda *_, **__: make())})
        limits = {"min_size": 0, "max_size": size, "timeout": timeout, **more}
        self.pool: Any = ConnectionPool("", connection_class=made, open=True, **limits)

    def get(self) -> Any:
        return self.pool.getconn()

    def put(self, obj: Any) -> None:
        self.pool.putconn(obj)

    def close(self) -> None:
        self.pool.close(timeout=0.1)

    def cycle(self) -> None:
        with self.pool.connection():
            pass


class SQLAlchemy:
    def __init__(self, make: Make = Connection, size: int = SIZE, timeout: float = 10.0, **more: Any) -> None:
        from sqlalchemy.pool import QueuePool

        self.pool: Any = QueuePool(make, pool_size=size, max_overflow=0, timeout=timeout, **more)

    def get(self) -> Any:
        return self.pool.connect()

    def put(self, obj: Any) -> None:
        obj.close()

    def close(self) -> None:
        self.pool.dispose()

    def cycle(self) -> None:
        self.pool.connect().close()


class DBUtils(SQLAlchemy):
    def __init__(self, make: Make = Connection, size: int = SIZE, timeout: float = 10.0, **more: Any) -> None:
        from dbutils.pooled_db import PooledDB

        self.pool = PooledDB(make, maxcached=size, maxconnections=size, blocking=True, failures=(OSError,), **more)

    def get(self) -> Any:
        return self.pool.connection()

    def close(self) -> None:
        self.pool.close()

    def cycle(self) -> None:
        self.pool.connection().close()


KITS: dict[str, Any] = {"opool": Opool, "psycopg_pool": PsycopgPool, "SQLAlchemy": SQLAlchemy, "DBUtils": DBUtils}


def real(obj: Any) -> Any:
    """The connection itself, inside whatever a peer wraps around it."""
    for name in ("_con", "dbapi_connection"):
        obj = getattr(obj, name, None) or obj
    return obj
