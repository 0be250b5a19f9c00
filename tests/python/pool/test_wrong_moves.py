"""Wrong first moves, and calls that would wait for themselves: each gets the sentence that helps, at once."""

import asyncio
import contextlib
import logging
import sqlite3
import sys
import threading

import pytest

import opool
from design.opool import Pool as OriginalPool
from loops import ASYNCIO
from support import LIMIT, Crew, Thing, eventually, run_child, things


def said(kind, call, *args, **options):
    with pytest.raises(kind) as caught:
        call(*args, **options)
    return str(caught.value)


def connect():
    return Thing()


def test_a_factory_in_the_place_of_the_objects_is_told_its_name():
    text = said(TypeError, opool.Pool, connect)
    assert text.startswith("objects must be iterable, not <function connect at 0x")
    assert text.endswith("; did you mean factory=connect?")
    assert said(TypeError, opool.Pool, objects=Thing).endswith("did you mean factory=Thing?")
    assert said(TypeError, opool.Pool, 5) == "'int' object is not iterable"


def test_release_of_a_lease_names_the_leases_own_release():
    pool = opool.Pool(things(1))
    with pool.lease() as obj:
        pass
    lease = pool.lease()
    assert "it is a lease, and release is for what acquire returned: call lease.release()" in said(
        opool.LeaseError, pool.release, lease
    )
    lease.release()
    assert "it is a lease" in said(opool.LeaseError, pool.release, pool.lease_async())
    assert "is back already" in said(opool.LeaseError, pool.release, obj)


def test_the_other_kind_of_with_is_told_which_one_to_use():
    pool = opool.Pool(things(1))

    async def async_with_a_lease():
        async with pool.lease():
            pass

    async def async_with_an_awaited_lease():
        async with await pool.lease_async():
            pass

    def with_an_async_lease():
        with pool.lease_async():
            pass

    for call in (async_with_a_lease, async_with_an_awaited_lease):
        assert "in a task write: async with pool.lease_async() as obj" in said(AttributeError, ASYNCIO.run, call)
    assert "in a thread write: with pool.lease() as obj" in said(AttributeError, with_an_async_lease)
    assert pool.idle == 1
    assert not isinstance(pool.lease(), contextlib.AbstractAsyncContextManager)
    assert not isinstance(pool.lease_async(), contextlib.AbstractContextManager)
    other = ("__exit__", "__aexit__") if sys.version_info >= (3, 14) else ("__enter__", "__aenter__")
    assert not hasattr(pool.lease(), other[1]) and not hasattr(pool.lease_async(), other[0])


# ----------------------------------------------------------------------------------------------------------------------
# Closed pools


def test_a_closed_pool_shows_that_it_is_closed_and_is_not_entered():
    pool = opool.Pool(things(1), name="db")
    pool.close()
    assert repr(pool) == "<opool.Pool 'db': closed, size 0, idle 0, leased 0, waiting 0>"
    assert said(opool.PoolClosed, pool.__enter__) == "pool 'db': it is closed"

    async def enter():
        async with pool:
            raise AssertionError("entered")

    assert said(opool.PoolClosed, ASYNCIO.run, enter) == "pool 'db': it is closed"


@pytest.mark.parametrize("kind", [opool.Pool, OriginalPool])
def test_a_close_within_the_with_of_a_lease_says_so_at_once(kind):
    pool = kind(["a", "b"])
    with pool.lease(), pytest.raises(opool.PoolCloseTimeout) as caught:
        pool.close(timeout=None)
    assert str(caught.value).startswith(
        "pool: closed, but 1 object is still out, and this thread itself is inside the with block: 'a', with thread "
        "'MainThread' for "
    )
    assert str(caught.value).endswith("Leave it before you close, or use force=True.")
    assert [holder.obj for holder in caught.value.holders] == ["a"]
    assert pool.closed and pool.size == 0
    pool.close(timeout=None)


def test_a_with_pool_that_ends_inside_a_lease_does_not_wait_for_itself():
    pool = opool.Pool(factory=Thing, timeout=None)
    lease = pool.lease()
    with lease, pytest.raises(opool.PoolCloseTimeout, match="this thread itself is inside"):
        with pool:
            pass


