"""What `inside.py` does with opool: every entry point, and the recordings."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from inside import python

DEMONSTRATIONS = [
    "design.opool_demo",
    "design.opool_sample",
    "design.objectmgr_demo",
    "algorithms.palindrome",
    "algorithms.triplets",
]
SELF_CHECKS = ["design.opool_tests", "algorithms.palindrome_tests", "algorithms.triplets_tests"]
# What is not installed there; each says so, and names the extra that brings what it needs.
EXTRAS = {"opool.metrics.prometheus": "opool[prometheus]", "opool.metrics.otel": "opool[otel]"}
if importlib.util.find_spec("opool_bank") is None:
    EXTRAS["opool.bank"] = "opool[bank]"
PROMISED = [*EXTRAS, "opool", "opool._opool", "design.opool", "design.objectmgr", *DEMONSTRATIONS, *SELF_CHECKS]


def run_entry_points() -> int:
    """Runs the demonstrations and the self-checks; returns how many tests the latter ran."""
    for name in DEMONSTRATIONS:
        python("-m", name)
    ran = 0
    for name in SELF_CHECKS:
        output = python("-m", name, "-v")
        counted = re.search(r"^Ran (\d+) tests? in", output, re.MULTILINE)
        assert counted, f"{name} says nothing of tests:\n{output}"
        assert int(counted.group(1)) > 0, f"{name} ran no test"
        assert re.search(r"^OK\b", output, re.MULTILINE), f"{name} is not OK:\n{output}"
        ran += int(counted.group(1))
    return ran


def run() -> str:
    """Runs it all; returns the counts."""
    ran = run_entry_points()
    replay = Path(__file__).resolve().parents[1] / "parity" / "replay.py"
    closing = python(str(replay)).strip().splitlines()[-1]
    assert re.fullmatch(r"parity: [1-9]\d* passed, 0 failed", closing), closing
    return f"{len(DEMONSTRATIONS)} demonstrations, {ran} self-checks, {closing}"
