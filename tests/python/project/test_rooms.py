"""The rooms of the source: which file uses which, no circle, and nothing uses a room above its own.

Only imports and paths are read. An `impl` block, `#[pymethods]` or a `Drop` may stand in a higher room than its struct:
that is how a struct stays below what its methods need. `test_imports.py` holds the same of the Python half.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from opool import _opool

ROOT = Path(__file__).resolve().parents[3]

ROOMS = ["mod", "classes", "ids", "async_lease", "lease", "pool", "objects", "args", "algorithms", "ffi"]
"""The rooms of `src/bindings`, from the top: each uses those below it."""

USES_ONLY = {"algorithms": {"algorithms", "ffi"}, "ffi": {"ffi"}}

Edges = dict[str, set[str]]


# ---------------------------------------------------------------------------------------------------------------------
# Rust


def rust_code(text: str) -> str:
    """The text without comments and literals."""
    pattern = r"""
        //[^\n]* | /\*.*?\*/ | b?c?r(?P<hashes>\#*)".*?"(?P=hashes) | [bc]?"(?:\\.|[^"\\])*" | '(?:\\[^']+|[^'\\])'
    """
    return re.sub(pattern, " ", text, flags=re.VERBOSE | re.DOTALL)


def rust_module(path: str) -> tuple[str, ...]:
    """The path of the module that a file is: of "src/a/mod.rs" and "src/a.rs" it is ("crate", "a")."""
    parts = Path(path).with_suffix("").parts[1:]
    if parts[-1] in ("mod", "lib"):
        parts = parts[:-1]
    return ("crate", *parts)


def use_paths(tokens: list[str]) -> Iterator[tuple[list[str], str]]:
    """The paths of a use tree, each with the name that it gets."""

    def tree(prefix: list[str]) -> Iterator[tuple[list[str], str]]:
        path = list(prefix)
        while tokens:
            token = tokens.pop(0)
            if token == "{":
                while tokens and tokens[0] != "}":
                    yield from tree(path)
                    if tokens and tokens[0] == ",":
                        tokens.pop(0)
                tokens.pop(0)
                return
            if token == "as":
                yield path, tokens.pop(0)
                return
            if token != "::" and (token != "self" or not path):
                path.append(token)
            if not tokens or tokens[0] in (",", "}", ";"):
                yield path, path[-1]
                return

    yield from tree([])


class RustFile:
    """What a file of Rust refers to by path."""

    def __init__(self, path: str, text: str) -> None:
        self.module = rust_module(path)
        self.paths: list[tuple[str, ...]] = []
        """Absolute, beginning with "crate"."""
        self.reexports: dict[str, tuple[str, ...]] = {}
        self.children: set[str] = set()
        tokens = re.findall(r"::|[A-Za-z_]\w*|[{}();,*]|\S", rust_code(text))
        inline: list[tuple[str, int]] = []
        depth = index = 0
        while index < len(tokens):
            token = tokens[index]
            here = (*self.module, *(name for name, _ in inline))
            if token == "mod" and tokens[index + 2 : index + 3] == ["{"]:
                inline.append((tokens[index + 1], depth))
            elif token == "mod" and tokens[index + 2 : index + 3] == [";"] and not inline:
                self.children.add(tokens[index + 1])
            if token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
                if inline and inline[-1][1] == depth:
                    inline.pop()
            elif token == "use" and tokens[index + 1] != "<":
                end = tokens.index(";", index)
                public = index > 0 and tokens[index - 1] in ("pub", ")")
                for path_, name in use_paths(tokens[index + 1 : end]):
                    absolute = self.absolute(path_, here)
                    if absolute is None:
                        continue
                    if public and not inline:
                        self.reexports[name] = absolute
                    else:
                        self.paths.append(absolute)
                index = end
            elif re.match(r"[A-Za-z_]", token) and tokens[index + 1 : index + 2] == ["::"]:
                end = index + 1
                while tokens[end : end + 1] == ["::"] and re.match(r"[A-Za-z_]", tokens[end + 1]):
                    end += 2
                if index == 0 or tokens[index - 1] != "::":
                    absolute = self.absolute(tokens[index:end:2], here)
                    if absolute is not None:
                        self.paths.append(absolute)
                index = end - 1
            index += 1

    def absolute(self, path: list[str], here: tuple[str, ...]) -> tuple[str, ...] | None:
        """The path from the crate's root, if it does not lead elsewhere."""
        head, rest = path[0], path[1:]
        base = list(here)
        if head == "crate":
            return ("crate", *rest)
        if head == "self":
            return (*base, *rest)
        if head == "super":
            base.pop()
            while rest and rest[0] == "super":
                base.pop()
                rest = rest[1:]
            return (*base, *rest)
        return (*self.module, head, *rest) if head in self.children else None


