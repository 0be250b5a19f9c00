"""Measuring in processes of their own, one after another, on the cores that they are allowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, TypeVar

from harness import Effort, Tell

FROZEN_SECONDS = 30

_C = TypeVar("_C")


def usable_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def use_cores(cores: list[int]) -> None:
    """From now on this process runs on these; on any, if there are none."""
    if cores:
        os.sched_setaffinity(0, cores)


def in_a_process(area: str, configuration: object, cores: int) -> dict[str, Any]:
    """What `python -m areas.<area>` prints for one configuration, or the reason why it prints nothing."""
    # The last ones: the first is where a system's own work likes to be.
    arguments = [json.dumps(configuration), json.dumps(usable_cores()[-cores:])]
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"areas.{area}", *arguments],
            cwd=Path(__file__).resolve().parents[1],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=FROZEN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        # Seen of the queue.Queue design with 64 threads: one of them is starved and never comes to its end.
        return {"absent": f"froze: no end within {FROZEN_SECONDS} s"}
    if done.returncode != 0:
        return {"absent": (done.stderr.splitlines() or ["no message"])[-1][:100]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def in_turn(
    planned: list[_C], run: Callable[[_C], dict[str, Any]], title: Callable[[_C], str], effort: Effort, tell: Tell
) -> list[tuple[_C, list[dict[str, Any]], dict[str, Any]]]:
    """Runs all of them, round after round. Each with what it found when it found something, and with its first run."""
    taken: list[list[dict[str, Any]]] = [[] for _ in planned]
    total = len(planned) * effort.contended_rounds
    for done in range(total):
        place = done % len(planned)
        tell(done, total, title(planned[place]))
        taken[place].append(run(planned[place]))
    tell(total, total, "")
    good = [[each for each in runs if "absent" not in each] for runs in taken]
    return [(configuration, good[i], taken[i][0]) for i, configuration in enumerate(planned)]
