"""What a type checker must see where hooks are coroutine functions, and in tasks. Checked by `make lint`, never run."""

import functools
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Callable, Optional

from typing_extensions import assert_type

import opool


class Connection:
    async def ping(self) -> bool:
        return True

    async def close(self) -> None: ...


async def connect(host: str = "localhost") -> Connection:
    return Connection()


def connect_now() -> Connection:
    return Connection()


async def close(connection: Connection) -> None:
    await connection.close()


async def takes_a_number(number: int) -> None: ...


class Factory:
    async def __call__(self) -> Connection:
        return Connection()

    async def make(self) -> Connection:
        return Connection()


def a_coroutine_function_makes_what_its_coroutine_returns() -> None:
    pool = opool.Pool(factory=connect, max_size=2)
    assert_type(pool, opool.Pool[Connection])
    assert_type(opool.Pool(factory=functools.partial(connect, host="db")), opool.Pool[Connection])
    assert_type(opool.Pool(factory=Factory()), opool.Pool[Connection])
    assert_type(opool.Pool(factory=Factory().make), opool.Pool[Connection])
    with pool.lease() as connection:
        assert_type(connection, Connection)


def a_function_makes_what_it_returns() -> None:
    assert_type(opool.Pool(factory=connect_now), opool.Pool[Connection])
    assert_type(opool.Pool(factory=lambda: Connection()), opool.Pool[Connection])
    assert_type(opool.Pool(factory=Connection), opool.Pool[Connection])
    assert_type(opool.Pool([Connection()], factory=connect), opool.Pool[Connection])


def each_hook_may_be_either() -> None:
    hooks = opool.Pool(factory=connect, check=Connection.ping, reset=close, dispose=close)
    assert_type(hooks, opool.Pool[Connection])
    mixed = opool.Pool(factory=connect_now, check=Connection.ping, reset=id, dispose=close)
    assert_type(mixed, opool.Pool[Connection])
    assert_type(opool.Pool([Connection()], dispose=close), opool.Pool[Connection])


def a_hook_for_other_objects_is_wrong() -> None:
    opool.Pool(factory=connect, dispose=takes_a_number)  # type: ignore[misc]
    opool.Pool(factory=connect_now, reset=takes_a_number)  # type: ignore[arg-type]
    opool.Pool(factory=5)  # type: ignore[call-overload]


def an_annotated_pool_is_accepted(factory: Callable[[], Any], perhaps: Optional[Callable[[], Connection]]) -> None:
    annotated: opool.Pool[Connection] = opool.Pool(factory=connect, dispose=close)
    explicit = opool.Pool[Connection](factory=connect, dispose=close)
    anything: opool.Pool[Connection] = opool.Pool(factory=factory)
    assert_type([annotated, explicit, anything], list[opool.Pool[Connection]])
    assert_type(opool.Pool(factory=perhaps), opool.Pool[Connection])


class Connections(opool.Pool[Connection]):
    def __init__(self) -> None:
        super().__init__(factory=connect, dispose=close)


async def an_async_lease_is_an_async_context_manager(pool: opool.Pool[bytes], ids: opool.ObjectMgr) -> None:
    manager: AbstractAsyncContextManager[bytes] = pool.lease_async()
    async with manager as obj:
        assert_type(obj, bytes)
    async with AsyncExitStack() as stack:
        assert_type(await stack.enter_async_context(pool.lease_async()), bytes)
        assert_type(await stack.enter_async_context(ids.lease_async(timeout=5)), int)
        assert_type(await stack.enter_async_context(Connections()), Connections)
    async with pool.lease_async() as obj:
        assert_type(obj, bytes)
    assert_type(await pool.lease_async(), opool.Lease[bytes])


async def an_async_with_swallows_no_exception(pool: opool.Pool[int]) -> int:
    async with pool.lease_async() as number:  # were it taken to swallow, a return would be missing below
        return number