def rust_edges(sources: Mapping[str, str]) -> Edges:
    """Which file uses which. A re-export leads to the file that has the name."""
    files = {path: RustFile(path, text) for path, text in sources.items()}
    modules = {file.module: path for path, file in files.items()}

    def resolve(path: tuple[str, ...]) -> str | None:
        for _ in range(20):
            length = max((n for n in range(1, len(path) + 1) if path[:n] in modules), default=0)
            if length == 0:
                return None
            found, rest = modules[path[:length]], path[length:]
            target = files[found].reexports.get(rest[0]) if rest else None
            if target is None:
                return found
            path = (*target, *rest[1:])
        raise AssertionError(f"a re-export leads to itself: {path}")

    return {
        path: {found for found in map(resolve, file.paths) if found is not None and found != path}
        for path, file in files.items()
    }


# ---------------------------------------------------------------------------------------------------------------------
# Rules


def circles(edges: Edges) -> list[list[str]]:
    """The groups of files each of which uses, in the end, all others of its group (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return found


def room(path: str) -> str | None:
    """The room of the bindings that a file is in; none for files of the core."""
    parts = Path(path).parts
    if parts[:2] != ("src", "bindings"):
        return None
    return parts[2] if len(parts) > 3 else Path(parts[2]).stem


def upward(edges: Edges) -> list[str]:
    """The uses that go to a higher room, or out of a room that may not go there."""
    wrong = []
    for path, others in edges.items():
        mine = room(path)
        for other in others:
            theirs = room(other)
            if theirs is None:
                if mine in USES_ONLY and mine == "ffi" and not other.startswith("src/sync"):
                    wrong.append(f"{path} uses {other}: it is to know CPython only")
            elif mine is None:
                if path != "src/lib.rs":
                    wrong.append(f"{path} uses {other}: the core knows no bindings")
            elif theirs != mine and (
                ROOMS.index(theirs) < ROOMS.index(mine) or theirs not in USES_ONLY.get(mine, {theirs})
            ):
                wrong.append(f"{path} uses {other}")
    return sorted(wrong)


def rust_sources() -> dict[str, str]:
    found = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.glob("src/**/*.rs")}
    assert len(found) > 50, "the sources have moved: this check looks at nothing"
    return found


@pytest.mark.parametrize("folder", ["src/bindings", "src/ids", "src/pool", "src/algorithms", "src/sync"])
def test_no_file_of_rust_uses_itself_by_a_detour(folder: str) -> None:
    edges = rust_edges(rust_sources())
    inside = {path: others for path, others in edges.items() if path.startswith(folder + "/")}
    assert sum(len(others) for others in inside.values()) > 0, "nothing is used: this check has lost its subject"
    assert circles(inside) == []


def test_no_room_of_the_bindings_uses_one_above_it() -> None:
    edges = rust_edges(rust_sources())
    assert {room(path) for path in edges} - {None} == set(ROOMS)
    assert upward(edges) == []


def test_every_python_name_that_rust_calls_is_there() -> None:
    rows = _opool._python_side()
    assert len({(module, name) for module, name, _ in rows}) == len(rows) > 30
    for module, name, found in rows:
        assert getattr(importlib.import_module(module), name) is found, f"{module}.{name}"


def test_rust_names_python_functions_in_that_table_only() -> None:
    naming = re.compile(r'"(opool\.[\w.]+)"')
    of_classes = {"opool.Lease", "opool.AsyncLease", "opool._opool"}
    elsewhere = {
        f"{path}: {name}"
        for path, text in rust_sources().items()
        if path != "src/bindings/ffi/python_side.rs"
        for name in naming.findall(re.sub(r"//[^\n]*", "", text))
        if name not in of_classes and not name.startswith("opool._opool.")
    }
    assert elsewhere == set()


def test_the_classes_show_no_private_names() -> None:
    for name in ("Pool", "ObjectMgr", "Lease", "AsyncLease"):
        shown = dir(getattr(_opool, name))
        assert [word for word in shown if word.startswith("_") and not word.endswith("__")] == [], name
        assert "__vectorcalloffset__" not in shown, name


def test_a_file_of_rust_is_short_or_one_thing() -> None:
    lines = {path: text.count("\n") for path, text in rust_sources().items() if path.startswith("src/bindings/")}
    # Docstrings for users are long, and one thing.
    assert {path for path, count in lines.items() if count > 600} == set()


# ---------------------------------------------------------------------------------------------------------------------
# The checker itself, on small sources


@pytest.mark.parametrize(
    "text",
    [
        "use crate::b::thing;",
        "use crate::{c, b::{self, thing}};",
        "use super::b;",
        "use super::b as other;",
        "use super::{b::thing as other, c};",
        "fn f() { crate::b::thing() }",
        "fn f() { super::b::thing() }",
        "fn f(x: &super::b::Thing<crate::c::T>) {}",
        "mod inner { use super::super::b::thing; }",
        "mod inner { mod more { fn f() { super::super::super::b::thing() } } }",
        "use crate::again::thing;",
        "use crate::again::*;",
        "use crate::once_more::thing;",
        "const X: &str = \"}\"; fn f<'a>(x: &'a u8) -> char { '{' } use crate::b::thing; // use crate::c;",
    ],
)
def test_a_use_is_seen_however_it_is_written(text: str) -> None:
    sources = {
        "src/lib.rs": "mod a; mod b; mod c; mod again; mod once_more;",
        "src/a.rs": text,
        "src/b.rs": "pub fn thing() {}",
        "src/c.rs": "",
        "src/again.rs": "pub(crate) use crate::b::{self, thing};",
        "src/once_more.rs": "pub use super::again::thing;",
    }
    found = rust_edges(sources)["src/a.rs"]
    assert found - {"src/c.rs"} == ({"src/again.rs"} if "*" in text else {"src/b.rs"})


@pytest.mark.parametrize(
    "text",
    [
        "// use crate::b::thing;",
        "/* crate::b::thing */",
        'const X: &str = "crate::b::thing";',
        'const X: &str = r#"use crate::b::thing; " "#;',
        "use std::b::thing;",
        "mod inner { pub fn b() {} } fn f() { self::inner::b() }",
        "mod inner { use super::thing; } fn thing() {}",
    ],
)
def test_what_only_looks_like_a_use_is_none(text: str) -> None:
    sources = {"src/lib.rs": "mod a; mod b;", "src/a.rs": text, "src/b.rs": "pub fn thing() {}"}
    assert rust_edges(sources)["src/a.rs"] == set()


def test_a_path_that_begins_with_a_child_is_seen() -> None:
    sources = {"src/a/mod.rs": "mod b; fn f() { b::thing() }", "src/a/b.rs": "use super::Thing;"}
    assert rust_edges(sources) == {"src/a/mod.rs": {"src/a/b.rs"}, "src/a/b.rs": {"src/a/mod.rs"}}


def test_a_circle_is_found_through_a_re_export() -> None:
    sources = {
        "src/x/mod.rs": "mod a; mod b; pub use a::A; pub use b::B;",
        "src/x/a.rs": "use super::B;",
        "src/x/b.rs": "use crate::x::A;",
    }
    assert circles(rust_edges(sources)) == [["src/x/a.rs", "src/x/b.rs"]]
    assert circles(rust_edges({**sources, "src/x/b.rs": ""})) == []


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("src/bindings/objects/x.rs", "use crate::bindings::pool::y;", True),
        ("src/bindings/pool/x.rs", "use crate::bindings::objects::y;", False),
        ("src/bindings/pool/x.rs", "use crate::pool::y;", False),
        ("src/bindings/ffi/x.rs", "use crate::pool::y;", True),
        ("src/bindings/ffi/x.rs", "use crate::sync::y;", False),
        ("src/bindings/algorithms/x.rs", "use crate::bindings::ffi::y;", False),
        ("src/bindings/algorithms/x.rs", "use crate::bindings::args::y;", True),
        ("src/bindings/args/x.rs", "use crate::bindings::algorithms::y;", False),
        ("src/bindings/ffi/x.rs", "use crate::bindings::args::y;", True),
        ("src/pool/x.rs", "use crate::bindings::ffi::y;", True),
    ],
)
def test_an_upward_use_is_found(path: str, text: str, wrong: bool) -> None:
    rooms = ["pool", "objects", "args", "ffi", "algorithms"]
    sources = {f"src/bindings/{name}/y.rs": "" for name in rooms}
    sources.update({"src/pool/y.rs": "", "src/sync/y.rs": "", path: text})
    assert bool(upward(rust_edges(sources))) is wrong
