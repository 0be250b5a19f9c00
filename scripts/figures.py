"""Writes the published figures into the README, between its markers: `make figures` runs it.

What `make bench ARGS=--publish` measured stands in benches/published/, a file an interpreter. `--check` changes nothing
and fails if the page is stale; `tests/python/project/test_readme.py` runs that.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PUBLISHED = ROOT / "benches" / "published"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"

NULLS = ("null, ordinary", "null, unbound")


def published() -> list[dict[str, Any]]:
    """Returns the reports, the oldest interpreter first."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in PUBLISHED.glob("*.json")]
    return sorted(reports, key=lambda report: [int(part) for part in report["python"].split(".") if part.isdigit()])


def times(value: float) -> str:
    """Formats a ratio, or milliseconds."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def without_contention(reports: list[dict[str, Any]]) -> list[str]:
    """Returns the table of the lease, a column an interpreter."""
    rows: dict[str, list[str]] = {
        "a lease, ns": [],
        "x an empty context manager in C": [],
        "x `with threading.Lock()`": [],
        "a pool on `queue.Queue`, x ours": [],
        "`acquire`, `release`: x `popleft`, `append`": [],
    }
    for report in reports:
        timings = report["timings"]
        lease = timings["lease"]
        null = min((lease[label] for label in NULLS), key=lambda values: float(values["ns"]))
        cells = [
            f"{lease['opool']['ns']:.0f}",
            times(1 / null["ratio"]),
            times(1 / lease["with lock"]["ratio"]),
            times(lease["queue.Queue design"]["ratio"]),
            times(1 / timings["acquire and release"]["deque"]["ratio"]),
        ]
        for row, cell in zip(rows.values(), cells):
            row.append(cell)
    heads = [f"CPython {report['python']}" for report in reports]
    lines = [["`with pool.lease() as obj: pass`", *heads], ["---"] * (len(heads) + 1)]
    lines += [[label, *cells] for label, cells in rows.items()]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def with_contention(report: dict[str, Any]) -> list[str]:
    """Returns the table of 64 threads over four objects."""
    title = f"64 threads, 4 objects, 100 us each (CPython {report['python']}, one core)"
    lines = [
        f"| {title} | leases/s | busiest / idlest thread | wait p50, ms | p99.9, ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in report["contention"]:
        if (row["threads"], row["cores"], row["body"]) == (64, 1, "sleep") and "absent" not in row:
            waits = [times(row[name] / 1e3) for name in ("p50", "p99.9")]
            lines.append(
                f"| {row['subject']} | {row['throughput']:,.0f} | {times(row['fairness'])} | {' | '.join(waits)} |"
            )
    return lines


def repository() -> str:
    """Returns the address of the repository: a package index shows the README without the files beside it."""
    found = re.search(r'^Repository = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else sys.exit("pyproject.toml does not say where the repository is")


def figures() -> list[str]:
    """Returns the lines between the markers."""
    reports = published()
    if not reports:
        return ["None is published yet: `make bench` measures them."]
    newest = reports[-1]
    dates = sorted({report["date"][:10] for report in reports})
    builds = sorted({report["build"] for report in reports})
    revisions = sorted({report["revision"] for report in reports})
    picture = f"{repository()}/raw/main/{PUBLISHED.relative_to(ROOT).as_posix()}/bench.svg"
    manual = f"{repository()}/blob/main/benches/README.md"
    return [
        f"![What a lease costs, and how it is shared under contention]({picture})",
        "",
        *without_contention(reports),
        "",
        *with_contention(newest),
        "",
        f"Measured by `{newest['command']}` on {' to '.join(dates)} at {', '.join(revisions)}: {newest['machine']};",
        f"interpreters built with {' and '.join(builds)}. [How]({manual}).",
    ]


def page(text: str) -> str:
    """Returns the README with the present figures."""
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"README.md lacks its markers {BEGIN} and {END}")
    return before + begin + "\n".join(figures()) + "\n" + end + after


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the page is stale")
    check = parser.parse_args().check
    text = README.read_text(encoding="utf-8")
    fresh = page(text)
    if check and fresh != text:
        sys.exit("the figures of README.md are stale: run `make figures`")
    if not check:
        README.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
