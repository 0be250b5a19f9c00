"""The package says of itself what is true, and the source keeps its house rules."""

import __future__

import re
import sys
import types
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import opool
from packages import toml_strings

ROOT = Path(__file__).resolve().parents[3]


def rust_sources() -> list[Path]:
    found = sorted(ROOT.glob("src/**/*.rs"))
    assert len(found) >= 10, "the sources have moved: this check looks at nothing"
    return [*found, ROOT / "build.rs"]


def code_lines(path: Path) -> list[str]:
    """The lines of a Rust file without its `//` comments: prose may name what code must not."""
    return [line.split("//")[0] for line in path.read_text(encoding="utf-8").splitlines()]


def test_all_names_every_public_name_and_nothing_else() -> None:
    assert len(opool.__all__) == len(set(opool.__all__)) > 0
    incidental = (types.ModuleType, __future__._Feature)
    public = {
        name for name, value in vars(opool).items() if not name.startswith("_") and not isinstance(value, incidental)
    }
    assert public | {"__version__"} == set(opool.__all__) | {"__version__"}


def test_every_public_name_has_a_docstring_and_is_found_where_it_says_it_lives() -> None:
    classes_and_functions = [name for name in opool.__all__ if callable(getattr(opool, name))]
    assert classes_and_functions
    for name in classes_and_functions:
        thing = getattr(opool, name)
        assert thing.__doc__, name
        assert thing.__module__.split(".")[0] == "opool", name
        assert getattr(sys.modules[thing.__module__], name) is thing


def test_pyo3_is_named_in_the_bindings_only() -> None:
    naming = {
        path.relative_to(ROOT).as_posix()
        for path in rust_sources()
        if any("pyo3" in line.lower() for line in code_lines(path))
    }
    inside = {path for path in naming if path.startswith("src/bindings/")}
    assert inside, "no file under src/bindings names pyo3: this check has lost its subject"
    assert naming - inside <= {"build.rs", "src/lib.rs"}


def test_unsafe_code_stands_in_sync_and_the_bindings_only() -> None:
    unsafe = re.compile(r"\bunsafe\b|allow\(unsafe_code\)")
    holding = {
        path.relative_to(ROOT).as_posix()
        for path in rust_sources()
        if any(unsafe.search(line) for line in code_lines(path))
    }
    assert "src/sync/guarded.rs" in holding, "src/sync/guarded.rs holds no unsafe code: this check has lost its subject"
    allowed = re.compile(r"src/(sync|bindings)/")
    assert not [path for path in holding if not allowed.match(path)]


@pytest.mark.parametrize("group", sorted(path.stem for path in ROOT.glob("requirements/*.lock")))
def test_the_lock_satisfies_what_pyproject_asks_for(group: str) -> None:
    wanted = toml_strings((ROOT / "pyproject.toml").read_text(encoding="utf-8"), "dependency-groups", group)
    lock = (ROOT / "requirements" / f"{group}.lock").read_text(encoding="utf-8")
    pinned: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", lock, re.MULTILINE):
        pinned.setdefault(name, []).append(version)
    assert wanted
    requirements: dict[str, list[Requirement]] = {}  # more than one of a name: for different interpreters
    for line in wanted:
        requirements.setdefault(Requirement(line).name, []).append(Requirement(line))
    for name, alternatives in requirements.items():
        assert name in pinned, f"{name} is not locked: run `make lock`"
        for version in pinned[name]:
            fits = any(requirement.specifier.contains(version) for requirement in alternatives)
            assert fits, f"{alternatives} is locked as {version}: run `make lock`"
        for requirement in alternatives:
            fits = any(requirement.specifier.contains(version) for version in pinned[name])
            assert fits, f"{requirement} is not locked: run `make lock`"


def test_the_lock_names_no_host_and_has_a_hash_for_every_file() -> None:
    for path in sorted(ROOT.glob("requirements/*.lock")):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        pins = len(re.findall(r"^[a-z0-9.-]+==", text, re.MULTILINE))
        assert 0 < pins <= text.count("--hash=sha256:")
