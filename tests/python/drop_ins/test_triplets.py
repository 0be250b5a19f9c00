"""The triplet search: the recorded answers, numbers at random, objects that misbehave, long searches."""

from __future__ import annotations

import gc
import math
import sys
import unittest
from collections import UserList
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms import triplets_tests
from algorithms.triplets import Solution
from opool._opool import zero_triplets
from parity.references import triplets as plain
from parity.replay import recorded_cases
from progress import Interrupted, alarm, computing, lets_others_run

RECORDED = recorded_cases("triplets")


WHAT_OPERATIONS_RAISE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def ours(s: Any) -> tuple[Any, ...]:
    search = Solution()
    found: list[Any] = []
    search.solution = found
    try:
        assert search.get_triplets(s) is search.solution
    except WHAT_OPERATIONS_RAISE as error:
        return search.solution, (type(error), str(error))
    assert search.solution is not found
    return search.solution, None


def expected(s: Any) -> tuple[Any, ...]:
    found: list[Any] = []
    try:
        plain.get_triplets(s, found)
    except WHAT_OPERATIONS_RAISE as error:
        return found, (type(error), str(error))
    return found, None


def assert_same_as_plain_python(values: list[Any]) -> None:
    """Same triplets of the same objects, same order, same exception, and the list in the same state."""
    one, other = list(values), list(values)
    (found, error), (found_plainly, error_plainly) = ours(one), expected(other)
    assert error == error_plainly
    assert [list(map(id, hit)) for hit in found] == [list(map(id, hit)) for hit in found_plainly]
    assert list(map(id, one)) == list(map(id, other))


@pytest.mark.parametrize(
    "case", [case for case in RECORDED if "input" in case], ids=lambda case: str(case["input"])[:40]
)
def test_the_recorded_answer_is_given(case: dict[str, Any]) -> None:
    values = case["input"]
    assert repr(Solution().get_triplets(values)) == repr(case["returns"])
    assert repr(values) == repr(case["input_after"])


@pytest.mark.parametrize("case", [case for case in RECORDED if "raises" in case], ids=lambda case: case["input_expr"])
def test_the_recorded_exception_is_raised(case: dict[str, Any]) -> None:
    with pytest.raises(Exception) as caught:
        Solution().get_triplets(eval(case["input_expr"]))
    assert (caught.type.__name__, str(caught.value)) == (case["raises"], case["message"])


EDGES = [sign * 2**power + off for sign in (1, -1) for power in (29, 51, 53, 61, 62, 63, 64) for off in (-1, 0, 1)]
SMALL = st.integers(-6, 6)
FLOATS = st.sampled_from([0.0, -0.0, 0.1, 0.2, -0.3, 1.5, -0.5, -1.0, 1e308, -1e308, 2.0**53, -(2.0**53), 5e-324])
WILD_FLOATS = st.one_of(FLOATS, st.sampled_from([math.inf, -math.inf, math.nan]), st.floats())
KINDS = {
    "small ints": SMALL,
    "ints": st.integers(-300, 300),
    "ints at the edges": st.one_of(st.sampled_from(EDGES), SMALL),
    "ints beyond 64 bits": st.one_of(st.sampled_from(EDGES), SMALL).map(lambda value: value * 2**40),
    "tame floats": st.one_of(FLOATS, SMALL.map(lambda value: value / 4)),
    "wild floats": WILD_FLOATS,
    "mixtures": st.one_of(
        SMALL, st.booleans(), SMALL.map(lambda value: value / 2), SMALL.map(lambda v: Fraction(v, 2))
    ),
    "ints and floats": st.one_of(SMALL, WILD_FLOATS, st.sampled_from(EDGES), st.booleans()),
    "fractions": SMALL.map(lambda value: Fraction(value, 3)),
    "huge ints and floats": st.one_of(FLOATS, st.sampled_from([10**400, -(10**400), 10**20, 3])),
    "decimals": SMALL.map(lambda value: Decimal(value) / 10),
    "anything": st.one_of(SMALL, st.none(), st.text(max_size=1), st.complex_numbers(), st.lists(SMALL, max_size=1)),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300)
@given(data=st.data())
def test_the_search_is_that_of_plain_python(kind: str, data: st.DataObject) -> None:
    assert_same_as_plain_python(data.draw(st.lists(KINDS[kind], max_size=24)))


@settings(max_examples=100)
@given(st.randoms(use_true_random=False), st.integers(100, 400), st.sampled_from([200, 2000, 10**6, 2**62, 2**63 - 1]))
def test_a_long_list_is_searched_as_by_plain_python(random: Any, count: int, bound: int) -> None:
    values = [random.randint(-bound, bound) for _ in range(count)]
    assert_same_as_plain_python(values)
    assert_same_as_plain_python(list(set(values)))
    assert_same_as_plain_python([value / 8 for value in values])


@pytest.mark.parametrize("values", [[0] * 300, [1] * 300, [-1, 2] * 150, [-3, 1, 2] * 100, [math.nan] * 30])
def test_many_equal_values_are_searched_as_by_plain_python(values: list[Any]) -> None:
    assert_same_as_plain_python(values)


Act = Callable[[list[Any]], object]


