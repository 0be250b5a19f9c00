"""What all tests share."""

import faulthandler
import os
import signal
import subprocess
import sys
import textwrap

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


@pytest.fixture
def path(tmp_path):
    """The path of a bank that is not there yet."""
    return str(tmp_path / "test.opool")


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
