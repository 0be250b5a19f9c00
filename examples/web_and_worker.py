"""A thread that works through a backlog, and a web application that answers requests, share two models in one pool.

    uvicorn web_and_worker:app
    python examples/web_and_worker.py       # asks itself while the worker is busy

The model stands for whatever is large, slow to load, and serves one at a time. The thread waits in `lease`, the request
in `lease_async`, both in one queue, in the order in which they came: neither can starve the other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event, Thread

import httpx
from fastapi import FastAPI

import opool


class Model:
    """Computes something, blocking, and for one caller at a time."""

    def answer(self, question: str) -> str:
        """Takes some milliseconds, without the GIL."""
        return hashlib.pbkdf2_hmac("sha256", question.encode(), b"salt", 5_000).hex()[:8]


models = opool.Pool(factory=Model, max_size=2, name="models")
stopping = Event()
done: list[str] = []


def work_off() -> None:
    """The worker: an ordinary thread, which knows nothing of event loops."""
    while not stopping.is_set():
        with models.lease() as model:
            done.append(model.answer(f"old question {len(done)}"))


def answer_with(lease: opool.Lease[Model], question: str) -> str:
    """Runs in a thread of the event loop's, and gives the model back there, when it is really free.

    Were the lease the task's, in an `async with`, a cancelled request would give the model back at once, while this
    thread, which nobody can stop, still computes with it.
    """
    with lease as model:
        return model.answer(question)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Starts the worker with the application, and ends it."""
    stopping.clear()
    worker = Thread(target=work_off, name="worker")
    worker.start()
    try:
        yield
    finally:
        stopping.set()
        await asyncio.get_running_loop().run_in_executor(None, worker.join)


app = FastAPI(lifespan=lifespan)


@app.get("/answers/{question}")
async def answer(question: str) -> dict[str, str]:
    """The wait takes no thread; only the computation does."""
    lease = await models.lease_async(timeout=5)
    return {"answer": await asyncio.to_thread(answer_with, lease, question)}


async def main() -> None:
    """Shows it at work, without a server: httpx can call an application directly."""
    transport = httpx.ASGITransport(app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        answers = await asyncio.gather(*(client.get(f"/answers/{number}") for number in range(40)))
        good = sum(answer.status_code == 200 for answer in answers)
    print(f"{good} requests answered; the worker did some as well: {bool(done)}")
    stats = models.stats()
    print(f"every lease was one of theirs: {stats.leases == good + len(done)}; {stats.created} models")
    await models.aclose()


if __name__ == "__main__":
    asyncio.run(main())
