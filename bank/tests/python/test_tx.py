"""Putting inside a transaction of the caller: it is there with the caller's commit, or not at all."""

import asyncio
from contextlib import asynccontextmanager, contextmanager

import pytest

from opool_bank import Bank, BankUsageError, KeyConflict

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed here", exc_type=ImportError)

STORES = ("postgres",)


class Undone(Exception):
    """Ends a transaction that is not to count."""


@contextmanager
def by_psycopg(server):
    with psycopg.connect(server.dsn()) as conn, conn.transaction():
        yield conn


@contextmanager
def by_psycopg_with_autocommit(server):
    with psycopg.connect(server.dsn(), autocommit=True) as conn, conn.transaction():
        yield conn


@contextmanager
def by_sqlalchemy(server):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(server.dsn()))
    try:
        with engine.begin() as conn:
            yield conn
    finally:
        engine.dispose()


@contextmanager
def by_a_session(server):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    orm = pytest.importorskip("sqlalchemy.orm")
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(server.dsn()))
    try:
        with orm.Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()


@contextmanager
def by_django(server):
    django = pytest.importorskip("django", reason="Django is not installed here")
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            DATABASES={
                "default": {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": "postgres",
                    "HOST": str(server.folder),
                    "USER": "root",
                }
            }
        )
        django.setup()
    from django.db import connection, transaction

    try:
        with transaction.atomic():
            yield connection
    finally:
        connection.close()


SYNC = [by_psycopg, by_psycopg_with_autocommit, by_sqlalchemy, by_a_session, by_django]


@pytest.mark.parametrize("begin", SYNC)
def test_a_put_in_a_transaction_is_there_with_its_commit_or_not_at_all(path, postgres, begin):
    with Bank(path) as bank:
        bank.put([("there", 1)])
        with pytest.raises(Undone), begin(postgres) as tx:
            assert bank.put(["a", "b"], tx=tx) == 2
            assert bank.get("a") is None
            raise Undone
        assert bank.counts().put == 1
        with begin(postgres) as tx:
            items = [("there", 1), ("a", {"n": 1}, 2, 0.0, 3), ("b", b"\0"), (7, None), ("long " * 500, "x")]
            assert bank.put(items, tx=tx) == 4
            assert bank.put(range(2_500), tx=tx) == 2_499
        assert bank.counts().free == 5 + 2_499
        item = bank.get("a")
        assert (item.payload, item.priority, item.max_attempts) == ({"n": 1}, 2, 3)
        assert bank.get("long " * 500).payload == "x"
        assert bank.claim("x").key == "there"
        assert bank.verify() == []


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("begin", SYNC)
def test_a_conflict_leaves_the_transaction_as_it_was(path, postgres, begin, atomic):
    with Bank(path) as bank:
        bank.put([("a", 1)])
        with begin(postgres) as tx:
            assert bank.put(["before"], tx=tx) == 1
            with pytest.raises(KeyConflict) as caught:
                bank.put([*range(1_000), ("new", 1), ("a", 2)], tx=tx, atomic=atomic)
            assert caught.value.keys == ["a"]
            assert bank.put([("b", 2), ("a", 3)], on_conflict="keep", tx=tx) == 1
        expected = {"a", "before", "b"} | (set() if atomic else set(range(1_000)))
        assert {item.key for item in bank.items()} == expected
        assert bank.get("a").payload == 1
        assert bank.verify() == []


@pytest.mark.parametrize("begin", [by_psycopg])
def test_what_was_not_kept_can_be_put_again_in_a_transaction(path, postgres, begin):
    with Bank(path) as bank:
        bank.put(["task"])
        lease = bank.lease()
        lease.done("r", keep=False)
        with begin(postgres) as tx:
            assert bank.put(["task"], tx=tx) == 1
        assert bank.done(("task", lease.token), "r", keep=False) is True
        assert bank.claim().token > lease.token
        assert bank.verify() == []


def test_who_waits_is_woken_by_the_commit(path, postgres, child):
    code = """
        import sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        print("ready", flush=True)
        print(bank.claim("x", timeout=60).key)
    """
    with Bank(path) as bank:
        waiter = child(code, path)
        waiter.stdout.readline()
        with by_psycopg(postgres) as tx:
            bank.put(["a"], tx=tx)
        assert waiter.communicate(timeout=60)[0] == "a\n"


@asynccontextmanager
async def by_async_psycopg(server):
    async with await psycopg.AsyncConnection.connect(server.dsn()) as conn, conn.transaction():
        yield conn


@asynccontextmanager
async def by_asyncpg(server):
    asyncpg = pytest.importorskip("asyncpg")
    conn = await asyncpg.connect(host=str(server.folder), user="root", database="postgres")
    try:
        async with conn.transaction():
            yield conn
    finally:
        await conn.close()


@asynccontextmanager
async def by_async_sqlalchemy(server, driver="asyncpg"):
    pytest.importorskip(driver)
    sqlalchemy = pytest.importorskip("sqlalchemy.ext.asyncio")
    engine = sqlalchemy.create_async_engine(f"postgresql+{driver}://root@/postgres?host={server.folder}")
    try:
        async with engine.begin() as conn:
            yield conn
    finally:
        await engine.dispose()


def by_async_sqlalchemy_on_psycopg(server):
    return by_async_sqlalchemy(server, "psycopg")


@pytest.mark.parametrize("begin", [by_async_psycopg, by_asyncpg, by_async_sqlalchemy, by_async_sqlalchemy_on_psycopg])
def test_the_same_in_an_event_loop(path, postgres, begin):
    async def main():
        with Bank(path) as bank:
            bank.put([("there", 1)])
            with pytest.raises(Undone):
                async with begin(postgres) as tx:
                    assert await bank.put_async(["a", "b"], tx=tx) == 2
                    raise Undone
            assert bank.counts().put == 1
            async with begin(postgres) as tx:
                with pytest.raises(KeyConflict):
                    await bank.put_async([("c", 1), ("there", 2)], tx=tx)
                items = [("there", 1), ("a", {"n": 1}, 2, 0.0, 3), ("b", b"\0"), (7, None)]
                assert await bank.put_async(items, tx=tx) == 3
            assert {item.key for item in bank.items()} == {"there", "a", "b", 7}
            assert (bank.get("a").payload, bank.get("a").max_attempts) == ({"n": 1}, 3)
            assert bank.verify() == []

    asyncio.run(main())


def test_what_is_no_transaction_in_this_database_is_refused(path, postgres, tmp_path):
    with Bank(path) as bank, psycopg.connect(postgres.dsn(), autocommit=True) as conn:
        for tx in (object(), "tx", conn.cursor()):
            with pytest.raises(BankUsageError, match="tx must be an open connection"):
                bank.put(["a"], tx=tx)
        with pytest.raises(BankUsageError, match="no open transaction"):
            bank.put(["a"], tx=conn)
        conn.execute("CREATE DATABASE elsewhere")
        try:
            with (
                psycopg.connect(postgres.dsn().replace("dbname=postgres", "dbname=elsewhere")) as other,
                pytest.raises(BankUsageError, match="is in another database"),
            ):
                bank.put(["a"], tx=other)
        finally:
            conn.execute("DROP DATABASE elsewhere")
        assert bank.counts().put == 0
    with (
        Bank(str(tmp_path / "x.opool")) as bank,
        psycopg.connect(postgres.dsn()) as conn,
        pytest.raises(BankUsageError, match="do not commit together"),
    ):
        bank.put(["a"], tx=conn)
