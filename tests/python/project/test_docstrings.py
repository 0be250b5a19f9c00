"""The examples of the docstrings do what they show."""

import doctest
import importlib
import types

import pytest

OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
MODULES = [
    *["opool", "opool.errors", "opool.testing"],
    *["design.objectmgr", "design.opool", "design.opool_sample", "algorithms.palindrome", "algorithms.triplets"],
]


def examples(name):
    """The examples of a module by name, also those of classes that were written in another one."""
    module, finder = importlib.import_module(name), doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(module, name)
    for public, thing in vars(module).items():
        if isinstance(thing, type) and thing.__module__ == name:
            found += finder.find(thing, f"{name}.{public}", module=False, globs=dict(vars(module)))
    return {test.name: test for test in found if test.examples}.values()


EXAMPLES = [test for name in MODULES for test in examples(name)]


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_an_example_does_what_it_shows(test):
    said = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    assert result.failed == 0, "".join(said)


def public_names(name):
    """The classes and functions that a module defines, but for exceptions, and their public methods."""
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ["Solution"]):
        thing = getattr(module, public)
        if getattr(thing, "__module__", None) == name and not (
            isinstance(thing, type) and issubclass(thing, BaseException)
        ):
            yield f"{name}.{public}"
            for method, function in vars(thing).items():
                if isinstance(function, types.FunctionType) and not method.startswith("_"):
                    yield f"{name}.{public}.{method}"


def test_everything_public_has_an_example():
    shown = {test.name for test in EXAMPLES}
    public = [name for module in MODULES for name in public_names(module)]
    assert len(public) > 10
    lacking = [name for name in public if name not in shown]
    assert not lacking
