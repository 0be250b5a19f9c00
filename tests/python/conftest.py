"""What all tests share: how hard Hypothesis tries, how long a test may take, and in which order they run."""

import gc
import os
import random
import signal
import threading

import pytest
from hypothesis import settings

import limits

# `ci` gives the same verdict every time; `default` looks elsewhere in each run; `thorough` is for an evening.
settings.register_profile("default", max_examples=100, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("OPOOL_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "default"))

# A shell that starts the tests in its background has them ignore Ctrl-C, and the children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    limits.pytest_addoption(parser)
    text = "run the tests in another order: the same SEED, the same order"
    parser.addoption("--shuffle", type=int, default=None, metavar="SEED", help=text)


def pytest_configure(config):
    limits.pytest_configure(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    seed = config.getoption("--shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)


def pytest_collection_finish():
    # Tests run the collector very often. What pytest has made by now is as large as ever, and none of it is garbage.
    gc.collect()
    gc.freeze()


class Disposals(list):
    """A `dispose` that remembers."""

    __call__ = list.append


@pytest.fixture
def disposed():
    """A `dispose`, and what it was called with."""
    return Disposals()


@pytest.fixture
def hung():
    """What a hanging hook waits for: until the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL server of the tests' own, where there is PostgreSQL."""
    pytest.importorskip("psycopg", reason="psycopg is not installed here", exc_type=ImportError)
    from postgres import Server, programs

    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL here: `make postgres` as root installs it")
    server = Server(found)
    yield server
    server.remove()
