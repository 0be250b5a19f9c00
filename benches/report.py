"""The one table that a run prints."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from targets import Target, contended_section, tasks_section

WIDTH = 120


class Sheet:
    """A table of sections, each with a heading for its own columns."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets
        self.table = Table(box=SIMPLE, show_header=False, pad_edge=False, padding=0)
        self.table.add_column(no_wrap=True, width=33)
        for _ in range(5):
            self.table.add_column(justify="right", no_wrap=True, width=9)
        self.table.add_column(no_wrap=True, width=34)

    def head(self, title: str, *columns: str) -> None:
        self.table.add_section()
        cells = [f"[bold]{title}[/]", *(f"[dim]{column}[/]" for column in columns)]
        self.table.add_row(*cells, *[""] * (6 - len(cells)), "[dim]target[/]")

    def row(self, section: str, label: str, *cells: str) -> None:
        verdicts = []
        for target in self.targets:
            if (target.section, target.row) == (section, label):
                colour, word = ("green", "met") if target.met else ("red", "MISSED")
                sign = "<=" if target.at_most else ">="
                verdicts.append(
                    f"{target.what} {target.measured:.3g} {sign} {target.limit:.3g} [{colour}]{word}[/{colour}]"
                )
        padding = [""] * (5 - len(cells))
        self.table.add_row("  " + label, *cells, *padding, "\n".join(verdicts))


def number(value: float) -> str:
    """Readable at any size, in at most eight characters."""
    for size, unit in ((1e9, " G"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def of_timings(sheet: Sheet, timings: dict[str, Any]) -> None:
    """Nanoseconds and ratios."""
    for name, figures in timings.items():
        sheet.head(name, "ns", "from", "to", "x opool")
        for label, values in figures.items():
            if "absent" in values:
                sheet.row(name, label, "n/a")
                continue
            low, high = values["quartiles"]
            sheet.row(name, label, number(values["ns"]), number(low), number(high), number(values["ratio"]))


def of_contention(sheet: Sheet, rows: list[dict[str, Any]]) -> None:
    """Throughput, fairness and waits, a section a configuration."""
    section = ""
    for row in rows:
        if contended_section(row) != section:
            section = contended_section(row)
            sheet.head(section, "leases/s", "max/min", "p50 us", "p99 us", "p99.9 us")
        if "absent" in row:
            sheet.row(section, row["subject"], "n/a")
        else:
            names = ("throughput", "fairness", "p50", "p99", "p99.9")
            sheet.row(section, row["subject"], *(number(row[name]) for name in names))


def of_signals(sheet: Sheet, rows: list[dict[str, Any]]) -> None:
    """Milliseconds from Ctrl-C to KeyboardInterrupt."""
    section = ""
    for row in rows:
        title = f"Ctrl-C, {row['busy']} busy"
        if title != section:
            section = title
            sheet.head(title, "p50 ms", "max ms", "signals")
        sheet.row(title, row["subject"], number(row["median"]), number(row["max"]), str(row["signals"]))


def of_tasks(sheet: Sheet, rows: list[dict[str, Any]]) -> None:
    """Throughput, and the shares: of the idlest and of the busiest, as parts of the mean."""
    section = ""
    for row in rows:
        if tasks_section(row) != section:
            section = tasks_section(row)
            sheet.head(section, "leases/s", "max/min", "starved", "idlest", "busiest")
        if "absent" in row:
            sheet.row(section, row["subject"], "n/a")
            continue
        shares = (f"{row['starved']:.0f}", number(row["low"]), number(row["high"]))
        sheet.row(section, row["subject"], number(row["throughput"]), number(row["fairness"]), *shares)


def show(report: dict[str, Any], targets: list[Target]) -> None:
    """Prints the report."""
    sheet = Sheet(targets)
    of_timings(sheet, report["timings"])
    of_contention(sheet, report["contention"])
    of_signals(sheet, report["signals"])
    of_tasks(sheet, report["tasks"])
    console = Console(width=WIDTH, highlight=False)
    console.print(sheet.table)
    met = sum(target.met for target in targets)
    console.print(f"{report['machine']}; CPython {report['python']} ({report['build']}); opool {report['opool']}")
    console.print(f"{report['date']}, revision {report['revision']}, {report['command']}, load {report['load']:.1f}")
    console.print(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    console.print(f"{met} of {len(targets)} targets met")
