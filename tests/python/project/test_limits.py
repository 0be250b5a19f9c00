"""The limit of a test: what freezes fails alone, and the others run."""

import subprocess
import sys
import textwrap

from support import HERE, LIMIT

FREEZES = {
    "waits": "threading.Event().wait()",
    "waits for an object": "opool.Pool(timeout=None).lease()",
    "computes": "while True: pass",
    "passes over every error": """
        for _ in range(100):
            try:
                threading.Event().wait()
            except Exception:
                pass
    """,
    "passes over the first interrupt": """
        try:
            threading.Event().wait()
        finally:
            threading.Event().wait()
    """,
    "runs an event loop": "asyncio.run(asyncio.Event().wait())",
}


def run_pytest(folder, code, *options):
    (folder / "conftest.py").write_text(f"import sys; sys.path.insert(0, {HERE!r})\nfrom limits import *\n")
    (folder / "test_it.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(command, cwd=folder, timeout=LIMIT, **output)


def test_whatever_freezes_fails_alone_and_says_where(tmp_path):
    code = "import asyncio, threading\nimport hypothesis.strategies as st\nfrom hypothesis import given\nimport opool\n"
    for name, body in FREEZES.items():
        body, name = textwrap.indent(textwrap.dedent(body), "    "), name.replace(" ", "_")
        code += f"def test_{name}():\n{body}\n\ndef test_after_what_{name}(): pass\n\n"
    code += "@given(st.integers())\ndef test_hypothesis(n):\n    threading.Event().wait()\n"
    done = run_pytest(tmp_path, code, "--limit=1")
    assert f"{len(FREEZES) + 1} failed, {len(FREEZES)} passed" in done.stdout, done.stdout
    assert done.stdout.count("OverTheLimit: this test took longer than 1 s") >= len(FREEZES)
    assert "thread 0x" in done.stdout and done.returncode == 1


def test_the_watchdog_ends_what_nothing_can_interrupt(tmp_path):
    code = """
import signal, threading
def test_it():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    threading.Event().wait()
"""
    done = run_pytest(tmp_path, code, "--limit=0.5")
    assert "Timeout (0:00:01.500000)!" in done.stdout and "in test_it" in done.stdout, done.stdout
    assert done.returncode == 1 and "passed" not in done.stdout
