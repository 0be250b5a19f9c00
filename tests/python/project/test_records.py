"""`opool._records`: what it makes behaves as what `dataclasses` and `typing` make."""

from __future__ import annotations  # as in all modules that use it: it asks for no other kind

import copy
import dataclasses
import inspect
import pickle
import sys
import typing

import pytest

import opool
from opool import _records
from opool.errors import TimeoutFacts
from support import run_child


@_records.dataclass(frozen=True)
class Ours:
    """A record."""

    name: str
    value: typing.Any
    _hidden: int

    @property
    def twice(self) -> str:
        return self.name * 2


@dataclasses.dataclass(frozen=True)
class Theirs:
    """A record."""

    name: str
    value: typing.Any
    _hidden: int = dataclasses.field(repr=False, compare=False)

    @property
    def twice(self) -> str:
        return self.name * 2


KINDS = pytest.mark.parametrize("kind", [Ours, Theirs])


@KINDS
def test_a_record_has_its_fields_and_shows_the_public_ones(kind):
    record = kind("a", [1], 2)
    assert (record.name, record.value, record._hidden, record.twice) == ("a", [1], 2, "aa")
    assert kind(name="a", value=[1], _hidden=2) == record
    assert repr(record) == f"{kind.__name__}(name='a', value=[1])"
    for arguments in [(), (1,), (1, 2, 3, 4)]:
        with pytest.raises(TypeError, match=rf"{'__init__' if sys.version_info < (3, 10) else kind.__name__}"):
            kind(*arguments)
    with pytest.raises(TypeError):
        kind("a", 1, 2, other=3)


@KINDS
def test_a_record_is_equal_to_its_own_kind_only_and_hashed_by_what_is_compared(kind):
    assert kind("a", 1, 2) == kind("a", 1, 3) != kind("a", 2, 2)
    assert kind("a", 1, 2) != ("a", 1, 2) and kind("a", 1, 2).__eq__(object()) is NotImplemented
    assert hash(kind("a", 1, 2)) == hash(kind("a", 1, 3)) == hash(("a", 1))

    class Sub(kind):
        pass

    assert Sub("a", 1, 2) != kind("a", 1, 2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(kind("a", [], 2))


@KINDS
def test_a_record_cannot_be_changed(kind):
    record = kind("a", 1, 2)
    for name in ("name", "_hidden", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(record, name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(record, name)

    class Sub(kind):
        pass

    sub = Sub("a", 1, 2)
    sub.other = 3
    del sub.other
    with pytest.raises(dataclasses.FrozenInstanceError):
        sub.name = "b"


@KINDS
def test_a_record_that_contains_itself_is_shown(kind):
    value = []
    record = kind("a", value, 2)
    value.append(record)
    assert repr(record) == f"{kind.__name__}(name='a', value=[...])"


@KINDS
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))])
def test_a_record_can_be_copied_and_pickled(kind, again):
    twin = again(kind("a", [1], 2))
    assert twin == kind("a", [1], 2) and twin._hidden == 2 and type(twin) is kind


@KINDS
def test_the_functions_of_dataclasses_take_a_record(kind):
    record = kind("a", [1], 2)
    assert dataclasses.is_dataclass(kind) and dataclasses.is_dataclass(record)
    assert dataclasses.asdict(record) == {"name": "a", "value": [1], "_hidden": 2}
    assert dataclasses.astuple(record) == ("a", [1], 2)
    assert dataclasses.replace(record, name="b") == kind("b", [1], 2)
    fields = [(field.name, field.repr, field.compare, field.init) for field in dataclasses.fields(kind)]
    assert fields == [("name", True, True, True), ("value", True, True, True), ("_hidden", False, False, True)]
    if sys.version_info >= (3, 13):
        assert copy.replace(record, name="b") == kind("b", [1], 2)
    with pytest.raises(TypeError):
        dataclasses.replace(record, other=1)


@KINDS
def test_a_record_may_be_the_base_of_a_frozen_dataclass_and_of_no_other(kind):
    @dataclasses.dataclass(frozen=True)
    class More(kind):
        more: int

    assert dataclasses.asdict(More("a", 1, 2, 3)) == {"name": "a", "value": 1, "_hidden": 2, "more": 3}
    with pytest.raises(TypeError, match="frozen"):

        @dataclasses.dataclass
        class Changeable(kind):
            more: int


@KINDS
def test_a_record_has_the_signature_of_its_fields_and_can_be_matched(kind):
    parameters = inspect.signature(kind).parameters
    assert {name: parameter.annotation for name, parameter in parameters.items()} == kind.__annotations__
    if sys.version_info >= (3, 10):
        assert kind.__match_args__ == ("name", "value", "_hidden")


@pytest.mark.parametrize("kind", [opool.PoolStats, opool.Histogram, opool.Holder])
def test_the_records_of_the_package_are_dataclasses_to_others(kind):
    parameters = inspect.signature(kind).parameters
    assert [field.name for field in dataclasses.fields(kind)] == list(parameters) == list(kind.__annotations__)


def test_dataclasses_is_loaded_when_somebody_asks():
    run_child(
        """
        import sys, opool
        stats = opool.Pool(["a"]).stats()
        assert stats == stats and repr(stats) and "dataclasses" not in sys.modules
        import dataclasses
        assert dataclasses.asdict(stats)["size"] == 1 and dataclasses.fields(stats)[0].name == "name"
        """
    )


# ----------------------------------------------------------------------------------------------------------------------
# Named tuples


class OurTuple(_records.NamedTuple):
    """A tuple."""

    name: str
    value: int = 3

    def twice(self) -> str:
        return self.name * 2


class TheirTuple(typing.NamedTuple):
    """A tuple."""

    name: str
    value: int = 3

    def twice(self) -> str:
        return self.name * 2


@pytest.mark.parametrize("kind", [OurTuple, TheirTuple])
def test_a_named_tuple_is_one(kind):
    record = kind("a")
    assert record == ("a", 3) == kind(name="a", value=3) and isinstance(record, tuple)
    assert (record.name, record[1], record.twice()) == ("a", 3, "aa")
    assert repr(record) == f"{kind.__name__}(name='a', value=3)"
    assert record._replace(value=4) == ("a", 4) and record._asdict() == {"name": "a", "value": 3}
    assert (kind._fields, kind._field_defaults) == (("name", "value"), {"value": 3})
    assert (kind.__name__, kind.__module__, kind.__doc__) == (kind.__qualname__, __name__, "A tuple.")
    assert typing.get_type_hints(kind) == {"name": str, "value": int}
    assert pickle.loads(pickle.dumps(record)) == record and type(copy.copy(record)) is kind
    with pytest.raises(AttributeError):
        record.name = "b"
    with pytest.raises(AttributeError):
        record.other = "b"
    with pytest.raises(TypeError):
        kind()


def test_the_facts_of_a_timeout_are_a_named_tuple():
    assert TimeoutFacts._fields == tuple(TimeoutFacts.__annotations__)
    assert TimeoutFacts._field_defaults == {"of_ids": False, "blocks_loop": False}
    assert TimeoutFacts.__module__ == "opool.errors"
