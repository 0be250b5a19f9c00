"""Copies the docstrings of the extensions into their stubs, where editors look for them: `make fix` runs it.

The Rust sources are where docstrings are written. `tests/python/project/test_stub.py` fails when the copies are stale.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from types import ModuleType

from packages import packages


def runtime_docstring(extension: ModuleType, name: str) -> str | None:
    """Returns the docstring of a dotted name of an extension, without a signature line."""
    thing: object = extension
    for part in name.split("."):
        thing = inspect.getattr_static(thing, part)
    thing = getattr(thing, "__func__", thing)
    docstring = getattr(thing, "__doc__", None)
    if not isinstance(docstring, str):
        return None
    return inspect.cleandoc(re.sub(r"\A\w+\(.*?\)\n--\n\n", "", docstring, flags=re.DOTALL))


def quoted(docstring: str, indent: str) -> str:
    """Returns the docstring as source lines."""
    docstring = docstring.replace("\\", "\\\\")
    end = '\n"""' if "\n" in docstring else '"""'
    return textwrap.indent(f'"""{docstring}{end}', indent) + "\n"


def fill(extension: ModuleType, lines: list[str], body: list[ast.stmt], prefix: str = "") -> None:
    """Replaces the docstrings below `body` in `lines`, from the end to the start so that line numbers stay right."""
    for node in reversed(body):
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        name = prefix + node.name
        if isinstance(node, ast.ClassDef):
            fill(extension, lines, node.body, name + ".")
        elif node.name.startswith("_"):
            continue
        first = node.body[0]
        indent = " " * (node.col_offset + 4)
        docstring = runtime_docstring(extension, name)
        if docstring is None or not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            if docstring is not None and isinstance(node, ast.ClassDef):
                lines.insert(first.lineno - 1 - len(getattr(first, "decorator_list", [])), quoted(docstring, indent))
            continue
        start, end = first.lineno - 1, first.end_lineno or first.lineno
        if isinstance(first.value.value, str):
            lines[start:end] = [quoted(docstring, indent)]
        elif start == node.lineno - 1 or lines[start].rstrip().endswith("..."):
            head = lines[start].rstrip()[: -len("...")].rstrip()
            lines[start:end] = [head + "\n" if head else "", quoted(docstring, indent)]


def main() -> None:
    """Rewrites the stub of each package that has an extension."""
    for package in packages():
        if package.kind != "program":
            source = package.stub.read_text(encoding="utf-8")
            lines = source.splitlines(keepends=True)
            fill(importlib.import_module(package.module), lines, ast.parse(source).body)
            package.stub.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
