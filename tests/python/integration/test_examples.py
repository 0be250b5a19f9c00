"""The examples of tasks do what they say, as programs of their own, with every warning an error.

The others are tested beside what they are examples of: test_postgres.py, test_sqlite.py.
"""

import asyncio
import importlib.util
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import opool
from opool.testing import check_invariants
from support import LIMIT, eventually

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def run(name, *arguments, needs):
    """What an example prints. It is skipped where this interpreter has no wheels for what it needs."""
    for package in needs:
        pytest.importorskip(package, reason=f"{package} is not installed here", exc_type=ImportError)
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def imported(name):
    """An example, as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_web_application_shares_its_connections_to_postgresql(server):
    printed = run("web_postgres.py", server.dsn(), needs=["fastapi", "httpx", "psycopg"])
    server.execute("DROP TABLE visits")
    assert re.fullmatch(r"90 committed, 90 found\n102 leases of [1-4] connections\n", printed)


def test_tasks_read_and_write_sqlite_through_two_pools(tmp_path):
    printed = run("async_sqlite.py", tmp_path / "notes.db", needs=["aiosqlite"])
    assert printed == "50 notes, by 1 connection\n"


def test_no_account_ever_asks_twice_at_a_time():
    assert run("http_clients.py", needs=["httpx"]) == ("60 answers, 60 of them good\naccounts used: anna, bela, carl\n")


def test_a_worker_thread_and_a_web_application_share_a_pool():
    printed = run("web_and_worker.py", needs=["fastapi", "httpx"])
    assert re.fullmatch(
        r"40 requests answered; the worker did some as well: True\n"
        r"every lease was one of theirs: True; [12] models\n",
        printed,
    )


def test_a_cancelled_request_gives_its_model_back_only_when_the_thread_is_done_with_it():
    for package in ("fastapi", "httpx"):
        pytest.importorskip(package, reason=f"{package} is not installed here", exc_type=ImportError)
    example = imported("web_and_worker")
    computing, go_on = threading.Event(), threading.Event()

    class Slow:
        def answer(self, _):
            computing.set()
            assert go_on.wait(LIMIT)
            return "late"

    example.models = pool = opool.Pool([Slow()])

    async def main():
        request = asyncio.ensure_future(example.answer("why"))
        while not computing.is_set():
            await asyncio.sleep(0.001)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert pool.leased == 1
        go_on.set()

    asyncio.run(main())
    eventually(lambda: pool.idle == 1)
    check_invariants(pool)