def test_an_aclose_within_the_async_with_of_a_lease_says_so_at_once():
    pool = opool.Pool(["a"], timeout=None)

    async def main():
        async with pool.lease_async():
            await pool.aclose()

    assert "and this task itself is inside the with block: 'a', with task " in said(
        opool.PoolCloseTimeout, ASYNCIO.run, main
    )
    assert pool.size == 0


def test_a_close_waits_for_what_others_hold_and_for_what_this_thread_has_passed_on():
    pool = opool.Pool(things(2), timeout=LIMIT)
    inside, go_on = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def passed_on():
        with pool.lease():
            yield

    def hold(_):
        with pool.lease():
            inside.set()
            go_on.wait(LIMIT)

    other = Crew(1, hold)
    assert inside.wait(LIMIT)
    manager = passed_on()
    manager.__enter__()
    leaver = Crew(1, lambda _: (eventually(lambda: pool.closed), manager.__exit__(None, None, None), go_on.set()))
    pool.close()
    other.join()
    leaver.join()
    assert pool.size == 0


def test_an_aclose_waits_for_an_async_generator_and_for_other_tasks():
    pool = opool.Pool(things(2), timeout=LIMIT)

    async def dependency():
        async with pool.lease_async() as obj:
            yield obj

    async def other(over):
        async with pool.lease_async():
            await over.wait()

    async def main():
        over, generator = asyncio.Event(), dependency()
        await generator.__anext__()
        holder = asyncio.ensure_future(other(over))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(pool.aclose())
        await asyncio.sleep(0.01)
        assert not closing.done()
        over.set()
        await generator.aclose()
        await asyncio.gather(closing, holder)

    ASYNCIO.run(main)
    assert pool.size == 0


def test_a_close_without_a_timeout_that_may_wait_for_its_own_thread_tells_so(caplog):
    pool = opool.Pool(["a"], name="db", timeout=None)
    lease = pool.lease()
    other = Crew(1, lambda _: (eventually(lambda: caplog.records), lease.release()))
    pool.close()
    other.join()
    (record,) = caplog.records
    assert record.message.startswith("pool 'db': close() waits without a timeout for what this thread has taken itself")


# ----------------------------------------------------------------------------------------------------------------------
# Blocking calls in an event loop


def test_a_lease_that_blocks_an_event_loop_tells_so_once_and_in_its_error(caplog):
    pool = opool.Pool(["a"], name="db")

    async def main():
        async with pool.lease_async():
            for _ in range(2):
                assert "use async with pool.lease_async()" in said(opool.PoolTimeout, pool.lease, timeout=0.01)
            said(opool.PoolTimeout, pool.lease, timeout=0)

    ASYNCIO.run(main)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == (
        "pool 'db': lease() waits in the thread of an event loop, which stands still until an object comes free: use "
        "async with pool.lease_async()"
    )


def test_a_lease_that_blocks_no_event_loop_tells_nothing(caplog):
    pool = opool.Pool(["a"])

    async def main():
        with pool.lease():
            pass
        async with pool.lease_async():
            said(opool.PoolTimeout, pool.lease, timeout=0)
            return await asyncio.get_running_loop().run_in_executor(
                None, lambda: said(opool.PoolTimeout, pool.lease, timeout=0.01)
            )

    assert "event loop" not in ASYNCIO.run(main)
    assert caplog.records == []


# ----------------------------------------------------------------------------------------------------------------------
# Hooks that return a coroutine, and objects that are bound to where they were made


class Connection:
    def __init__(self):
        self.resets = self.checks = 0
        self.closed = False

    async def reset(self):
        await asyncio.sleep(0)
        self.resets += 1

    async def check(self):
        await asyncio.sleep(0)
        self.checks += 1

    async def close(self):
        await asyncio.sleep(0)
        self.closed = True


def test_hooks_of_threads_that_return_a_coroutine_are_awaited(caplog):
    made = []
    with opool.Pool(
        factory=lambda: made.append(Connection()) or made[-1],
        check=lambda conn: conn.check(),
        check_after=0,
        reset=lambda conn: conn.reset(),
        dispose=lambda conn: conn.close(),
    ) as pool:
        for _ in range(2):
            with pool.lease(timeout=LIMIT):
                pass
            eventually(lambda: pool.idle == 1)
    (conn,) = made
    assert (conn.resets, conn.checks >= 1, conn.closed) == (2, True, True)
    assert caplog.records == []


