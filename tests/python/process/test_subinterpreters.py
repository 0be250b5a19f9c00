"""A second interpreter in the process cannot import opool, is told why, and harms nobody."""

import sys

import pytest

from support import run_child

MODULE = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
LEGACY = "create('legacy')" if sys.version_info >= (3, 13) else "create(isolated=False)"

PRELUDE = f"""
import {MODULE} as interpreters

USE = '''
import opool
with opool.Pool(["a"]).lease() as obj: assert obj == "a"
with opool.Pool(factory=object).lease(): pass
'''


def run(code):
    # What an interpreter that shares the GIL says to it: as mod_wsgi and uWSGI make them.
    interpreter = interpreters.{LEGACY}
    try:
        failed = interpreters.run_string(interpreter, code)
        return "" if failed is None else failed.formatted
    except Exception as error:
        return str(error)
    finally:
        interpreters.destroy(interpreter)
"""


@pytest.mark.parametrize("first", ["the main interpreter", "the subinterpreter"])
def test_a_legacy_subinterpreter_is_told_what_to_set(first):
    said = run_child(
        PRELUDE
        + ("exec(USE)\n" if first == "the main interpreter" else "")
        + "print(run(USE)); print(run(USE)); exec(USE)"
    ).stdout
    assert said.count("opool works in the main interpreter only, and this is subinterpreter") == 2, said
    assert said.count("WSGIApplicationGroup %{GLOBAL}") == said.count("single-interpreter = true") == 2


def test_classes_of_others_keep_their_methods():
    run_child(
        PRELUDE
        + """
CODE = '''
def make():
    class Context:
        def __enter__(self): return "mine"
        def __exit__(self, *exception): pass
    return Context()
many = [make() for _ in range(3000)]
try:
    import opool
    with opool.Pool([object()]).lease(): pass
except ImportError: pass
for each in many:
    with each as found: assert found == "mine"
'''
for _ in range(3):
    assert run(CODE) == ""
exec(CODE)
"""
    )
