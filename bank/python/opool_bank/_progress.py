"""A progress bar for what takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")
_AFTER = 1.0
_EVERY = 0.1


class _Plain:
    """One line that is written over: works wherever there is a terminal."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._begun = what, total, time.monotonic()
        self._width = 0

    def update(self, done: int) -> None:
        rate = done / max(time.monotonic() - self._begun, 1e-9)
        if self._total:
            part = min(done / self._total, 1.0)
            filled = int(part * 30)
            bar = "#" * filled + "-" * (30 - filled)
            line = f"{self._what} [{bar}] {part:4.0%} {done:,} of {self._total:,}, {rate:,.0f}/s"
        else:
            line = f"{self._what} {done:,}, {rate:,.0f}/s"
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def close(self) -> None:
        sys.stderr.write("\r" + " " * self._width + "\r")
        sys.stderr.flush()


class _Rich:
    """Rich's bar, where rich is installed."""

    def __init__(self, what: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar: Any = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(what, total=total)

    def update(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def close(self) -> None:
        self._bar.stop()


def _bar(what: str, total: int | None) -> _Plain | _Rich:
    try:
        return _Rich(what, total)
    except ImportError:
        return _Plain(what, total)


def progress(items: Iterable[_T], what: str, total: int | None = None, *, show: bool | None = None) -> Iterator[_T]:
    """Yields the items; shows on the terminal how many went by, once that takes longer than a second."""
    if not (sys.stderr.isatty() if show is None else show):
        yield from items
        return
    begun = last = time.monotonic()
    bar: _Plain | _Rich | None = None
    done = 0
    try:
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if now - last < _EVERY:
                continue
            last = now
            if bar is None and now - begun > _AFTER:
                bar = _bar(what, total)
            if bar is not None:
                bar.update(done)
    finally:
        if bar is not None:
            bar.close()