def test_hooks_of_event_loops_that_return_a_coroutine_are_awaited_there(caplog):
    made = []

    async def make():
        made.append(Connection())
        return made[-1]

    async def main():
        async with opool.Pool(factory=make, reset=lambda conn: conn.reset(), dispose=lambda conn: conn.close()) as pool:
            for _ in range(2):
                async with pool.lease_async(timeout=LIMIT):
                    pass
                while pool.idle == 0:
                    await asyncio.sleep(0)
        async with opool.Pool(factory=lambda: make(), dispose=Connection.close) as pool:
            async with pool.lease_async(timeout=LIMIT):
                pass

    ASYNCIO.run(main)
    assert [(conn.resets, conn.closed) for conn in made] == [(2, True), (0, True)]
    assert caplog.records == []


def test_a_factory_of_threads_that_returns_a_coroutine_is_refused():
    pool = opool.Pool(factory=lambda: Connection().reset())
    with pytest.raises(opool.FactoryError) as caught:
        pool.lease()
    assert "the factory returned a coroutine, but is no coroutine function" in str(caught.value.__cause__)


def test_an_object_that_is_bound_to_a_thread_is_called_that(caplog):
    def connect():
        # Closed at once, as no other thread may close it: SQLite asks for the thread before it asks for that.
        with contextlib.closing(sqlite3.connect(":memory:")) as conn:
            return conn

    with opool.Pool(factory=connect, reset=lambda conn: conn.rollback()) as pool:
        with pool.lease(timeout=LIMIT):
            pass
    text = next(record.message for record in caplog.records if "reset failed" in record.message)
    assert "SQLite objects created in a thread" in text
    assert "an object that only its own thread may use; opool runs the factory in a thread of its own" in text


def test_an_object_that_is_bound_to_an_event_loop_is_called_that(caplog):
    async def reset(_):
        raise RuntimeError("Task <Task> got Future <Future> attached to a different loop")

    async def make():
        return Thing()

    async def main():
        async with opool.Pool(factory=make, reset=reset, max_size=1) as pool:
            async with pool.lease_async():
                pass
            async with pool.lease_async():
                pass

    ASYNCIO.run(main)
    assert "an object of another event loop, the one in which opool ran the factory" in caplog.text


# ----------------------------------------------------------------------------------------------------------------------
# Errors of the factory


def test_a_failed_connect_is_shown_once():
    child = run_child(
        """
        import opool

        def connect():
            raise OSError("connection refused")

        opool.Pool(factory=connect, name="db").lease()
        """,
        check=False,
    )
    assert child.returncode == 1
    assert child.stderr.count("OSError: connection refused") == 1  # CPython 3.15 shows the line that raises, too
    assert "pool 'db': it has no object, and creating one failed with OSError (see __cause__)." in child.stderr
    assert "WARNING" not in child.stderr and "creating an object failed" not in child.stderr


def test_a_failed_connect_that_nobody_waits_for_is_in_the_log(caplog):
    def connect():
        raise OSError("connection refused")

    with caplog.at_level(logging.DEBUG, "opool"), opool.Pool(factory=connect, min_size=1, name="db"):
        eventually(lambda: caplog.records)
    record = caplog.records[0]
    assert (record.levelname, record.message) == ("WARNING", "pool 'db': creating an object failed")
    assert record.exc_info[0] is OSError


class Shy(Exception):
    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __repr__


def test_errors_without_a_repr_are_logged_all_the_same(caplog, capsys):
    def fail(*_):
        raise Shy

    pool = opool.Pool(factory=fail)
    with pytest.raises(opool.FactoryError, match="with Shy"):
        pool.lease()
    with opool.Pool(things(2), check=fail, check_after=0, reset=fail, dispose=fail) as pool:
        with caplog.at_level(logging.DEBUG, "opool"):
            with contextlib.suppress(opool.PoolTimeout), pool.lease(timeout=0.01):
                pass
    assert "dispose failed: an object of type Shy" in caplog.text
    assert "Logging error" not in capsys.readouterr().err
