"""A web application whose requests share a few connections to PostgreSQL: FastAPI, and psycopg's async connections.

    DATABASE="dbname=postgres user=postgres" uvicorn web_postgres:app
    python examples/web_postgres.py "dbname=postgres user=postgres"     # asks itself a hundred times at once

A request that finds no connection free waits its turn, first come, first served. One whose client goes away is
cancelled by the server: what it had goes back, rolled back, and what it was just about to be given goes to the next.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import psycopg
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

import opool


async def ping(conn: psycopg.AsyncConnection) -> None:
    """The check: raises if the server has ended the connection. It leaves no transaction open."""
    await conn.execute("SELECT 1")
    await conn.rollback()


def make_pool(conninfo: str) -> opool.Pool[psycopg.AsyncConnection]:
    """As in the blocking form (`postgres.py`); only the hooks are coroutine functions."""

    async def connect() -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(conninfo, connect_timeout=5)

    return opool.Pool(
        factory=connect,
        check=ping,
        reset=psycopg.AsyncConnection.rollback,
        dispose=psycopg.AsyncConnection.close,
        max_size=4,
        timeout=5,  # seconds, for everything together: waiting, connecting, checking
        max_waiting=500,  # whoever comes beyond that is told so at once
        name="db",
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The pool lives as long as the application. `async with` closes it, and waits for the requests under way."""
    async with make_pool(os.environ.get("DATABASE", "")) as pool:
        app.state.pool = pool
        yield


async def connection(request: Request) -> AsyncIterator[psycopg.AsyncConnection]:
    """The dependency: a connection for the time of one request."""
    pool: opool.Pool[psycopg.AsyncConnection] = request.app.state.pool
    async with pool.lease_async() as conn:
        yield conn


Connection = Annotated[psycopg.AsyncConnection, Depends(connection)]
app = FastAPI(lifespan=lifespan)


@app.exception_handler(opool.PoolTimeout)
@app.exception_handler(opool.TooManyWaiters)
async def busy(_: Request, error: Exception) -> JSONResponse:
    """Whoever waits in vain is told to come back later, which is better than to pile up."""
    return JSONResponse({"detail": "busy"}, status_code=503, headers={"Retry-After": "1"})


@app.post("/visits/{number}")
async def visit(number: int, conn: Connection) -> dict[str, int]:
    """One transaction. Without `commit`, all of it is undone."""
    await conn.execute("INSERT INTO visits VALUES (%s)", [number])
    if number % 10 == 0:
        raise HTTPException(422, "no round numbers")  # not committed: as if it had never been
    await conn.commit()
    return {"number": number}


@app.get("/visits")
async def count(conn: Connection) -> dict[str, int]:
    """How many there are."""
    row = await (await conn.execute("SELECT count(*) FROM visits")).fetchone()
    return {"count": row[0] if row else 0}


async def main(conninfo: str) -> None:
    """Shows it at work, without a server: httpx can call an application directly."""
    os.environ["DATABASE"] = conninfo
    transport = httpx.ASGITransport(app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        async with app.state.pool.lease_async() as conn:
            await conn.execute("DROP TABLE IF EXISTS visits")
            await conn.execute("CREATE TABLE visits (number int)")
            await conn.commit()
        answers = await asyncio.gather(*(client.post(f"/visits/{number}") for number in range(100)))
        committed = sum(answer.status_code == 200 for answer in answers)
        found = (await client.get("/visits")).json()["count"]
        stats = app.state.pool.stats()
    print(f"{committed} committed, {found} found")
    print(f"{stats.leases} leases of {stats.created} connections")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
