"""Measures `opool` beside its peers, prints one table, and keeps the numbers.

    make bench [ARGS='--only lease --publish']

The numbers, with machine, versions, date and command, go to benches/results/. `--publish` also keeps them in
benches/published/, a file an interpreter, and draws the picture of the newest one there. `benches/README.md` says how
it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PUBLISHED = HERE / "published"
sys.path.append(str(HERE.parent / "tests"))  # parity/references: the same jobs in plain Python

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

import machine  # noqa: E402
import report as printed  # noqa: E402
import targets  # noqa: E402
from areas import algorithms, children, contention, ids, lease, peers, signals, tasks  # noqa: E402
from harness import FULL, QUICK, Effort, Tell, measure_all  # noqa: E402

# Their statements are timed; and they measure in a way of their own. One area does both.
TIMED = {"lease": lease, "peers": peers, "ids": ids, "algorithms": algorithms, "tasks": tasks}
OTHERS = {"contention": contention, "signals": signals, "tasks": tasks}


def run(areas: list[str], effort: Effort) -> dict[str, Any]:
    """The figures of some areas."""
    found: dict[str, Any] = {"timings": {}, "contention": [], "signals": [], "tasks": []}
    columns = (TextColumn("{task.fields[area]:12}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars = {area: progress.add_task("", area=area, total=1, start=False) for area in areas}

        def teller(area: str) -> Tell:
            return lambda done, total, text: progress.update(
                bars[area], completed=done, total=total, description=text, refresh=True
            )

        for area in areas:
            progress.start_task(bars[area])
            if area in TIMED:
                with pinned():
                    found["timings"].update(measure_all(TIMED[area].comparisons(), effort, teller(area)))
            if area in OTHERS:
                found[area] = OTHERS[area].measure(effort, teller(area))
            progress.stop_task(bars[area])
    return found


class pinned:  # noqa: N801
    """A block on the last core that this process may use: the first is where a system's own work likes to be."""

    def __enter__(self) -> None:
        self.before = children.usable_cores()
        if self.before:
            os.sched_setaffinity(0, self.before[-1:])

    def __exit__(self, *_: object) -> None:
        if self.before:
            os.sched_setaffinity(0, self.before)


def save(report: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"numbers in {path.relative_to(HERE.parent)}")


def draw(report: dict[str, Any], path: Path) -> None:
    try:
        from picture import draw
    except ImportError as error:
        print(f"no picture: {error}")
        return
    draw(report, path)
    print(f"picture in {path.relative_to(HERE.parent)}")


def main() -> None:
    names = list(dict.fromkeys([*TIMED, *OTHERS]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: two minutes")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="AREA", help=", ".join(names))
    parser.add_argument("--publish", action="store_true", help="keep the numbers and the picture for the README")
    arguments = parser.parse_args()
    if arguments.publish and (arguments.quick or arguments.only != names):
        parser.error("only the whole run is published, and not the quick one")

    started, now = time.monotonic(), datetime.now(timezone.utc)
    report = {
        "date": now.isoformat(timespec="seconds"),
        "command": "make bench-quick" if arguments.quick else "make bench",
        **machine.facts(),
        **run(arguments.only, QUICK if arguments.quick else FULL),
    }
    judged = targets.judge(report)
    report["targets"] = [{**target._asdict(), "met": target.met} for target in judged]
    printed.show(report, judged)
    save(report, HERE / "results" / f"{now:%Y%m%d-%H%M%S}.json")
    whole = arguments.only == names
    if whole:
        draw(report, HERE / "results" / "bench.svg")
    if arguments.publish:
        minor = sys.version_info[1]
        save(report, PUBLISHED / f"3.{minor}.json")
        newest = max(PUBLISHED.glob("3.*.json"), key=lambda path: int(path.stem.partition(".")[2]))
        draw(json.loads(newest.read_text(encoding="utf-8")), PUBLISHED / "bench.svg")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
