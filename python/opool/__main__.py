"""The command `opool`: hands on to the commands of the packages that are installed.

A package registers its command as an entry point of the group `opool.commands`: a function that takes the arguments and
`prog`, the name to show in its messages, and returns the exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from opool import __version__

GROUP = "opool.commands"
# What brings the commands that may not be installed.
KNOWN = {"bank": "opool[bank]", "serve": "opool[server]"}


def commands() -> dict[str, EntryPoint]:
    """Returns the commands that are installed, by name."""
    found = entry_points()
    # Python 3.9 returns a dict of all groups.
    group = found.select(group=GROUP) if hasattr(found, "select") else found.get(GROUP, ())
    return {point.name: point for point in group}


def usage(found: dict[str, EntryPoint]) -> str:
    """Returns what `opool --help` prints."""
    lines = ["usage: opool COMMAND ...", "", f"opool {__version__}. The commands that are installed:"]
    lines += [f"  {name:10} ({found[name].value.partition('.')[0]})" for name in sorted(found)] or ["  none"]
    missing = [f"  {name:10} pip install '{extra}'" for name, extra in KNOWN.items() if name not in found]
    if missing:
        lines += ["", "Not installed:", *missing]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code, or 2 if there is no such command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    found = commands()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(found))
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"opool {__version__}")
        return 0
    name = arguments[0]
    if name not in found:
        hint = f"; this brings it: pip install '{KNOWN[name]}'" if name in KNOWN else ""
        print(f"opool: there is no command {name!r}{hint}\n\n{usage(found)}", file=sys.stderr)
        return 2
    return int(found[name].load()(arguments[1:], prog=f"opool {name}") or 0)


if __name__ == "__main__":
    sys.exit(main())
