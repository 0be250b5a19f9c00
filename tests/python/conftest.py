"""What all tests share: how hard Hypothesis tries, and an end for a test that holds the GIL for ever."""

import faulthandler
import os
import signal
import sys
import threading

import pytest
from hypothesis import settings

# `ci` gives the same verdict every time; `default` looks elsewhere in each run; `thorough` is for an evening.
settings.register_profile("default", max_examples=100, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("OPOOL_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "default"))

# A shell that starts the tests in its background has them ignore Ctrl-C, and the children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _ends():
    """The timeout of pytest-timeout is a Python thread; where no Python runs any more, this one still does."""
    faulthandler.dump_traceback_later(180, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


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
