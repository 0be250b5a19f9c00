"""`dataclass` and `NamedTuple` without the cost of their modules: `dataclasses` loads inspect, and typing is as large.

Type checkers are shown the originals::

    if TYPE_CHECKING:
        from dataclasses import dataclass
    else:
        from opool._records import dataclass
"""

from __future__ import annotations

import collections
import reprlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _T = TypeVar("_T")


def dataclass(*, frozen: bool) -> Callable[[type[_T]], type[_T]]:
    """Make a class of annotated fields without defaults immutable, comparable and readable, as `dataclasses` does.

    A field whose name begins with an underscore is neither shown nor compared. `dataclasses.fields`, `asdict` and
    `replace` work: what they need is made when they ask for it.
    """
    assert frozen

    def make(cls: type[_T]) -> type[_T]:
        names = tuple(cls.__annotations__)
        methods: dict[str, Any] = {}
        items = "".join(f"'{name}': {name}, " for name in names)
        exec(f"def __init__(self, {', '.join(names)}):\n self.__dict__.update({{{items}}})", methods)
        init = methods["__init__"]
        init.__annotations__ = {**cls.__annotations__, "return": None}
        init.__module__, init.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
        for name, value in {"__init__": init, "__match_args__": names, **_methods(cls, names)}.items():
            setattr(cls, name, value)
        for attribute in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(cls, attribute, _FromDataclasses(attribute, cls))
        return cls

    return make


def _methods(cls: type[Any], names: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    compared = [name for name in names if not name.startswith("_")]

    def key(record: Any) -> tuple[Any, ...]:
        return tuple(getattr(record, name) for name in compared)

    @reprlib.recursive_repr()
    def __repr__(self: Any) -> str:  # noqa: N807
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in compared)
        return f"{type(self).__qualname__}({fields})"

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        return key(self) == key(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(key(self))

    def refuse(self: Any, name: str, what: str) -> None:
        if type(self) is cls or name in names:
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot {what} field {name!r}")

    def __setattr__(self: Any, name: str, value: object) -> None:  # noqa: N807
        refuse(self, name, "assign to")
        object.__setattr__(self, name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        refuse(self, name, "delete")
        object.__delattr__(self, name)

    def __replace__(self: Any, /, **changes: Any) -> Any:  # noqa: N807
        return type(self)(**{**self.__dict__, **changes})

    return {method.__name__: method for method in (__repr__, __eq__, __hash__, __setattr__, __delattr__, __replace__)}


class _FromDataclasses:
    """An attribute by which `dataclasses` knows its classes. The first who asks for it loads that module."""

    def __init__(self, name: str, cls: type[Any]) -> None:
        self._name = name
        self._cls = cls

    def __get__(self, instance: object, owner: object) -> Any:
        import dataclasses

        cls = self._cls
        fields: list[Any] = [
            (name, annotation, dataclasses.field(repr=not name.startswith("_"), compare=not name.startswith("_")))
            for name, annotation in cls.__annotations__.items()
        ]
        twin = dataclasses.make_dataclass(cls.__name__, fields, frozen=True)
        for attribute in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(cls, attribute, getattr(twin, attribute))
        return getattr(cls, self._name)


class _NamedTupleType(type):
    """Makes a subclass of `collections.namedtuple` from a class of annotated fields, as typing does."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if not bases:  # NamedTuple itself
            return super().__new__(cls, name, bases, namespace)
        # From 3.14 on a namespace holds no annotations, but a function that makes them; a class has them always.
        fields = type(name, (), dict(namespace)).__annotations__
        defaults = [namespace.pop(field) for field in fields if field in namespace]
        base = collections.namedtuple(name, fields, defaults=defaults)  # type: ignore[misc]
        return type(name, (base,), {"__slots__": (), **namespace})


class NamedTuple(metaclass=_NamedTupleType):
    """The base of named tuples, as that of typing."""
