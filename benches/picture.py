"""The picture of a run: what a lease costs, how long one waits for it, and how evenly it is shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from areas.lease import LEASE
from report import number
from targets import floor

OURS, OTHERS, FLOOR = "#c0392b", "#7f8c8d", "#bdc3c7"
MARKS = {"p50": "o", "p99": "s", "p99.9": "D"}
SHOWN = {"threads": 64, "cores": 1, "body": "sleep"}


def colour(label: str) -> str:
    return OURS if label.startswith("opool") else FLOOR if label.startswith("empty") else OTHERS


def costs(report: dict[str, Any]) -> dict[str, float]:
    """Nanoseconds to take an object and give it back, the dearest first."""
    figures = report["timings"][LEASE]
    found = {"empty context manager in C": figures[floor(figures)]["ns"], "with lock": figures["with lock"]["ns"]}
    peers = report["timings"]["peers: take and give back"]
    found.update({label: values["ns"] for label, values in peers.items() if "ns" in values})
    found["opool"] = figures["opool"]["ns"]
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def draw(report: dict[str, Any], path: Path) -> None:
    """Writes the picture. Needs matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "opool", "font.size": 9})
    figure, (left, middle, right) = pyplot.subplots(
        1, 3, figsize=(11, 3.4), layout="constrained", gridspec_kw={"width_ratios": [5, 4, 3]}
    )
    found = costs(report)
    left.barh(list(found), list(found.values()), color=[colour(label) for label in found])
    for place, value in enumerate(found.values()):
        left.text(value * 1.1, place, f"{value:,.0f}", va="center", fontsize=8)
    left.set(xscale="log", xlim=(10, max(found.values()) * 5))
    left.set_title("ns to take an object and give it back", fontsize=9)

    rows = [row for row in report["contention"] if all(row[key] == value for key, value in SHOWN.items())]
    rows = [row for row in reversed(rows) if "absent" not in row]
    labels = [row["subject"] for row in rows]
    colours = [colour(label) for label in labels]
    for name, mark in MARKS.items():
        middle.scatter([row[name] for row in rows], labels, marker=mark, c=colours, s=28, label=name)
    middle.set(xscale="log")
    middle.set_title("64 threads, 4 objects: wait in us", fontsize=9)
    middle.legend(fontsize=7, loc="best")
    middle.grid(axis="x", alpha=0.3)

    right.barh(labels, [row["fairness"] for row in rows], color=colours)
    for place, row in enumerate(rows):
        right.text(row["fairness"] * 1.1, place, number(row["fairness"]), va="center", fontsize=8)
    right.set(xscale="log", xlim=(0.9, max([10, *(row["fairness"] for row in rows)]) * 8), yticks=[])
    right.set_title("busiest / idlest thread", fontsize=9)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(
        f"CPython {report['python']} ({report['build']}), {report['machine']}, {report['date'][:10]}. "
        "Body under contention: time.sleep(100e-6), one core. Log scales.",
        fontsize=7,
    )
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
