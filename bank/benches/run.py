"""Measures the bank beside its peers, all in one run, prints one table, and keeps the numbers and a picture.

    make bench-bank [ARGS=--quick]

Ratios count: each figure stands beside a reference of the same run. A loaded machine measures itself, so the load is
in the table, too. The numbers go to benches/results/ of the repository; `--publish` keeps them in
bank/benches/published/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "benches"))  # machine: what the figures depend on

import calls  # noqa: E402
import crowd  # noqa: E402
import original  # noqa: E402
import waits  # noqa: E402

from opool_bank import SharedObjectMgr  # noqa: E402

THREADS = [1, 8, 32]


class Report:
    """The rows, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self, what: str, figure: str, beside: str = "", *, value: float | None = None, met: bool | None = None
    ) -> None:
        """Adds a row. `met`: whether it reaches what it should."""
        self.rows.append({"what": what, "figure": figure, "beside": beside, "value": value, "met": met})
        mark = {None: " ", True: "+", False: "-"}[met]
        print(f"{mark} {what:52} {figure:>24}  {beside}".rstrip(), flush=True)


def rate_of(call: Callable[[], object], seconds: float) -> float:
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - begun)


def alone(report: Report, path: Callable[[str], str], rounds: int) -> None:
    """One caller, beside the sync that it cannot do without: in turns, since a disk is not the same each second."""
    block = os.urandom(8_192)
    file = os.open(path("sync"), os.O_RDWR | os.O_CREAT)
    os.pwrite(file, os.urandom(1 << 20), 0)
    os.fsync(file)

    def sync() -> None:
        os.pwrite(file, block, 0)
        os.fdatasync(file)

    plain, bank = calls.plain(path("alone-plain"))(0), calls.bank(path("alone-bank"))(0)
    both = calls.bank_lease_and_done(path("alone-lease"))(0)
    found = []
    for _ in range(rounds):
        before = rate_of(sync, 0.2)
        rates = [rate_of(call, 0.2) for call in (plain, bank, both)]
        syncs = (before + rate_of(sync, 0.2)) / 2
        found.append((syncs, *rates, *(rate / syncs for rate in rates)))
    os.close(file)
    syncs, *rates, of_plain, of_bank, of_both = (statistics.median(column) for column in zip(*found))
    report.add("pwrite and fdatasync of 8 kB", f"{syncs:,.0f}/s", value=syncs)
    report.add("plain sqlite3, 1 caller in turn with it", f"{rates[0]:,.0f}/s", f"{of_plain:.2f} x fdatasync")
    report.add(
        "opool-bank, claim, the same", f"{rates[1]:,.0f}/s", f"{of_bank:.2f} x fdatasync (>= 0.65)", value=of_bank,
        met=of_bank >= 0.65,
    )  # fmt: skip
    report.add("opool-bank, lease and done: two commits", f"{rates[2]:,.0f}/s", f"{of_both:.2f} x fdatasync")


def many_threads(report: Report, path: Callable[[str], str], rounds: int) -> None:
    """The bank, what one writes without it, and its group commit in Python: in turns, as above."""
    plain, group, bank = "plain sqlite3, a connection each", "group commit in Python", "opool-bank"
    makes = {plain: calls.plain, group: calls.group, bank: calls.bank}
    for number in THREADS:
        ready = {name: make(path(f"{make.__name__}{number}")) for name, make in makes.items()}
        figures: dict[str, list[crowd.Figure]] = {name: [] for name in ready}
        for _ in range(rounds):
            for name, make in ready.items():
                figures[name].append(crowd.threads(make, number, 1.0))
        for name, found in figures.items():
            rate = statistics.median(figure.rate for figure in found)
            p99 = statistics.median(figure.p99 for figure in found)
            fair, longest = min(figure.fair for figure in found), max(figure.longest for figure in found)
            beside, met = f"slowest/fastest {fair:.2f}, longest {longest:,.0f} ms", None
            if name == bank:
                times = statistics.median(ours.rate / theirs.rate for ours, theirs in zip(found, figures[plain]))
                beside = f"{times:.1f} x plain, {beside}"
                if number == 32:
                    beside += " (>= 8 x, p99 <= 4 ms, >= 0.5)"
                    met = times >= 8 and p99 <= 4 and fair >= 0.5
            report.add(f"{name}, {number} threads", f"{rate:,.0f}/s, p99 {p99:.1f} ms", beside, value=rate, met=met)


def peers(report: Report, path: Callable[[str], str], seconds: float) -> None:
    for package, (name, make, note) in calls.PEERS.items():
        for number in THREADS:
            try:
                figure = crowd.threads(make(path(f"{package}{number}")), number, seconds)
            except ImportError as error:
                report.add(name, "n/a", f"NOT MEASURED: {error}")
                break
            except Exception as error:  # noqa: BLE001 - what a peer cannot do is a result
                report.add(f"{name}, {number} threads", type(error).__name__, str(error)[:60])
            else:
                report.add(f"{name}, {number} threads", str(figure), note, value=figure.rate)
    found = original.measure(THREADS, seconds)
    if isinstance(found, str):
        report.add("the original of storagebox on dynalite", "n/a", f"NOT MEASURED: {found}")
        return
    for number, (rate, p99, fair) in found.items():
        what = f"the original of storagebox on dynalite, {number} threads"
        report.add(what, f"{rate:,.0f}/s, p99 {p99:,.0f} ms", f"slowest/fastest {fair:.2f}", value=rate)


