"""A pytest plugin: ports that no two tests have at the same time, whatever process runs them.

Under pytest-xdist each worker is a process of its own, and so are two test runs on one machine. The ports are leased
from a bank file that they share; what a killed worker held comes free at once.

* fixture `opool_port`: a free TCP port on the loopback interface, for one test;
* fixture `opool_ports`: a function that returns one more each time it is called;
* ini option `opool_port_range` (default `20000-29999`, below the ports that systems give to clients);
* ini option `opool_port_file` (default: one for each user in the folder for temporary files).
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable

import pytest

if TYPE_CHECKING:
    from opool_bank import Bank, Lease

_TTL = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the ini options."""
    parser.addini("opool_port_range", "the ports that opool_port hands out, as FIRST-LAST", default="20000-29999")
    parser.addini("opool_port_file", "the bank file that all test processes share", default="")


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not dash or not (first.strip().isdigit() and last.strip().isdigit()):
        raise pytest.UsageError(f"opool_port_range must be FIRST-LAST, for example 20000-29999, not {text!r}")
    found = range(int(first), int(last) + 1)
    if not found or found[0] < 1 or found[-1] > 65_535:
        raise pytest.UsageError(f"opool_port_range must lie within 1-65535 and not be empty, not {text!r}")
    return found


def _listens(port: int) -> bool:
    """Whether a program that knows nothing of the bank has the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@pytest.fixture(scope="session")
def _opool_port_bank(pytestconfig: pytest.Config) -> Iterator[Bank]:
    from opool_bank import Bank

    wanted = _range(str(pytestconfig.getini("opool_port_range")))
    path = str(pytestconfig.getini("opool_port_file")) or os.path.join(
        tempfile.gettempdir(), f"opool-ports-{os.getuid()}.opool"
    )
    # Nothing here must survive a power cut; each range is a bank of its own.
    with Bank(path, name=f"ports {wanted[0]}-{wanted[-1]}", durability="fast") as bank:
        if bank.counts().put < len(wanted):
            bank.put(wanted, atomic=True)
        yield bank


@pytest.fixture
def opool_ports(_opool_port_bank: Bank) -> Iterator[Callable[[], int]]:
    """A function that returns a free TCP port each time it is called; they are given back after the test."""
    held: list[Lease] = []

    def port() -> int:
        while True:
            lease = _opool_port_bank.lease(_TTL, timeout=60)
            held.append(lease)
            if not _listens(lease.key):
                return int(lease.key)
            # A stranger has it: kept until the end of the test, so that it is not offered again.

    yield port
    for lease in held:
        lease.release()


@pytest.fixture
def opool_port(opool_ports: Callable[[], int]) -> int:
    """A free TCP port that no other test has at the same time."""
    return opool_ports()
