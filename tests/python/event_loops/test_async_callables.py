"""Which hooks are coroutine functions: the answers of `inspect.iscoroutinefunction`, mostly without loading inspect."""

import functools
import inspect
import operator
import sys
import types
from unittest import mock

import pytest

from opool._hooks import _may_be_coroutine_function, is_async_callable, is_coroutine_function
from support import run_child


def function():
    pass


async def coroutine_function():
    pass


def generator():
    yield


async def async_generator():
    yield


@types.coroutine
def iterable_coroutine():
    yield


@functools.wraps(coroutine_function)
def wrapper():
    pass


class Sync:
    def __call__(self):
        pass

    def method(self):
        pass

    @classmethod
    def of_class(cls):
        pass

    @staticmethod
    def static():
        pass

    part = functools.partialmethod(method)


class Async:
    async def __call__(self):
        pass

    async def method(self):
        pass

    @classmethod
    async def of_class(cls):
        pass

    @staticmethod
    async def static():
        pass

    part = functools.partialmethod(method)


class Inherits(Async):
    pass


class OnInstance:
    """Calls look for `__call__` in the class only."""

    def __init__(self):
        self.__call__ = coroutine_function

    def __call__(self):
        pass


class AsyncClass(type):
    async def __call__(cls):
        pass


class Compiled:
    """As a function that Cython has compiled: no function, but with all that one has."""

    def __init__(self, like):
        self.__name__ = like.__name__
        self.__code__ = like.__code__
        self.__defaults__ = like.__defaults__
        self.__kwdefaults__ = like.__kwdefaults__
        self.__annotations__ = like.__annotations__

    def __call__(self):
        pass


class OnlyCode:
    __code__ = coroutine_function.__code__


class Anything:
    """A proxy: it has every attribute that it is asked for, and each is such a proxy again."""

    def __getattr__(self, name):
        return Anything()

    def __call__(self):
        pass


class Raises:
    """Something like a lazy proxy whose object cannot be reached."""

    def __getattr__(self, name):
        raise ConnectionError(name)

    def __call__(self):
        pass


CALLABLES = {
    "function": function,
    "coroutine function": coroutine_function,
    "lambda": lambda: None,
    "generator": generator,
    "async generator": async_generator,
    "iterable coroutine": iterable_coroutine,
    "wrapper": wrapper,
    "cached": functools.lru_cache(coroutine_function),
    "single dispatch": functools.singledispatch(coroutine_function),
    "builtin": print,
    "class": dict,
    "slot": type.__call__,
    "methodcaller": operator.methodcaller("method"),
    "class of async calls": AsyncClass("Made", (), {}),
    "inherited": Inherits(),
    "on the instance": OnInstance(),
    "only code": OnlyCode(),
    "anything": Anything(),
    "raises": Raises(),
    "none": None,
    "number": 3,
    "mock": mock.Mock(),
    "magic mock": mock.MagicMock(),
    "mock like one": mock.create_autospec(coroutine_function),
    "async mock": mock.AsyncMock(),
    "compiled": Compiled(function),
    "compiled coroutine": Compiled(coroutine_function),
    "static, bare": vars(Sync)["static"],
    "static, bare, async": vars(Async)["static"],
}
for kind in (Sync, Async):
    CALLABLES.update(
        (f"{kind.__name__} {name}", found)
        for name, found in {
            "class": kind,
            "instance": kind(),
            "unbound": kind.method,
            "bound": kind().method,
            "class method": kind.of_class,
            "static method": kind.static,
            "partialmethod": kind().part,
            "partialmethod, unbound": kind.part,
            "partialmethod, bare": vars(kind)["part"],
            "call": kind().__call__,
        }.items()
    )
PLAIN = dict(CALLABLES)
for name, found in PLAIN.items():
    if callable(found):
        CALLABLES[f"partial of {name}"] = functools.partial(found)
        CALLABLES[f"partial of partial of {name}"] = functools.partial(functools.partial(found), 1)
        CALLABLES[f"method of {name}"] = types.MethodType(found, object())
        CALLABLES[f"partial of method of {name}"] = functools.partial(types.MethodType(found, object()))
        CALLABLES[f"method of partial of {name}"] = types.MethodType(functools.partial(found), object())

if hasattr(inspect, "markcoroutinefunction"):  # since 3.12

    class Marked:
        def __call__(self):
            pass

        def method(self):
            pass

    CALLABLES["marked"] = inspect.markcoroutinefunction(lambda: None)
    CALLABLES["marked instance"] = inspect.markcoroutinefunction(Marked())
    CALLABLES["partial of marked"] = functools.partial(CALLABLES["marked"])
    inspect.markcoroutinefunction(Marked.method)
    CALLABLES["marked method"] = Marked().method


def answer(question, subject):
    """What a question is answered with: an exception is an answer as well."""
    try:
        return question(subject)
    except Exception as error:
        return type(error)


def both(subject):
    return inspect.iscoroutinefunction(subject) or inspect.iscoroutinefunction(getattr(type(subject), "__call__", None))  # noqa: B004


@pytest.mark.parametrize(
    ("question", "truth"), [(is_coroutine_function, inspect.iscoroutinefunction), (is_async_callable, both)]
)
def test_the_answer_is_that_of_inspect(question, truth):
    answers = {name: answer(question, subject) for name, subject in CALLABLES.items()}
    truths = {name: answer(truth, subject) for name, subject in CALLABLES.items()}
    assert answers == truths
    assert list(truths.values()).count(True) > 10 < list(truths.values()).count(False)


def test_what_inspect_accepts_is_found_without_it():
    missed = [
        name
        for name, subject in CALLABLES.items()
        if "mark" not in name  # a mark needs inspect to be there
        and answer(inspect.iscoroutinefunction, subject) is not False
        and not _may_be_coroutine_function(subject)
    ]
    assert not missed


@pytest.mark.parametrize(
    "name",
    ["function", "lambda", "generator", "wrapper", "builtin", "class", "compiled", "anything", "none", "number"]
    + ["partial of function", "method of partial of function", "partial of Sync bound", "Sync instance", "Sync call"]
    + ["Sync partialmethod", "Sync partialmethod, bare", "static, bare", "single dispatch", "async generator"],
)
def test_what_is_surely_no_coroutine_function_is_not_shown_to_inspect(name):
    assert not _may_be_coroutine_function(CALLABLES[name])


def test_inspect_is_loaded_for_a_coroutine_function_only():
    run_child(
        """
        import sys
        assert "inspect" not in sys.modules
        from opool._hooks import is_async_callable

        class Sync:
            def __call__(self): pass

        class Async:
            async def __call__(self): pass

        assert not any(map(is_async_callable, [print, dict, Sync, Sync(), Sync().__call__, lambda: None, Async]))
        assert "inspect" not in sys.modules
        for hook in (Async(), Async().__call__):
            sys.modules.pop("inspect", None)
            assert is_async_callable(hook) and "inspect" in sys.modules
        """
    )


def test_a_mark_is_seen_though_inspect_was_loaded_later():
    if sys.version_info < (3, 12):
        pytest.skip("markcoroutinefunction came with 3.12")
    run_child(
        """
        import sys
        from opool._hooks import is_async_callable

        def hook(): pass

        assert not is_async_callable(hook) and "inspect" not in sys.modules
        import inspect
        assert is_async_callable(inspect.markcoroutinefunction(hook))
        """
    )
