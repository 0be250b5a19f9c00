"""The picture of a run: claims a second with 1, 8 and 32 threads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

OURS, OTHERS = "#c0392b", "#7f8c8d"


def draw(kept: dict[str, Any], path: Path) -> None:
    """Writes the picture."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "opool", "font.size": 9})
    found: dict[int, dict[str, float]] = {}
    for row in kept["rows"]:
        match = re.fullmatch(r"(.*), (\d+) threads", row["what"])
        if match and row["value"] and "processes" not in match[1]:
            found.setdefault(int(match[2]), {})[match[1].replace(", a connection each", "")] = row["value"]
    figure, panels = pyplot.subplots(1, len(found), figsize=(11, 3), layout="constrained", sharey=True)
    for axes, number in zip(panels, sorted(found)):
        rates = dict(sorted(found[number].items(), key=lambda item: item[1]))
        rates = {name: rates[name] for name in sorted(rates, key=lambda name: found[max(found)].get(name, 0))}
        colours = [OURS if name.startswith("opool") else OTHERS for name in rates]
        axes.barh(list(rates), list(rates.values()), color=colours)
        for place, rate in enumerate(rates.values()):
            axes.text(rate * 1.1, place, f"{rate:,.0f}", va="center", fontsize=8)
        axes.set(xscale="log", xlim=(10, max(rates.values()) * 8))
        axes.set_title(f"{number} thread{'s' * (number > 1)}: claims a second", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    load = " to ".join(f"{load:.1f}" for load in kept["load"])
    machine = f"CPython {kept['python']}, {kept['machine']}, {kept['cores']} cores"
    figure.supxlabel(f"{machine}, load {load}, {kept['date'][:10]}. Log scale.", fontsize=7)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