def many_processes(report: Report, path: Callable[[str], str], seconds: float) -> None:
    names = {"plain": "plain sqlite3", "bank": "opool-bank"}
    runs = [("plain", 8, 1, 0), ("bank", 8, 1, 3_000), ("plain", 8, 8, 0), ("bank", 8, 8, 15_000)]
    for kind, number, in_each, at_least in runs:
        file = path(f"{kind}-{number}x{in_each}")
        getattr(calls, kind)(file)
        rate, fair, longest = crowd.processes(kind, file, number, in_each, seconds)
        beside = f"slowest/fastest {fair:.2f}, longest {longest:,.0f} ms"
        met = None
        if at_least:
            beside += f" (>= {at_least:,}/s, >= 0.5)"
            met = rate >= at_least and fair >= 0.5
        what = f"{names[kind]}, {number} processes x {in_each} threads"
        report.add(what, f"{rate:,.0f}/s", beside, value=rate, met=met)


def others(report: Report, path: Callable[[str], str], quick: bool) -> None:
    number = 50_000 if quick else 1_000_000
    found = waits.puts(path("puts"), number)
    reference = found["executemany"]
    report.add(f"executemany of {number:,} random keys", f"{reference:,.0f}/s")
    times = found["atomic"] / reference
    beside = f"{times:.2f} x executemany (>= 1), {found['atomic_mb']:.0f} MB more"
    report.add("put, atomic=True", f"{found['atomic']:,.0f}/s", beside, value=times, met=times >= 1)
    times = found["chunks"] / reference
    beside = f"{times:.2f} x executemany (>= 0.3)"
    report.add("put in chunks, a claimer beside it", f"{found['chunks']:,.0f}/s", beside, value=times, met=times >= 0.3)
    longest = found["longest"]
    beside = f"of {found['claims']:,.0f} claims (<= 0.2 s)"
    report.add("  the claimer's longest wait", f"{longest:.3f} s", beside, value=longest, met=longest <= 0.2)

    p50, p99 = waits.wakeups(path("wake"), 50 if quick else 200, 8)
    beside = f"p99 {p99:.2f} ms (<= 0.5, <= 2)"
    report.add(
        "8 waiting processes: one has the item after", f"p50 {p50:.2f} ms", beside, value=p50,
        met=p50 <= 0.5 and p99 <= 2,
    )  # fmt: skip
    used = waits.idle(path("idle"), 8, 3)
    report.add("8 waiting processes, of a core", f"{used:.1%}", "(<= 2 %)", value=used, met=used <= 0.02)

    seconds = 1.0 if quick else 4.0
    group = waits.beside_a_computing_thread(calls.group(path("busy-group")), 8, seconds)
    figure = waits.beside_a_computing_thread(calls.bank(path("busy-bank")), 8, seconds)
    times = figure.rate / group.rate
    beside = f"group commit in Python {group.rate:,.0f}/s: {times:.1f} x (>= 8)"
    report.add("8 threads beside one that computes in Python", str(figure), beside, value=times, met=times >= 8)

    begun = time.perf_counter()
    SharedObjectMgr(path("ids"), 1_000_000_000)
    took = (time.perf_counter() - begun) * 1e3
    report.add("SharedObjectMgr(10**9) opens a new file in", f"{took:.1f} ms")
    begun = time.perf_counter()
    ids = SharedObjectMgr(path("ids"), 1_000_000_000)
    took = (time.perf_counter() - begun) * 1e3
    ids.get_object()
    report.add("  and one that is there in", f"{took:.1f} ms", "(< 10 ms)", value=took, met=took < 10)


def facts() -> dict[str, Any]:
    """What the figures depend on."""
    import machine

    return {
        "machine": machine.processor(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "build": machine.build(),
        "revision": machine.revision(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--publish", action="store_true", help="keep the numbers and the picture in the repository")
    options = parser.parse_args()
    if options.quick and options.publish:
        parser.error("a quick run is not published")
    started, seconds = time.monotonic(), 1.0 if options.quick else 4.0
    folder = tempfile.mkdtemp(prefix="opool-bench-")
    report = Report()
    load = [os.getloadavg()[0]]
    print(f"{os.cpu_count()} cores, load {load[0]:.1f}; Python {sys.version.split()[0]}; + reached, - missed\n")

    def path(name: str) -> str:
        return os.path.join(folder, name)

    try:
        alone(report, path, 4 if options.quick else 20)
        many_threads(report, path, 2 if options.quick else 5)
        peers(report, path, min(seconds, 2.0))
        many_processes(report, path, seconds)
        others(report, path, options.quick)
    finally:
        crowd.end_all()
        shutil.rmtree(folder, ignore_errors=True)
    load.append(os.getloadavg()[0])
    now = datetime.now(timezone.utc)
    kept = {"date": now.isoformat(timespec="seconds"), **facts(), "load": load, "rows": report.rows}
    missed = [row["what"].strip() for row in report.rows if row["met"] is False]
    print(f"\nload at the end {load[1]:.1f}; missed: {', '.join(missed) or 'none'}")
    for to in [ROOT / "benches" / "results", *([HERE / "published"] if options.publish else [])]:
        to.mkdir(parents=True, exist_ok=True)
        name = f"bank-{now:%Y%m%d-%H%M%S}" if to.name == "results" else "bank"
        (to / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(f"numbers in {(to / name).relative_to(ROOT)}.json")
        try:
            from picture_of_bank import draw
        except ImportError as error:
            print(f"no picture: {error}")
            continue
        draw(kept, to / "bank.svg")
        print(f"picture in {(to / 'bank.svg').relative_to(ROOT)}")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
