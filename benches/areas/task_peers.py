"""Who else hands out objects to tasks: each peer in the form its own manual shows, and what people write themselves.

To compare one more, add a line to `SUBJECTS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Callable, NamedTuple

import opool_floor

import opool
from areas.peers import StubConnection

SEMAPHORE, QUEUED = "asyncio.Semaphore", "asyncio.Queue pool, a class"


class Subject(NamedTuple):
    """A pool for tasks: how an object is taken and given back around BODY, and what makes the names that this uses.

    `make` is called in the event loop with the number of objects. `package` is as in `peers.Subject`.
    """

    label: str
    statement: str
    make: Callable[[int], Coroutine[Any, Any, Mapping[str, Any]]]
    contended: bool = True
    package: str = ""


async def ours(size: int) -> dict[str, Any]:
    return {"pool": opool.Pool([object() for _ in range(size)], timeout=None)}


async def null(_: int) -> dict[str, Any]:
    return {"null": opool_floor.in_task}


async def semaphore(size: int) -> dict[str, Any]:
    return {"semaphore": asyncio.Semaphore(size), "idle": deque(range(size))}


async def lock(_: int) -> dict[str, Any]:
    return {"lock": asyncio.Lock()}


async def queued(size: int) -> dict[str, Any]:
    idle: asyncio.Queue[int] = asyncio.Queue()
    for obj in range(size):
        idle.put_nowait(obj)
    return {"idle": idle}


class QueueLease:
    """What the pool below gives."""

    def __init__(self, idle: asyncio.Queue[int]) -> None:
        self.idle = idle

    async def __aenter__(self) -> int:
        self.obj = await self.idle.get()
        return self.obj

    async def __aexit__(self, *_: object) -> None:
        self.idle.put_nowait(self.obj)


class QueuePool:
    """The usual pool for tasks in a few lines, in the two usual forms."""

    def __init__(self, idle: asyncio.Queue[int]) -> None:
        self.idle = idle

    def lease(self) -> QueueLease:
        return QueueLease(self.idle)

    @asynccontextmanager
    async def generated(self) -> AsyncIterator[int]:
        obj = await self.idle.get()
        try:
            yield obj
        finally:
            self.idle.put_nowait(obj)


async def queue_pool(size: int) -> dict[str, Any]:
    return {"pool": QueuePool((await queued(size))["idle"])}


async def nothing(_: int) -> dict[str, Any]:
    return {}


async def capacity_limiter(size: int) -> dict[str, Any]:
    from anyio import CapacityLimiter

    return {"limiter": CapacityLimiter(size), "idle": deque(range(size))}


async def aiomisc(size: int) -> dict[str, Any]:
    from aiomisc import PoolBase

    async def create(_: Any) -> object:
        return object()

    async def good(*_: Any) -> bool:
        return True

    methods = {"_create_instance": create, "_destroy_instance": good, "_check_instance": good}
    return {"pool": type("Objects", (PoolBase,), methods)(maxsize=size)}


async def psycopg_pool(size: int) -> dict[str, Any]:
    from psycopg.pq import TransactionStatus
    from psycopg_pool import AsyncConnectionPool

    class Status:
        transaction_status = TransactionStatus.IDLE

    class Connection:
        pgconn = Status()
        _pool = None

        @classmethod
        async def connect(cls, *_: Any, **__: Any) -> Connection:
            return cls()

        async def close(self) -> None:
            pass

        async def __aenter__(self) -> Connection:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

    limits = {"min_size": size, "max_size": size, "timeout": 600}
    pool = AsyncConnectionPool("", connection_class=Connection, open=False, **limits)
    await pool.open(wait=True)
    return {"pool": pool}


async def generic_connection_pool(size: int) -> dict[str, Any]:
    from generic_connection_pool.asyncio import BaseConnectionManager, ConnectionPool

    async def create(*_: Any, **__: Any) -> StubConnection:
        return StubConnection()

    async def dispose(*_: Any, **__: Any) -> None:
        pass

    manager = type("Manager", (BaseConnectionManager,), {"create": create, "dispose": dispose})
    return {"pool": ConnectionPool(manager(), min_idle=size, max_size=size, total_max_size=size)}


SUBJECTS = [
    Subject("opool", "async with pool.lease_async() as obj: BODY", ours),
    Subject("null context manager", "async with null.get() as obj: BODY", null, contended=False),
    Subject(SEMAPHORE, "async with semaphore: BODY", semaphore, contended=False),
    Subject("asyncio.Lock", "async with lock: BODY", lock, contended=False),
    Subject("Semaphore and deque", "async with semaphore: obj = idle.popleft(); BODY; idle.append(obj)", semaphore),
    Subject("asyncio.Queue", "obj = await idle.get(); BODY; idle.put_nowait(obj)", queued),
    Subject(QUEUED, "async with pool.lease() as obj: BODY", queue_pool),
    Subject("the same, a generator", "async with pool.generated() as obj: BODY", queue_pool),
    Subject(
        "anyio.CapacityLimiter and deque",
        "async with limiter: obj = idle.popleft(); BODY; idle.append(obj)",
        capacity_limiter,
        package="anyio",
    ),
    Subject("aiomisc", "async with pool.acquire() as obj: BODY", aiomisc, package="aiomisc"),
    Subject("psycopg_pool", "async with pool.connection() as obj: BODY", psycopg_pool, package="psycopg-pool"),
    Subject(
        "generic-connection-pool",
        "async with pool.connection('there') as obj: BODY",
        generic_connection_pool,
        package="generic-connection-pool",
    ),
]
NO_POOL = Subject("no pool at all", "BODY", nothing)  # what the event loop alone can do
