"""The packages of this repository, as `packages.txt` lists them, and what must be the same in all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).resolve().parent / "packages.txt"
KINDS = ("per-interpreter", "abi3", "program")


class Package(NamedTuple):
    """One line of the list."""

    name: str
    folder: Path
    kind: str
    module: str
    python: tuple[str, ...]
    core: str

    @property
    def distribution(self) -> str:
        """The name as it stands in the names of files."""
        return self.name.replace("-", "_")

    @property
    def stub(self) -> Path:
        """The stub of the extension."""
        return self.folder / "python" / (self.module.replace(".", "/") + ".pyi")


def packages(root: Path = ROOT, listing: Path = LIST) -> list[Package]:
    """Returns the packages in the order of the list; the first is the one that the others extend."""
    found = []
    for line in listing.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split(maxsplit=5)
        if not 5 <= len(columns) <= 6 or columns[2] not in KINDS:
            raise ValueError(
                f"{listing.name}: expected name, folder, kind ({', '.join(KINDS)}), module, python: {line!r}"
            )
        name, folder, kind, module, python = columns[:5]
        core = columns[5] if len(columns) == 6 else ""
        found.append(Package(name, (root / folder).resolve(), kind, module, tuple(python.split(",")), core))
    return found


def toml_table(text: str, table: str) -> str:
    """Returns what a TOML table holds, or nothing if there is none (`tomllib` came with Python 3.11)."""
    body = re.search(rf"^\[{re.escape(table)}\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    return body.group(1) if body else ""


def toml_strings(text: str, table: str, key: str) -> list[str]:
    """Returns the strings of one key of a TOML table: enough for our files."""
    value = re.search(rf'^{re.escape(key)} = ("[^"]*"|\[.*?\])', toml_table(text, table), re.MULTILINE | re.DOTALL)
    if not value:
        raise ValueError(f"no strings at {key} in [{table}]")
    return re.findall(r'"([^"]*)"', value.group(1))


def extras(package: Package) -> dict[str, list[str]]:
    """Returns what each extra of a package asks for."""
    text = (package.folder / "pyproject.toml").read_text(encoding="utf-8")
    table = "project.optional-dependencies"
    names = re.findall(r"^([a-z0-9-]+) = ", toml_table(text, table), re.MULTILINE)
    return {name: toml_strings(text, table, name) for name in names}


def version(package: Package) -> str:
    """Returns the version in a package's Cargo.toml, from which its wheel takes it."""
    (found,) = toml_strings((package.folder / "Cargo.toml").read_text(encoding="utf-8"), "package", "version")
    return found


def version_errors(found: list[Package]) -> list[str]:
    """Returns a line for each package that has not the version of the first, or that no extra of the first pins."""
    first, *others = found
    expected = version(first)
    pins = {pin for wanted in extras(first).values() for pin in wanted}
    errors = []
    for package in others:
        if version(package) != expected:
            errors.append(f"{package.name} is {version(package)}, {first.name} is {expected}")
        if f"{package.name}=={expected}" not in pins:
            errors.append(f"no extra of {first.name} asks for {package.name}=={expected}")
    return errors


def locked(lock: str) -> dict[tuple[str, str], str]:
    """Returns the versions in a Cargo.lock, by name and by the part of the version that must be equal to be compatible.

    Cargo keeps at most one version for each such pair, so two locks either agree on it or do not. Packages that no
    registry has are left out: they are the repository's own.
    """
    found = {}
    for name, number, rest in re.findall(
        r'^\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"\n(.*?)(?=^\[|\Z)', lock, re.MULTILINE | re.DOTALL
    ):
        if "source = " in rest:
            major, minor, patch = number.split("+")[0].split("-")[0].split(".")
            series = major if major != "0" else f"0.{minor}" if minor != "0" else f"0.0.{patch}"
            found[name, series] = number
    return found


def disagreements(locks: dict[str, str]) -> list[str]:
    """Returns a line for each crate that two of these locks, by name, have in different compatible versions."""
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for where, text in locks.items():
        for crate, number in locked(text).items():
            seen.setdefault(crate, {})[where] = number
    return [
        f"{name}: " + ", ".join(f"{number} in {where}" for where, number in versions.items())
        for (name, _), versions in sorted(seen.items())
        if len(set(versions.values())) > 1
    ]
