"""Putting inside the caller's own transaction, on the caller's own connection."""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Iterator
from typing import Any, Callable

from opool_bank._bank import BankCore
from opool_bank.errors import BankUsageError

_CHUNK = 1_000
# The least time between two notifications of a process: each holds a lock that all commits of the server pass through.
_QUIET = 0.1

Run = Callable[[str, list[Any]], list[Any]]
RunAsync = Callable[[str, list[Any]], Awaitable[list[Any]]]

_last_notification = 0.0


def _package(tx: Any) -> str:
    for kind in type(tx).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in ("psycopg", "asyncpg", "sqlalchemy", "django"):
            return package
    return ""


def _refuse(tx: Any, also: str) -> BankUsageError:
    return BankUsageError(
        f"tx must be an open connection of psycopg 3, SQLAlchemy{also}, not {type(tx).__module__}.{type(tx).__name__}"
    )


def _psycopg(conn: Any) -> Any:
    import psycopg

    if conn.autocommit and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        raise BankUsageError("tx has no open transaction: use `with connection.transaction():`")
    return psycopg


def run_sync(tx: Any) -> Run:
    """Returns what runs a statement on a connection, inside its transaction."""
    package = _package(tx)
    if package == "sqlalchemy":
        connection = tx.connection() if callable(getattr(type(tx), "connection", None)) else tx
        # Begins the transaction, if nothing did yet.
        connection.exec_driver_sql("SELECT 1")
        tx = connection.connection.driver_connection
        package = _package(tx)
    elif package == "django":
        if not tx.in_atomic_block:
            raise BankUsageError("tx has no open transaction: use `with transaction.atomic():`")
        tx.ensure_connection()
        tx = tx.connection
        package = _package(tx)
    if package != "psycopg" or not hasattr(tx, "autocommit") or hasattr(tx, "__aenter__"):
        raise _refuse(tx, " or Django (with psycopg 3)")
    psycopg = _psycopg(tx)

    def run(text: str, values: list[Any]) -> list[Any]:
        with psycopg.RawCursor(tx, row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute(text, values)
            return list(cursor.fetchall()) if cursor.description else []

    return run


async def run_async(tx: Any) -> RunAsync:
    """As `run_sync`, for connections of event loops."""
    package = _package(tx)
    if package == "sqlalchemy":
        connection = await tx.connection() if callable(getattr(type(tx), "connection", None)) else tx
        await connection.exec_driver_sql("SELECT 1")
        tx = (await connection.get_raw_connection()).driver_connection
        package = _package(tx)
        if package == "asyncpg":
            return _asyncpg(tx)
    if package == "asyncpg":
        if not tx.is_in_transaction():
            raise BankUsageError("tx has no open transaction: use `async with connection.transaction():`")
        return _asyncpg(tx)
    if package != "psycopg" or not hasattr(tx, "autocommit") or not hasattr(tx, "__aenter__"):
        raise _refuse(tx, " or asyncpg, for event loops")
    psycopg = _psycopg(tx)

    async def run(text: str, values: list[Any]) -> list[Any]:
        async with psycopg.AsyncRawCursor(tx, row_factory=psycopg.rows.tuple_row) as cursor:
            await cursor.execute(text, values)
            return list(await cursor.fetchall()) if cursor.description else []

    return run


def _asyncpg(connection: Any) -> RunAsync:
    async def run(text: str, values: list[Any]) -> list[Any]:
        return [tuple(row) for row in await connection.fetch(text, *values)]

    return run


# A generator asks for one statement after another and is sent the rows: so one text serves threads and event loops.
Asks = Iterator[tuple[str, list[Any]]]


def _steps(
    core: BankCore, items: Iterator[Any], atomic: bool, keep: bool, options: tuple[int, float, int | None]
) -> Any:
    global _last_notification
    place = core.tx_questions()
    if place is None:
        raise BankUsageError(
            f"bank {core.title}: tx= is for banks in a PostgreSQL database. A file and your database do not commit "
            "together: put after your commit; the same put again adds what is missing"
        )
    (is_there, is_this), cookie, wake = place
    if (yield is_there)[0][0] is None or bytes((yield is_this)[0][0]) != cookie:
        raise BankUsageError(f"bank {core.title}: the transaction of tx is in another database")
    new = 0
    # Set while there is a savepoint: what is refused leaves the caller's transaction as it was there.
    saved = False
    try:
        while chunk := list(itertools.islice(items, _CHUNK)):
            steps = core.tx_put(chunk, keep, *options)
            if not saved:
                yield ("SAVEPOINT opool_put", [])
                saved = True
            yield steps[0]
            new += (yield steps[1])[0][0]
            conflicts = (yield steps[2]) if len(steps) > 2 else []
            if conflicts:
                raise core.tx_conflict([(bytes(key), long and bytes(long)) for key, long in conflicts])
            if not atomic:
                yield ("RELEASE SAVEPOINT opool_put", [])
                saved = False
    except Exception:
        if saved:
            yield ("ROLLBACK TO SAVEPOINT opool_put", [])
            yield ("RELEASE SAVEPOINT opool_put", [])
        raise
    if saved:
        yield ("RELEASE SAVEPOINT opool_put", [])
    # Those who wait look each second in any case.
    if new and time.monotonic() - _last_notification >= _QUIET:
        _last_notification = time.monotonic()
        yield wake[0]
    return new


def put(core: BankCore, tx: Any, items: Iterator[Any], atomic: bool, keep: bool, *options: Any) -> int:
    """Puts items inside the transaction of a connection; returns how many were new."""
    run = run_sync(tx)
    steps = _steps(core, items, atomic, keep, options)
    rows: Any = None
    while True:
        try:
            text, values = steps.send(rows)
        except StopIteration as end:
            return int(end.value)
        rows = run(text, values)


async def put_async(core: BankCore, tx: Any, items: Iterator[Any], atomic: bool, keep: bool, *options: Any) -> int:
    """As `put`, for event loops."""
    run = await run_async(tx)
    steps = _steps(core, items, atomic, keep, options)
    rows: Any = None
    while True:
        try:
            text, values = steps.send(rows)
        except StopIteration as end:
            return int(end.value)
        rows = await run(text, values)
