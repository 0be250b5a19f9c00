"""The pytest plugin: ports across the workers of pytest-xdist."""

import importlib.util
import subprocess
import sys

import pytest

TESTS = """
import socket, threading
import pytest

@pytest.mark.parametrize("n", range(12))
def test_listens(n, opool_port):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", opool_port))
        listener.listen()
        threading.Event().wait(0.1)

def test_several(opool_ports):
    assert len({opool_ports() for _ in range(3)}) == 3
"""


def pytest_run(folder, *arguments):
    # `-p no:...`: the plugin of this installation is found by its entry point.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "test_ports.py").write_text(TESTS)
    ini = f"[pytest]\nopool_port_range = 27300-27399\nopool_port_file = {tmp_path}/ports.opool\n"
    (tmp_path / "pytest.ini").write_text(ini)
    return tmp_path


@pytest.mark.skipif(importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_four_workers_never_share_a_port(folder):
    done = pytest_run(folder, "-n", "4")
    assert "13 passed" in done.stdout, done.stdout + done.stderr


def test_one_process_too_and_a_port_that_a_stranger_has_is_passed_over(folder):
    import socket

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 27300))
        stranger.listen()
        done = pytest_run(folder)
    assert "13 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("wrong", ["27300", "5-x", "9-3", "0-5", "1-70000"])
def test_a_range_that_cannot_be_is_refused(folder, wrong):
    done = pytest_run(folder, "-o", f"opool_port_range={wrong}")
    assert done.returncode != 0
    assert "opool_port_range must" in done.stdout
