"""What all tests share.

A test that asks for `path` (or `bank`, `still`) runs once for each store that its module names in `STORES`, or that its
mark `stores` names; on a file alone if neither does.
"""

import faulthandler
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import quote

import pytest

from opool_bank import Bank
from opool_bank.testing import ManualClock

# A shell that starts the tests in its background has them ignore Ctrl-C, and the children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _ends():
    """A test that freezes ends the run with every stack, also where no Python runs any more."""
    limit = 300 + float(os.environ.get("OPOOL_TORTURE", 0))
    faulthandler.dump_traceback_later(limit, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def pytest_generate_tests(metafunc):
    if "store" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("stores")
        stores = mark.args if mark else getattr(metafunc.module, "STORES", ("file",))
        metafunc.parametrize("store", stores)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of the tests' own: the one of the first package's tests."""
    pytest.importorskip("psycopg", reason="psycopg is not installed here", exc_type=ImportError)
    path = Path(__file__).resolve().parents[3] / "tests" / "python" / "postgres.py"
    spec = importlib.util.spec_from_file_location("opool_test_postgres", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.programs()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is missing, and in CI it must not be: make postgres")
        pytest.skip(
            "PostgreSQL IS MISSING: nothing of the PostgreSQL store is tested (make postgres installs it as root)"
        )
    server = module.Server(found)
    yield server
    server.remove()


_schemas = itertools.count(1)


def address_of(server, schema, user="root", host=None, **more):
    """The address of a schema on the tests' server."""
    query = {"host": host or str(server.folder), "user": user, "schema": schema, **more}
    return "postgresql:///postgres?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())


@pytest.fixture
def schema(postgres):
    """The name of a schema that is not there yet; it is dropped at the end."""
    name = f"test{next(_schemas)}"
    yield name
    postgres.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def path(store, request):
    """The address of a bank that is not there yet."""
    if store == "postgres":
        return address_of(request.getfixturevalue("postgres"), request.getfixturevalue("schema"))
    return str(request.getfixturevalue("tmp_path") / "test.opool")


@pytest.fixture
def bank(path):
    """A bank; its invariants are checked at the end."""
    with Bank(path) as bank:
        yield bank
        assert bank.verify() == []


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def still(path, clock):
    """A bank whose clock stands still unless it is moved."""
    with Bank(path, clock=clock) as bank:
        yield bank
        assert bank.verify() == []


@pytest.fixture
def child():
    """Runs Python code in a process of its own; what is still running at the end is killed."""
    running = []

    def start(code, *arguments, **options):
        started = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, **options.pop("env", {})},
            **options,
        )
        running.append(started)
        return started

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process, timeout=60):
    """What a child printed; it must have ended well."""
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, out
    return out
