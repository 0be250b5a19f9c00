"""The integer manager: the original's answers, odd arguments, memory, threads."""

from __future__ import annotations

import contextlib
import gc
import inspect
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from design.objectmgr import ObjectMgr
from parity.references.objectmgr import ReferenceObjectMgr
from parity.replay import recorded_cases
from support import LIMIT

RECORDED = recorded_cases("objectmgr")
NOT_ALLOCATED = "Object is not currently allocated."


def exhausted(n):
    mgr = ObjectMgr(n)
    while mgr.get_object() is not None:
        pass
    return mgr


def in_a_child(code):
    """Runs `code` in an interpreter of its own and returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- The original's recorded answers.


def check(expected, call):
    if "raises" in expected:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            call()
        assert (type(caught.value).__name__, str(caught.value)) == (expected["raises"], expected["message"])
    else:
        result = call()
        assert result == expected["returns"]
        assert type(result) is type(expected["returns"])


@pytest.mark.parametrize("trace", RECORDED["traces"], ids=lambda trace: f"n={trace['n']}")
def test_answers_a_recorded_trace(trace):
    mgr = ObjectMgr(trace["n"])
    for op in trace["ops"]:
        if op["op"] == "get_object":
            check(op, mgr.get_object)
        else:
            check(op, lambda obj=op["obj"]: mgr.free_object(obj))
    assert sorted(mgr.allocated_objects) == trace["allocated_after"]


@pytest.mark.parametrize("case", RECORDED["free_odd"], ids=lambda case: case["free_expr"])
def test_answers_a_recorded_odd_free(case):
    mgr = ObjectMgr(case["n"])
    assert [mgr.get_object() for _ in case["allocated"]] == case["allocated"]
    obj = eval(case["free_expr"])
    check(case, lambda: mgr.free_object(obj))


@pytest.mark.parametrize("case", RECORDED["constructor_odd"], ids=lambda case: case["n_expr"])
def test_answers_a_recorded_odd_construction(case):
    n = eval(case["n_expr"])
    if "raises" in case:
        check(case, lambda: ObjectMgr(n))
    else:
        check(case, ObjectMgr(n).get_object)


# --- What is given, and in which order.


def test_fresh_ids_come_first_and_then_the_freed_ones_in_the_order_they_were_freed():
    mgr = ObjectMgr(5)
    assert [mgr.get_object(), mgr.get_object()] == [1, 2]
    assert mgr.free_object(2) == 2
    assert mgr.free_object(1) == 1
    assert [mgr.get_object() for _ in range(5)] == [3, 4, 2, 1, None]


def test_inclusive_means_one_to_n():
    mgr = ObjectMgr(3, inclusive=True)
    assert [mgr.get_object() for _ in range(4)] == [1, 2, 3, None]
    assert ObjectMgr(n=3, inclusive=False).object_pool == range(1, 3)
    assert ObjectMgr(0, inclusive=True).get_object() is None


def test_the_three_attributes_are_snapshots():
    mgr = ObjectMgr(6)
    for _ in range(3):
        mgr.get_object()
    mgr.free_object(3)
    mgr.free_object(1)
    fresh, allocated, freed = mgr.object_pool, mgr.allocated_objects, list(mgr.freed_objects)
    mgr.get_object()
    mgr.free_object(2)
    assert (fresh, allocated, freed) == (range(4, 6), {2}, [3, 1])
    assert (type(fresh), type(allocated), type(freed)) == (range, set, list)
    assert (mgr.object_pool, mgr.allocated_objects, list(mgr.freed_objects)) == (range(5, 6), {4}, [3, 1, 2])


def test_a_snapshot_crosses_pages_and_blocks():
    n = 150_000
    mgr = exhausted(n)
    for i in range(1, n, 2):
        mgr.free_object(i)
    assert mgr.object_pool == range(n, n)
    assert list(mgr.freed_objects) == list(range(1, n, 2))
    assert mgr.allocated_objects == set(range(2, n, 2))


def test_a_second_init_starts_again():
    mgr = ObjectMgr(3)
    mgr.get_object()
    mgr.__init__(9)
    assert (mgr.object_pool, mgr.allocated_objects) == (range(1, 9), set())
    with pytest.raises(TypeError):
        mgr.__init__("9")
    assert mgr.object_pool == range(1, 9)


# --- The size.


@pytest.mark.parametrize("n", [2**32 - 1, 2**32, 2**32 + 1, 2**62, 2**63 - 1, 2**63])
def test_large_sizes_give_the_first_ids(n):
    mgr = ObjectMgr(n)
    assert [mgr.get_object(), mgr.get_object()] == [1, 2]
    assert mgr.free_object(1) == 1
    assert mgr.object_pool == range(3, n)
    assert list(mgr.freed_objects) == [1]


@pytest.mark.parametrize("n", [2**63 + 1, 2**64 - 1, 2**64, 10**30])
def test_a_size_beyond_the_ids_is_refused_and_named(n):
    with pytest.raises(OverflowError, match=f"n is too large: {n};"):
        ObjectMgr(n)


def test_the_greatest_id_bounds_an_inclusive_size_too():
    assert ObjectMgr(2**63 - 1, inclusive=True).object_pool == range(1, 2**63)
    with pytest.raises(OverflowError, match=f"n is too large: {2**63};.* inclusive=True"):
        ObjectMgr(2**63, inclusive=True)


def test_a_size_too_long_to_write_out_is_refused_all_the_same():
    with pytest.raises(OverflowError, match="n is too large"):
        ObjectMgr(10**20_000)


@pytest.mark.parametrize("n", [0, 1, -1, -(2**63), -(2**64), pytest.param(-(10**20_000), id="-(10**20_000)")])
def test_a_size_without_ids_is_an_empty_manager(n):
    mgr = ObjectMgr(n)
    assert mgr.get_object() is None
    assert (len(mgr.object_pool), mgr.allocated_objects, list(mgr.freed_objects)) == (0, set(), [])
    with pytest.raises(ValueError, match=NOT_ALLOCATED):
        mgr.free_object(1)


def test_a_size_may_be_anything_with_an_index():
    class Four:
        def __index__(self):
            return 4

    class Broken:
        def __index__(self):
            raise LookupError("no size")

    assert ObjectMgr(Four()).object_pool == range(1, 4)
    with pytest.raises(LookupError, match="no size"):
        ObjectMgr(Broken())


def test_wrong_arguments_are_type_errors():
    for args, kwargs in [((), {}), ((1, True), {}), ((1,), {"m": 2}), ((1,), {"inclusive": "yes"})]:
        with pytest.raises(TypeError):
            ObjectMgr(*args, **kwargs)
    mgr = ObjectMgr(2)
    for call in (lambda: mgr.get_object(1), mgr.free_object, lambda: mgr.free_object(1, 2)):
        with pytest.raises(TypeError):
            call()
    for method in (ObjectMgr.get_object, ObjectMgr.free_object):
        with pytest.raises(TypeError):
            method(object(), 1)


# --- What counts as an id.


class Same:
    """Equal to `value`, with the hash of `value`; calls `then` when compared."""

    def __init__(self, value, then=lambda: None):
        self.value = value
        self.then = then

    def __hash__(self):
        return hash(self.value)

    def __eq__(self, other):
        self.then()
        return self.value == other


class FlawError(Exception):
    pass


def flaw():
    raise FlawError


@pytest.mark.parametrize("obj", [True, 1.0, 1 + 0j, Fraction(1), Decimal("1.00"), Same(1), type("Int", (int,), {})(1)])
def test_what_equals_an_allocated_id_frees_it_and_is_returned(obj):
    mgr = exhausted(3)
    assert mgr.free_object(obj) is obj
    assert list(mgr.freed_objects) == [1]
    assert type(mgr.get_object()) is int
    with pytest.raises(ValueError, match=NOT_ALLOCATED):
        ObjectMgr(3).free_object(obj)


def test_an_equal_object_without_the_hash_does_not_count():
    class Astray(Same):
        def __hash__(self):
            return 77

    mgr = exhausted(3)
    with pytest.raises(ValueError, match=NOT_ALLOCATED):
        mgr.free_object(Astray(1))
    assert mgr.allocated_objects == {1, 2}


def test_nothing_is_compared_unless_the_hash_is_that_of_an_allocated_id():
    mgr = ObjectMgr(3)
    for value in (0, 1, 2, 3, -1, 2**61, 2**63 + 5):
        with pytest.raises(ValueError, match=NOT_ALLOCATED):
            mgr.free_object(Same(value, then=flaw))


def test_an_int_subclass_may_deny_that_it_is_the_id():
    class Denies(int):
        __hash__ = int.__hash__

        def __eq__(self, other):
            return False

    mgr = exhausted(3)
    with pytest.raises(ValueError, match=NOT_ALLOCATED):
        mgr.free_object(Denies(1))
    assert mgr.allocated_objects == {1, 2}


@pytest.mark.parametrize("obj", [None, "1", b"1", 1.5, float("nan"), float("inf"), (), (1,), object(), 0, -1, -2, 3,
                                 2**61, 2**62, 2**63, 2**64, -(2**63), 10**30, -(10**30), frozenset({1})])  # fmt: skip
def test_what_is_no_id_is_refused_and_changes_nothing(obj):
    mgr = exhausted(3)
    with pytest.raises(ValueError, match=NOT_ALLOCATED) as caught:
        mgr.free_object(obj)
    assert str(caught.value) == NOT_ALLOCATED
    assert (mgr.allocated_objects, list(mgr.freed_objects)) == ({1, 2}, [])


@pytest.mark.parametrize("obj", [[1], {1: 1}, bytearray(b"1")])
def test_what_cannot_be_hashed_is_a_type_error(obj):
    mgr = exhausted(3)
    with pytest.raises(TypeError, match=f"^unhashable type: '{type(obj).__name__}'$"):
        mgr.free_object(obj)
    assert mgr.allocated_objects == {1, 2}


def test_a_set_is_looked_for_as_a_set_does_it():
    # `{1} in {1, 2}` is False and no TypeError: a set stands for its frozen copy.
    with pytest.raises(ValueError, match=NOT_ALLOCATED):
        exhausted(3).free_object({1})


def test_an_exception_of_the_hash_or_the_comparison_passes_through_and_changes_nothing():
    class Unhashed:
        def __hash__(self):
            raise FlawError

    mgr = exhausted(3)
    for obj in (Unhashed(), Same(1, then=flaw)):
        with pytest.raises(FlawError):
            mgr.free_object(obj)
    assert (mgr.allocated_objects, list(mgr.freed_objects)) == ({1, 2}, [])


def test_a_truth_value_that_raises_passes_through():
    class Vague(Same):
        __hash__ = Same.__hash__

        def __eq__(self, other):
            return type("Truth", (), {"__bool__": lambda _: flaw()})()

    mgr = exhausted(3)
    with pytest.raises(FlawError):
        mgr.free_object(Vague(1))
    assert mgr.allocated_objects == {1, 2}


def test_a_comparison_that_frees_the_id_itself_wins():
    mgr = exhausted(3)
    with pytest.raises(ValueError, match=NOT_ALLOCATED):
        mgr.free_object(Same(1, then=lambda: mgr.free_object(1)))
    assert (mgr.allocated_objects, list(mgr.freed_objects)) == ({2}, [1])


def test_a_comparison_may_free_the_id_and_have_it_given_again():
    mgr = ObjectMgr(2)
    mgr.get_object()
    assert mgr.free_object(Same(1, then=lambda: (mgr.free_object(1), mgr.get_object()))).value == 1
    assert (mgr.allocated_objects, list(mgr.freed_objects)) == (set(), [1])


def test_a_comparison_may_start_the_manager_again():
    mgr = exhausted(3)
    with pytest.raises(ValueError, match=NOT_ALLOCATED):
        mgr.free_object(Same(1, then=lambda: mgr.__init__(9)))
    assert mgr.object_pool == range(1, 9)


# --- Against the reference.


def result_of(call, *args):
    try:
        result = call(*args)
    except Exception as error:  # noqa: BLE001
        return type(error), str(error)
    return type(result), result


def same(ours, reference):
    """Whether two results are one. From 3.14 on the interpreter wraps some of its own messages into longer ones."""
    wrapped = sys.version_info >= (3, 14) and ours[0] is reference[0] is TypeError and ours[1] in reference[1]
    return ours == reference or wrapped


ODD = st.one_of(
    st.sampled_from([None, "1", "", b"", (), (1,), True, False, 1.5, float("nan"), float("inf"), 2**63, -(2**63)]),
    st.builds(lambda value, make: make(value), st.integers(-3, 40), st.sampled_from(
        [float, complex, Fraction, Decimal, Same, str, lambda i: [i], lambda i: {i}, lambda i: frozenset({i}),
         lambda i: i + 2**61 - 1, lambda i: i + 2**64, lambda i: -i, lambda i: i + 0.5, lambda i: Same(i, then=flaw)],
    )),
)  # fmt: skip


class Comparison(RuleBasedStateMachine):
    @initialize(n=st.integers(-2, 40))
    def start(self, n):
        self.ours = ObjectMgr(n)
        self.reference = ReferenceObjectMgr(n)

    @rule(times=st.integers(1, 12))
    def get(self, times):
        for _ in range(times):
            assert same(result_of(self.ours.get_object), result_of(self.reference.get_object))

    @precondition(lambda self: self.reference.allocated_objects)
    @rule(data=st.data())
    def free(self, data):
        obj = data.draw(st.sampled_from(sorted(self.reference.allocated_objects)))
        assert self.ours.free_object(obj) is obj
        self.reference.free_object(obj)

    @rule(obj=st.one_of(st.integers(-3, 42), st.integers()))
    def free_any_int(self, obj):
        assert same(result_of(self.ours.free_object, obj), result_of(self.reference.free_object, obj))

    @rule(obj=ODD)
    def free_something_odd(self, obj):
        assert same(result_of(self.ours.free_object, obj), result_of(self.reference.free_object, obj))

    @invariant()
    def shows_the_same(self):
        assert list(self.ours.object_pool) == list(self.reference.object_pool)
        assert self.ours.allocated_objects == self.reference.allocated_objects
        assert self.ours.freed_objects == self.reference.freed_objects


Comparison.TestCase.settings = settings(stateful_step_count=60, deadline=None)
TestAgainstTheReference = Comparison.TestCase


# --- A good citizen of Python.


def test_a_subclass_has_its_own_arguments():
    class Labelled(ObjectMgr):
        def __init__(self, n, label):
            super().__init__(n)
            self.label = label

        def get_object(self):
            return self.label, super().get_object()

    mgr = Labelled(3, label="seat")
    assert [mgr.get_object() for _ in range(3)] == [("seat", 1), ("seat", 2), ("seat", None)]
    assert mgr.free_object(1) == 1


def test_a_subclass_that_forgets_the_init_has_no_ids():
    class Forgets(ObjectMgr):
        def __init__(self):
            pass

    assert Forgets().get_object() is None


def test_weak_references_work_and_cycles_through_a_subclass_are_collected():
    class Labelled(ObjectMgr):
        pass

    plain = ObjectMgr(3)
    gone = weakref.ref(plain)
    del plain
    assert gone() is None
    mgr = Labelled(3)
    mgr.itself = mgr
    gone = weakref.ref(mgr)
    del mgr
    gc.collect()
    assert gone() is None


def test_the_methods_are_documented_and_have_signatures():
    assert str(inspect.signature(ObjectMgr)) == "(n, *, inclusive=False, order='fifo', seed=None)"
    assert str(inspect.signature(ObjectMgr.get_object)) == "(self, /)"
    assert str(inspect.signature(ObjectMgr.free_object)) == "(self, obj, /)"
    for documented in (ObjectMgr, ObjectMgr.get_object, ObjectMgr.free_object, ObjectMgr.freed_objects):
        assert "Example:\n" in inspect.getdoc(documented)


# --- Memory.


def test_a_billion_ids_cost_no_time_and_no_memory():
    spent = in_a_child("""
        import time
        from design.objectmgr import ObjectMgr

        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1])

        ObjectMgr(10).get_object()
        before = resident()
        times, kept = [], []
        for n in (10**9, 2**32, 2**62, 2**63) * 25:
            begin = time.perf_counter()
            kept.append(ObjectMgr(n))
            times.append(time.perf_counter() - begin)
            assert kept[-1].get_object() == 1
        print(sorted(times)[len(times) // 2] < 1e-3, (resident() - before) * 4096 / len(kept))
    """)
    fast, each = spent.split()
    assert fast == "True"
    assert float(each) < 16 * 1024  # A page of the bitmap for the first id, and nothing else.


def test_freed_ids_give_their_memory_back_when_they_are_given_again():
    out = in_a_child("""
        from design.objectmgr import ObjectMgr

        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * 4096

        n = 4_000_001
        mgr = ObjectMgr(n)
        while mgr.get_object() is not None:
            pass
        given = resident()
        for i in range(1, n):
            mgr.free_object(i)
        freed = resident()
        while mgr.get_object() is not None:
            pass
        print((freed - given) / n, (resident() - given) / n)
    """)
    freed, drained = map(float, out.split())
    assert 3.5 < freed < 4.5
    assert drained < 0.5


def test_where_there_is_no_memory_a_free_raises_and_the_id_stays_allocated():
    # In a child, because the limit is for the process.
    out = in_a_child("""
        import resource
        from design.objectmgr import ObjectMgr

        n = 8_000_000
        mgr = ObjectMgr(n)
        while mgr.get_object() is not None:
            pass
        with open("/proc/self/statm") as statm:
            size = int(statm.read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + (12 << 20), resource.RLIM_INFINITY))
        i = 1
        try:
            while i < n:
                mgr.free_object(i)
                i += 1
        except MemoryError:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            assert 1_000_000 < i < n
            assert mgr.free_object(i) == i  # It was not freed, and now there is room.
            assert [mgr.get_object() for _ in range(3)] == [1, 2, 3]
            print("refused")
    """)
    assert out == "refused"


def test_an_id_that_cannot_become_an_int_stays_free():
    pytest.importorskip("_testcapi")
    out = in_a_child("""
        import _testcapi
        from design.objectmgr import ObjectMgr

        def starved(call):
            _testcapi.set_nomemory(0)
            try:
                call()
            except MemoryError:
                return True
            finally:
                _testcapi.remove_mem_hooks()

        # Small ints exist already, and others may be made of one that was freed, without asking for memory.
        first = 2**40
        mgr = ObjectMgr(range(first, first + 1002))
        for _ in range(1000):
            mgr.get_object()
        assert starved(mgr.get_object)
        assert mgr.object_pool == range(first + 1000, first + 1002), mgr.object_pool
        assert [mgr.get_object(), mgr.get_object(), mgr.get_object()] == [first + 1000, first + 1001, None]
        freed = [first + i for i in (500, 400, 600)]
        for i in freed:
            mgr.free_object(i)
        assert starved(mgr.get_object)
        assert list(mgr.freed_objects) == freed, list(mgr.freed_objects)
        assert not mgr.allocated_objects & set(freed)
        assert [mgr.get_object() for _ in range(4)] == [*freed, None]
        assert starved(lambda: mgr.free_object(first + 700.0))
        assert first + 700 in mgr.allocated_objects
        print("kept")
    """)
    assert out == "kept"


# --- Threads.


def test_threads_never_hold_the_same_id_and_lose_none():
    threads, rounds, n = 8, 1_250_000, 101  # 10 million times
    mgr = ObjectMgr(n)
    holder = [None] * n
    failures = []
    start = threading.Barrier(threads)

    def work(me):
        held = []
        start.wait()
        for turn in range(rounds):
            i = mgr.get_object()
            if i is not None:
                if holder[i] is not None:
                    failures.append((i, holder[i], me))
                holder[i] = me
                held.append(i)
            if held and (i is None or turn % 3 == 0 or len(held) > 15):
                j = held.pop(0)
                if holder[j] != me:
                    failures.append((j, holder[j], me))
                holder[j] = None
                mgr.free_object(j if turn % 64 else float(j))
        for j in held:
            holder[j] = None
            mgr.free_object(j)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        workers = [threading.Thread(target=work, args=(me,)) for me in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert mgr.allocated_objects == set()
    assert sorted([*mgr.object_pool, *mgr.freed_objects]) == list(range(1, n))


def test_of_many_who_free_one_id_one_succeeds():
    threads = 8
    mgr = ObjectMgr(2)
    start = threading.Barrier(threads)
    successes = []

    def work():
        for _ in range(200):
            start.wait()
            with contextlib.suppress(ValueError):
                successes.append(mgr.free_object(1))
            if start.wait() == 0:
                mgr.get_object()

    mgr.get_object()
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert successes == [1] * 200


def test_snapshots_are_consistent_while_threads_work():
    n = 64
    mgr = ObjectMgr(n)
    done = threading.Event()

    def work():
        while not done.is_set():
            got = [mgr.get_object() for _ in range(5)]
            for i in got:
                if i is not None:
                    mgr.free_object(i)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    end = time.monotonic() + 0.3
    try:
        while time.monotonic() < end:
            freed = list(mgr.freed_objects)
            assert len(freed) == len(set(freed))
            assert len(mgr.allocated_objects) <= 20
            assert mgr.object_pool.stop == n
    finally:
        done.set()
        for worker in workers:
            worker.join()
    assert len(mgr.freed_objects) + len(mgr.object_pool) == n - 1
