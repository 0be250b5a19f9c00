"""A pool of httpx clients, one for each account that a service has given us.

    python examples/http_clients.py

The service allows an account one request at a time, and answers 429 to a second one. So the clients are scarce: a task
leases one for a request, and the others wait their turn. The service here is a small one of our own, in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import httpx

import opool

ACCOUNTS = ["anna", "bela", "carl"]


async def fetch(clients: opool.Pool[httpx.AsyncClient], number: int) -> tuple[str, int]:
    """One request: who asked, and what came of it."""
    async with clients.lease_async(timeout=10) as client:
        answer = await client.get(f"/items/{number}")
        return client.headers["account"], answer.status_code


async def main(url: str) -> None:
    """Shows it at work."""
    async with AsyncExitStack() as stack:
        # There is one object for each account, so the pool gets them ready-made, and they are ours to close.
        clients = [httpx.AsyncClient(base_url=url, headers={"account": account}) for account in ACCOUNTS]
        for client in clients:
            await stack.enter_async_context(client)
        async with opool.Pool(clients, name="accounts") as pool:  # is left first: it waits for what is still out
            answers = await asyncio.gather(*(fetch(pool, number) for number in range(60)))
    print(f"{len(answers)} answers, {Counter(status for _, status in answers)[200]} of them good")
    print("accounts used:", ", ".join(sorted({account for account, _ in answers})))


class Service(BaseHTTPRequestHandler):
    """Takes a moment to answer, and refuses two requests of one account at a time."""

    protocol_version = "HTTP/1.1"  # connections are kept
    busy = {account: Lock() for account in ACCOUNTS}

    def do_GET(self) -> None:  # noqa: N802
        """Answers."""
        lock = self.busy[self.headers["account"]]
        allowed = lock.acquire(blocking=False)
        if allowed:
            time.sleep(0.002)
            lock.release()
        self.send_response(200 if allowed else 429)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    Thread(target=server.serve_forever).start()
    try:
        asyncio.run(main(f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()
