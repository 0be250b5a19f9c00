"""The stub says what the extension says: the same docstring on every name."""

import ast
import inspect
import re
from pathlib import Path
from typing import Optional, Union

import pytest

from opool import _opool

STUB = Path(__file__).resolve().parents[3] / "python" / "opool" / "_opool.pyi"
Definition = Union[ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef]


def definitions(body: list[ast.stmt], prefix: str = "") -> list[tuple[str, Optional[str]]]:
    """Dotted names of the classes and functions of a stub with their docstrings; the first of overloads counts."""
    found: dict[str, Optional[str]] = {}
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name, docstring = prefix + node.name, ast.get_docstring(node)
            if found.get(name) is None:
                found[name] = docstring
            if isinstance(node, ast.ClassDef):
                found.update(definitions(node.body, name + "."))
    return list(found.items())


def runtime_docstring(name: str) -> Optional[str]:
    """The docstring of an object of the extension, without the signature line that some objects keep in it."""
    thing: object = _opool
    for part in name.split("."):
        thing = inspect.getattr_static(thing, part)
    thing = getattr(thing, "__func__", thing)  # before Python 3.10 a static method did not show its function's
    docstring: Optional[str] = getattr(thing, "__doc__", None)
    if docstring is None:
        return None
    return inspect.cleandoc(re.sub(r"\A\w+\(.*?\)\n--\n\n", "", docstring, flags=re.DOTALL))


TREE = ast.parse(STUB.read_text(encoding="utf-8"))
NAMES = definitions(TREE.body)
DOCUMENTED = [(name, docstring) for name, docstring in NAMES if docstring is not None]


def is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def test_the_stub_has_docstrings_to_compare() -> None:
    assert len(DOCUMENTED) >= 3


def test_every_public_name_of_the_stub_has_a_docstring() -> None:
    assert [name for name, docstring in NAMES if docstring is None and is_public(name)] == []


@pytest.mark.parametrize(("name", "docstring"), DOCUMENTED, ids=[name for name, _ in DOCUMENTED])
def test_a_docstring_of_the_stub_is_the_one_that_help_shows(name: str, docstring: str) -> None:
    assert runtime_docstring(name) == docstring


def test_the_stub_describes_the_module_as_the_module_does() -> None:
    docstring = ast.get_docstring(TREE)
    assert docstring is None or docstring == inspect.cleandoc(_opool.__doc__ or "")


def test_the_reader_of_stubs_sees_methods_and_the_documented_overload() -> None:
    tree = ast.parse(
        'class A:\n  "a"\n  @overload\n  def f(self): ...\n  @overload\n  def f(self, x): "f"\ndef g(): ...'
    )
    assert definitions(tree.body) == [("A", "a"), ("A.f", "f"), ("g", None)]