class Odd:
    """A number that is counted at every operation, and at one of them does something to the list."""

    operations: list[str]
    fatal: int
    act: Act
    home: list[Any]

    def __init__(self, value: int) -> None:
        self.value = value

    def note(self, operation: str, other: Any) -> Any:
        Odd.operations.append(f"{self.value} {operation} {getattr(other, 'value', other)}")
        if len(Odd.operations) == Odd.fatal:
            Odd.act(Odd.home)
        return getattr(other, "value", other)

    def __lt__(self, other: Any) -> Any:
        return self.value < self.note("<", other)

    def __add__(self, other: Any) -> Any:
        return Odd(self.value + self.note("+", other))

    def __eq__(self, other: object) -> Any:
        # An answer that is not a bool, and is asked for its truth.
        return [1] * (self.value == self.note("==", other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Odd({self.value})"


def fail(_: list[Any]) -> None:
    raise ZeroDivisionError("half way")


ACTS: dict[str, Act] = {
    "raise": fail,
    "clear": lambda s: s.clear(),
    "shorten": lambda s: s.__delitem__(slice(2, None)),
    "lengthen": lambda s: s.extend(map(Odd, (-2, 2))),
    "replace": lambda s: s.__setitem__(slice(None), [Odd(-1), 0, 1.0, Odd(1)]),
    "reverse": lambda s: s.reverse(),
    "fill with text": lambda s: s.__setitem__(slice(None), ["a", "b", "c", "d"]),
}


@pytest.mark.parametrize("act", ACTS)
def test_objects_that_misbehave_at_any_operation_do_no_harm(act: str) -> None:
    def outcome(run: Callable[[Any], tuple[Any, ...]], fatal: int) -> Any:
        Odd.operations, Odd.fatal, Odd.act = [], fatal, ACTS[act]
        Odd.home = list(map(Odd, (2, -1, 0, 1, -2, 0)))
        found, error = run(Odd.home)
        return repr(found), error, repr(Odd.home), Odd.operations

    length = len(outcome(expected, 0)[3])
    assert length > 50
    for fatal in range(length + 1):
        assert outcome(ours, fatal) == outcome(expected, fatal), f"at operation {fatal}"


def test_subclasses_are_asked_themselves() -> None:
    class Contrary(int):
        def __add__(self, other: Any) -> Any:
            return 1

        __radd__ = __add__

    class Level(IntEnum):
        LOW, HIGH = -1, 2

    class Shy(float):
        def __lt__(self, other: Any) -> Any:
            raise ZeroDivisionError

    assert Solution().get_triplets([Contrary(-1), Contrary(0), Contrary(1)]) == []
    assert Solution().get_triplets([Level.HIGH, Level.LOW, Level.LOW]) == [[Level.LOW, Level.LOW, Level.HIGH]]
    with pytest.raises(ZeroDivisionError):
        Solution().get_triplets([Shy(1), Shy(2), Shy(3)])


def test_whatever_sorts_and_indexes_is_searched() -> None:
    class Backwards(list):  # type: ignore[type-arg]
        def sort(self, **_: Any) -> None:
            super().sort(reverse=True)

    for kind in (UserList, Backwards):
        one, other = kind([1, -1, 0, 0, 2, -2]), kind([1, -1, 0, 0, 2, -2])
        assert ours(one) == expected(other)
        assert list(one) == list(other)

    class Unsorted:
        sort = print

    with pytest.raises(TypeError, match="'Unsorted' object is not iterable"):
        Solution().get_triplets(Unsorted())  # type: ignore[arg-type]


def test_each_search_begins_a_new_solution_once_the_list_is_sorted() -> None:
    search = Solution()
    assert not hasattr(search, "solution")
    first = search.get_triplets([1, -1, 0])
    with pytest.raises(TypeError):
        search.get_triplets([None, 1])
    assert search.solution is first == [[-1, 0, 1]]
    with pytest.raises(TypeError):
        search.get_triplets(["b", "a", "c"])
    assert search.solution == []


def test_single_steps_lead_to_the_same_solution() -> None:
    values = sorted([3, -1, 0, 0, 1, -3, -2, 2, 2])
    search, whole = Solution(), Solution()
    search.solution = []
    for place, value in enumerate(values):
        left, right = place + 1, len(values) - 1
        while left < right:
            left, right = search.next_value(left, right, value, values)
    assert search.solution == whole.get_triplets(values)
    with pytest.raises(AttributeError):
        Solution().next_value(0, 1, 0, [0, 0])


def test_the_triplets_own_their_objects() -> None:
    values = [float("-1000.5"), float("500.25"), float("500.25")]

    def references() -> list[int]:
        return [sys.getrefcount(value) for value in values]

    before = references()
    hits = Solution().get_triplets(values)
    during = references()
    assert hits == [values]
    del hits
    after = references()
    assert during == [count + 1 for count in before]
    assert after == before


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_is_left_as_it_was(collecting: bool) -> None:
    was_collecting = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        assert len(Solution().get_triplets([0] * 200)) == 9900
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if was_collecting else gc.disable)()


# No three odd numbers sum to zero: a search of many of them is long and has nothing to show.
ODD_NUMBERS = list(range(-99_999, 100_000, 2))
HUGE_NUMBERS = [value * 10**3000 for value in range(-901, 902, 2)]


@pytest.mark.parametrize("values", [ODD_NUMBERS[30_000:70_000], HUGE_NUMBERS * 2], ids=["machine numbers", "objects"])
def test_a_long_search_lets_other_threads_run(values: list[Any]) -> None:
    assert lets_others_run(partial(zero_triplets, values, []))


@pytest.mark.parametrize("values", [ODD_NUMBERS * 2, HUGE_NUMBERS * 10], ids=["machine numbers", "objects"])
def test_a_signal_interrupts_a_long_search(values: list[Any]) -> None:
    with computing() as seconds, pytest.raises(Interrupted), alarm(0.05):
        Solution().get_triplets(sorted(values))
    assert seconds() < 1


def test_the_self_checks_pass() -> None:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(triplets_tests).run(result)
    assert result.wasSuccessful() and result.testsRun >= 8
