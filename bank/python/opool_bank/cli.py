"""The command line: `opool bank put FILE CODES...`, or `python -m opool_bank`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from opool_bank import __version__
from opool_bank._address import is_database, path_of
from opool_bank._client import Bank
from opool_bank._export import export, plain
from opool_bank._progress import progress
from opool_bank.errors import BankError

_CHUNK = 1_000


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Items that are handed out exactly once, in a file.")
    parser.add_argument("--version", action="version", version=f"opool-bank {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        made.add_argument("file", metavar="FILE", help="the bank's file, or postgresql://USER@HOST/DATABASE")
        made.add_argument("--name", default="default", help="the bank in the file (default: %(default)s)")
        made.add_argument("--json", action="store_true", help="print JSON")
        return made

    put = command("put", "store items that are not there yet")
    put.add_argument("keys", metavar="CODE", nargs="*", help="the items; none, or -: one a line from standard input")
    put.add_argument("--priority", type=int, default=0, help="0 (first) to 9")
    put.add_argument("--delay", type=float, default=0.0, help="seconds until they can be had")
    put.add_argument("--max-attempts", type=int, default=None, help="how often an item is handed out before it is dead")
    put.add_argument("--atomic", action="store_true", help="all or none")
    claim = command("claim", "give the next free item for good")
    claim.add_argument("id", metavar="ID", nargs="?", help="the claim id: the same id gets the same item")
    claim.add_argument("--key", help="this very item")
    claim.add_argument("--timeout", type=float, default=0.0, help="seconds to wait for an item")
    command("counts", "print how many items are in which state")
    items = command("items", "print the items")
    items.add_argument("--state", choices=["free", "leased", "given", "dead"], help="only those in this state")
    items.add_argument("--limit", type=int, default=None, help="at most so many")
    out = command("export", "write the items as lines of JSON")
    out.add_argument("--output", "-o", metavar="PATH", help="where to (default: standard output)")
    read = command("import", "store what `export` wrote: items, and who was given them")
    read.add_argument("input", metavar="LINES", nargs="?", default="-", help="the file (default: standard input)")
    command("verify", "check the invariants of a file")
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "opool bank") -> int:
    """Run a command; returns the exit code: 0, 1 if there was nothing or something is wrong, 2 for errors."""
    options = _parser(prog).parse_args(argv)
    try:
        made = options.command in ("put", "import") or is_database(options.file)
        if not made and not os.path.exists(path_of(options.file)):
            raise FileNotFoundError(f"{options.file}: there is no such file")
        with Bank(options.file, name=options.name) as bank:
            return _COMMANDS[options.command](bank, options)
    except BrokenPipeError:
        # Whoever read our output has enough; nothing is to be said, not even at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    except UnicodeError as error:
        text = getattr(error, "object", "")
        print(f"{prog}: expected UTF-8, not {text[:80]!r}", file=sys.stderr)
        return 2
    except (BankError, OSError, ValueError, TypeError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2


def _say(options: argparse.Namespace, text: str, **values: Any) -> None:
    print(json.dumps(values) if options.json else text)


def _value(value: Any) -> Any:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) and set(value) == {"bytes"} else value


def _shown(item: Any) -> dict[str, Any]:
    fields = ("key", "payload", "state", "token", "priority", "attempts", "claim_id", "result", "remaining")
    return {field: plain(getattr(item, field)) for field in fields}


def _put(bank: Bank, options: argparse.Namespace) -> int:
    keys: Iterable[str] = options.keys
    total: int | None = len(options.keys)
    if not options.keys and sys.stdin.isatty():
        raise ValueError("no CODE was given, and standard input is a terminal")
    if options.keys in (["-"], []):
        keys, total = (line.rstrip("\r\n") for line in sys.stdin), None
    seen = 0

    def counted() -> Iterator[str]:
        nonlocal seen
        for key in progress(keys, "put", total):
            if key:
                seen += 1
                yield key

    new = bank.put(
        counted(),
        atomic=options.atomic,
        priority=options.priority,
        delay=options.delay,
        max_attempts=options.max_attempts,
    )
    _say(options, f"{new:,} new, {seen - new:,} were there", new=new, there=seen - new)
    return 0


def _claim(bank: Bank, options: argparse.Namespace) -> int:
    item = bank.claim(options.id, key=options.key, timeout=options.timeout)
    if item is None:
        _say(options, "nothing is free", key=None)
        return 1
    _say(options, str(item.key), **_shown(item), new=item.new)
    return 0


def _counts(bank: Bank, options: argparse.Namespace) -> int:
    counts = bank.counts()._asdict()
    _say(options, "\n".join(f"{name:7}{count:>12,}" for name, count in counts.items()), **counts)
    return 0


def _items(bank: Bank, options: argparse.Namespace) -> int:
    for item in itertools.islice(bank.items(options.state), options.limit):
        if options.json:
            print(json.dumps(_shown(item)))
        else:
            holder = "" if item.claim_id is None else f"  {item.claim_id!r}"
            print(f"{item.key!s:30}  {item.state:6}  token {item.token}{holder}")
    return 0


def _export(bank: Bank, options: argparse.Namespace) -> int:
    counts = bank.counts()
    total = counts.free + counts.leased + counts.given + counts.dead
    with contextlib.ExitStack() as stack:
        out: IO[str] = stack.enter_context(open(options.output, "w")) if options.output else sys.stdout
        written = 0
        for line in progress(export(bank), "export", total):
            out.write(line + "\n")
            written += 1
    if options.output:
        _say(options, f"{written:,} items", items=written)
    return 0


def _import(bank: Bank, options: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        lines: IO[str] = sys.stdin if options.input == "-" else stack.enter_context(open(options.input))
        done = asyncio.run(_read_in(bank, progress(lines, "import")))
    text = f"{done['new']:,} new, {done['given']:,} given as before, {done['dead']:,} dead"
    leased = done["leased"]
    _say(options, text + (f"; {leased:,} were leased and are free here" if leased else ""), **done)
    return 0


async def _read_in(bank: Bank, lines: Iterable[str]) -> dict[str, int]:
    done = {"new": 0, "given": 0, "dead": 0, "leased": 0}
    numbered = enumerate((line for line in lines if line.strip()), 1)
    while chunk := list(itertools.islice(numbered, _CHUNK)):
        records = [_record(number, line) for number, line in chunk]
        items = [(r["key"], r["payload"], r["priority"], None, r["max_attempts"]) for r in records]
        done["new"] += await bank.put_async(items)
        # Together: one commit for all of them.
        states = await asyncio.gather(*(_restore(bank, record) for record in records))
        for state in states:
            if state != "free":
                done[state] += 1
    return done


def _record(number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        wanted = ("key", "payload", "claim_id", "result")
        return {
            "state": record["state"],
            "priority": int(record.get("priority", 0)),
            "max_attempts": record.get("max_attempts"),
            **{name: _value(record.get(name)) for name in wanted},
            "key": _value(record["key"]),
        }
    except (ValueError, KeyError, TypeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"line {number} is not what export writes ({why}): {line[:80]!r}") from None


async def _restore(bank: Bank, record: dict[str, Any]) -> str:
    key, state = record["key"], record["state"]
    if state == "given":
        there = await bank.get_async(key)
        if there is not None and there.state == "given":
            return "given"
        if record["result"] is None:
            await bank.claim_async(record["claim_id"], key=key)
        else:
            lease = await bank.lease_async(60, id=record["claim_id"], key=key, timeout=0)
            await lease.done_async(record["result"])
    elif state == "dead":
        there = await bank.get_async(key)
        while there is not None and there.state != "dead" and record["max_attempts"] is not None:
            lease = await bank.lease_async(60, key=key, timeout=0)
            await lease.reject_async(record["result"])
            there = await bank.get_async(key)
    elif state not in ("free", "leased"):
        raise ValueError(f"item {key!r} has the state {state!r}; expected free, leased, given or dead")
    return str(state)


def _verify(bank: Bank, options: argparse.Namespace) -> int:
    faults = bank.verify()
    text = "\n".join(faults) if faults else f"{bank.path}: all is well"
    _say(options, text, ok=not faults, faults=faults)
    return 1 if faults else 0


_COMMANDS = {
    "put": _put,
    "claim": _claim,
    "counts": _counts,
    "items": _items,
    "export": _export,
    "import": _import,
    "verify": _verify,
}
