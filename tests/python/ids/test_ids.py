"""What the integer manager has beside the drop-in: ranges, orders, batches, neighbours, reserved ids, bytes."""

from __future__ import annotations

import copy
import heapq
import pickle
import random
import sys
import threading
import weakref
from array import array
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from opool import ObjectMgr
from support import LIMIT, run_child

ORDERS = ["fifo", "lowest", "random"]


def manager(n, order):
    return ObjectMgr(n, order=order, seed=7 if order == "random" else None)


def snapshot(mgr):
    return mgr.dump(), list(mgr), mgr.available


# --- The range.


@pytest.mark.parametrize(
    "ids", [range(8000, 9000), range(-5, 5), range(-(2**63), -(2**63) + 9), range(2**63 - 3, 2**63)], ids=repr
)
def test_a_range_says_which_ids_there_are(ids):
    for order in ORDERS:
        mgr = manager(ids, order)
        assert (mgr.ids, mgr.available, len(mgr)) == (ids, len(ids), 0)
        given_ids = mgr.get_many(len(ids))
        assert sorted(given_ids) == list(ids)
        assert mgr.get_object() is None
        assert list(mgr) == list(ids)
        mgr.free_many(given_ids)
        assert (len(mgr), mgr.available) == (0, len(ids))


def test_a_range_without_ids_is_an_empty_manager():
    for ids in (range(0), range(5, 3), range(5, 5)):
        assert ObjectMgr(ids).get_object() is None
        assert list(ObjectMgr(ids).ids) == []


def test_a_range_in_steps_is_refused():
    for step in (2, -1):
        with pytest.raises(ValueError, match=f"a step of 1, not {step}"):
            ObjectMgr(range(0, 10, step))


@pytest.mark.parametrize(
    "ids", [range(2**63 + 1), range(-(2**63) - 1, 5), range(2**63, 2**64), range(-(2**63), 1), range(10**30)]
)
def test_a_range_beyond_the_ids_is_refused_and_named(ids):
    with pytest.raises(OverflowError, match="ids reach from") as caught:
        ObjectMgr(ids)
    assert repr(ids) in str(caught.value)


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="inclusive"):
        ObjectMgr(range(5), inclusive=True)
    with pytest.raises(ValueError, match="order must be 'fifo', 'lowest' or 'random'"):
        ObjectMgr(5, order="lifo")
    with pytest.raises(ValueError, match="seed"):
        ObjectMgr(5, seed=1)
    with pytest.raises(TypeError):
        ObjectMgr(5, order="random", seed="x")


# --- The orders.


def test_the_lowest_free_id_goes_first():
    mgr = ObjectMgr(range(100, 110), order="lowest")
    assert mgr.get_many(5) == [100, 101, 102, 103, 104]
    mgr.free_many([103, 101])
    assert [mgr.get_object() for _ in range(4)] == [101, 103, 105, 106]
    assert (mgr.object_pool, list(mgr.freed_objects)) == (range(107, 110), [])


@settings(deadline=None)
@given(st.integers(0, 2**64), st.integers(1, 4000), st.integers(0, 400))
def test_lowest_first_is_what_a_heap_gives(seed, n, calls):
    chance = random.Random(seed)
    mgr, heap, out = ObjectMgr(range(n), order="lowest"), list(range(n)), []
    for _ in range(calls):
        if out and chance.random() < 0.4:
            i = out.pop(chance.randrange(len(out)))
            heapq.heappush(heap, mgr.free_object(i))
        elif chance.random() < 0.2:
            k = min(chance.randrange(60), len(heap))
            expected = [heapq.heappop(heap) for _ in range(k)]
            assert mgr.get_many(k) == expected
            out += expected
        else:
            expected = heapq.heappop(heap) if heap else None
            assert mgr.get_object() == expected
            out += [] if expected is None else [expected]


def test_the_same_seed_gives_the_same_ids():
    def ids(seed):
        mgr = ObjectMgr(10**6, order="random", seed=seed)
        return [mgr.get_object() for _ in range(20)]

    assert ids(5) == ids(5) == ids(5 + 2**64)
    assert len({tuple(ids(seed)) for seed in (1, 2, -1, None, None)}) == 5
    # The same on every machine and in every version.
    assert ids(5)[:4] == [386768, 752307, 232709, 99340]


def test_every_random_order_is_as_likely_as_the_others():
    counts = dict.fromkeys(permutations(range(4)), 0)
    for seed in range(24_000):
        counts[tuple(ObjectMgr(range(4), order="random", seed=seed).get_many(4))] += 1
    # The mean is 1,000 and the deviation 31. The seeds are given, so this cannot fail by chance.
    assert all(850 < count < 1150 for count in counts.values()), counts


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 1000, 70_000])
def test_a_random_manager_gives_every_id_once_however_full_it_is(n):
    mgr = ObjectMgr(range(n), order="random", seed=n)
    for _ in range(2):
        ids = [mgr.get_object() for _ in range(n)]
        assert sorted(ids) == list(range(n))
        assert mgr.get_object() is None
        mgr.free_many(ids)


def test_random_ids_of_a_huge_range_take_memory_for_what_is_given_only():
    out = run_child("""
        from opool import ObjectMgr
        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * 4096
        mgr = ObjectMgr(2**63, order="random", seed=1)
        before = resident()
        ids = mgr.get_many(20_000)
        each = (resident() - before) / 20_000
        assert list(mgr) == sorted(ids)
        mgr.free_many(ids)
        assert list(mgr) == []
        print(each)
    """).stdout
    assert float(out) < 400


def test_a_random_manager_with_almost_everything_excluded_finds_what_is_left():
    mgr = ObjectMgr(range(2**62 + 10), order="random", seed=3)
    mgr.exclude(range(5, 2**62))
    assert sorted(mgr.get_many(15)) == [*range(5), *range(2**62, 2**62 + 10)]
    assert mgr.get_object() is None


# --- Several at once.


@pytest.mark.parametrize("order", ORDERS)
def test_get_many_gives_what_get_object_would_or_nothing(order):
    one, many = manager(100, order), manager(100, order)
    for mgr in (one, many):
        mgr.get_many(40)
        mgr.free_many(list(mgr)[::3])
    assert many.get_many(50) == [one.get_object() for _ in range(50)]
    assert one == many
    left = many.available
    before = snapshot(many)
    assert many.get_many(left + 1) is None
    assert many.get_many(2**70) is None
    assert many.get_many(0) == []
    assert snapshot(many) == before
    assert len(many.get_many(left)) == left


def test_how_many_must_be_a_number_that_is_not_negative():
    mgr = ObjectMgr(5)
    for method in (mgr.get_many, mgr.get_range):
        with pytest.raises(ValueError, match="k must not be negative: -1"):
            method(-1)
        with pytest.raises(TypeError):
            method("1")
        with pytest.raises(TypeError):
            method(1.0)
    assert mgr == ObjectMgr(5)


@pytest.mark.parametrize("kind", "bBhHiIlLqQ")
def test_a_buffer_of_any_kind_of_int_is_filled(kind):
    mgr = ObjectMgr(100)
    mgr.get_many(10)
    numbers = array(kind, [0] * 8)
    assert mgr.get_into(memoryview(numbers)[2:])
    assert numbers.tolist() == [0, 0, *range(11, 17)]
    mgr.free_many(numbers[2:])
    assert len(mgr) == 10


@pytest.mark.parametrize("order", ORDERS)
def test_a_buffer_is_filled_as_a_list_is(order):
    one, other = manager(10**6, order), manager(10**6, order)
    numbers = array("q", bytes(80_000))
    assert one.get_into(numbers)
    assert numbers.tolist() == other.get_many(10_000)
    assert one == other


def test_a_buffer_is_left_alone_if_there_are_not_so_many():
    mgr = ObjectMgr(5)
    numbers = array("i", [7] * 5)
    assert mgr.get_into(numbers) is False
    assert numbers.tolist() == [7] * 5
    assert mgr == ObjectMgr(5)


def test_a_buffer_whose_elements_are_too_small_is_refused():
    with pytest.raises(OverflowError, match="ints of 16 bits"):
        ObjectMgr(2**16 + 1).get_into(array("H", [0]))
    with pytest.raises(OverflowError):
        ObjectMgr(range(-1, 5)).get_into(array("Q", [0]))
    assert ObjectMgr(2**16).get_into(array("H", [0]))


def test_what_is_no_buffer_of_ints_is_refused():
    for odd in (b"1234", [0, 0], array("d", [0.0]), memoryview(array("i", range(8)))[::2], 5, "text"):
        with pytest.raises((TypeError, BufferError)):
            ObjectMgr(5).get_into(odd)


# --- Freed together.


def batches(ids):
    yield list(ids)
    yield tuple(ids)
    yield iter(ids)
    yield dict.fromkeys(ids)
    yield array("q", ids)
    yield array("I", ids)
    yield memoryview(array("H", ids))
    yield bytes(ids)
    yield [Index(i) for i in ids]


class Index:
    def __init__(self, i):
        self.i = i

    def __index__(self):
        return self.i


@pytest.mark.parametrize("order", ORDERS)
def test_any_iterable_of_ids_is_freed_in_its_order(order):
    ids = [5, 3, 9, 4]
    for batch in batches(ids):
        mgr = manager(range(10), order)
        mgr.get_many(10)
        assert mgr.free_many(batch) is None
        assert list(mgr) == [0, 1, 2, 6, 7, 8]
        if order == "fifo":
            assert list(mgr.freed_objects) == ids


@pytest.mark.parametrize("order", ORDERS)
def test_a_wrong_id_in_a_batch_is_named_and_changes_nothing(order):
    wrong = [
        ([2, 3, 3], "3 stands among the ids more than once"),
        ([2, 3, 50], "50 is not currently allocated"),
        ([2, 2**70], f"{2**70} is not currently allocated"),
        ([2, -1], "-1 is not currently allocated"),
        (range(2, 7), "5 is not currently allocated"),
        (range(2, 2**70), "is not currently allocated"),
        (range(3, -3, -1), "0 is not currently allocated"),
        (array("Q", [2, 2**64 - 1]), f"{2**64 - 1} is not currently allocated"),
        (bytes([2, 2]), "2 stands among the ids more than once"),
    ]
    mgr = manager(9, order)
    mgr.get_many(8)
    mgr.free_many([5, 8])
    before = snapshot(mgr)
    for ids, message in wrong:
        with pytest.raises(ValueError, match=message):
            mgr.free_many(ids)
        assert snapshot(mgr) == before
    for ids in ([2, "3"], [2, 3.0], [2, None], 5, None, array("d", [2.0])):
        with pytest.raises(TypeError):
            mgr.free_many(ids)
        assert snapshot(mgr) == before


def test_an_iterable_that_fails_or_meddles_changes_nothing_else():
    mgr = ObjectMgr(9)
    mgr.get_many(8)

    def meddles():
        yield 1
        mgr.free_object(1)
        yield 2

    with pytest.raises(ValueError, match="1 is not currently allocated"):
        mgr.free_many(meddles())
    assert list(mgr.freed_objects) == [1]

    def fails():
        yield 2
        raise LookupError

    with pytest.raises(LookupError):
        mgr.free_many(fails())
    assert list(mgr.freed_objects) == [1]


def test_nothing_is_freed_by_nothing():
    mgr = ObjectMgr(3)
    for nothing in ([], (), range(0), range(5, 2), range(2**80, 2**70), b"", array("q")):
        mgr.free_many(nothing)
    assert mgr == ObjectMgr(3)


# --- Neighbours.


def test_neighbours_are_fresh_if_there_are_enough_and_else_the_lowest():
    mgr = ObjectMgr(range(20))
    assert mgr.get_range(8) == range(8)
    mgr.free_many([1, 2, 3, 5])
    assert mgr.get_range(12) == range(8, 20)
    assert mgr.get_range(4) is None
    assert mgr.get_range(2) == range(1, 3)
    assert [mgr.get_object() for _ in range(3)] == [3, 5, None]
    mgr.free_many(range(20))
    assert mgr.get_range(20) == range(20)


def test_lowest_first_gives_the_lowest_neighbours():
    mgr = ObjectMgr(range(20), order="lowest")
    mgr.get_many(10)
    mgr.free_many([2, 3, 5, 6, 7, 9])
    assert mgr.get_range(3) == range(5, 8)
    assert mgr.get_range(3) == range(9, 12)
    assert mgr.get_range(2) == range(2, 4)


def test_chance_finds_neighbours_wherever_they_are():
    mgr = ObjectMgr(range(200_000), order="random", seed=1)
    mgr.exclude(range(0, 200_000, 3))
    assert mgr.get_range(3) is None
    found = [mgr.get_range(2) for _ in range(200_000 // 3)]
    assert None not in found
    assert len({run.start for run in found}) == len(found)
    assert mgr.get_range(2) is None
    assert found != sorted(found, key=lambda run: run.start)


@pytest.mark.parametrize("order", ORDERS)
def test_neighbours_that_are_not_to_be_had_change_nothing(order):
    mgr = manager(range(100), order)
    before = snapshot(mgr)
    assert mgr.get_range(101) is None
    assert mgr.get_range(10**30) is None
    assert len(mgr.get_range(0)) == 0
    if order != "random":
        assert snapshot(mgr) == before
    assert mgr.get_range(100) == range(100)


# --- Reserved and excluded.


@pytest.mark.parametrize("order", ORDERS)
def test_a_reserved_id_is_given_to_nobody_else_and_comes_back_like_any(order):
    mgr = manager(range(10), order)
    assert mgr.reserve(4) == 4
    assert mgr.reserve(4) is None
    assert 4 in mgr
    assert len(mgr) == 1
    assert sorted(mgr.get_many(9)) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert mgr.free_object(4) == 4
    assert mgr.get_object() == 4


def test_a_freed_id_that_is_reserved_leaves_the_queue():
    mgr = ObjectMgr(range(5))
    mgr.get_many(5)
    mgr.free_many([3, 1, 2])
    assert mgr.reserve(1) == 1
    assert (list(mgr.freed_objects), mgr.available) == ([3, 2], 2)
    mgr.free_object(1)
    assert list(mgr.freed_objects) == [3, 2, 1]
    assert [mgr.get_object() for _ in range(4)] == [3, 2, 1, None]


def test_reserving_and_freeing_one_id_for_ever_costs_no_memory():
    mgr = ObjectMgr(range(1000))
    mgr.get_many(1000)
    mgr.free_many(range(1000))
    for _ in range(20_000):
        assert mgr.reserve(500) == 500
        mgr.free_object(500)
    expected = [*range(500), *range(501, 1000), 500]
    assert list(mgr.freed_objects) == expected
    assert mgr.get_many(1000) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_an_excluded_id_is_never_given(order):
    mgr = manager(range(1000), order)
    mgr.exclude(range(100, 900))
    mgr.exclude([5, 3, 4, 5])
    mgr.exclude(range(0))
    assert mgr.excluded == [range(3, 6), range(100, 900)]
    assert mgr.available == 197
    ids = mgr.get_many(197)
    assert not set(ids) & {3, 4, 5, *range(100, 900)}
    assert mgr.get_object() is None
    mgr.free_many(ids)
    mgr.exclude([ids[0]])
    assert sorted(mgr.get_many(196)) == sorted(ids[1:])


@pytest.mark.parametrize("order", ORDERS)
def test_what_cannot_be_reserved_or_excluded_is_named_and_changes_nothing(order):
    mgr = manager(range(10, 20), order)
    mgr.exclude([19])
    mgr.reserve(12)
    before = snapshot(mgr)
    with pytest.raises(ValueError, match="19 is excluded"):
        mgr.reserve(19)
    for i in (9, 20, 2**70):
        with pytest.raises(ValueError, match=f"{i} is not an id of the range"):
            mgr.reserve(i)
        with pytest.raises(ValueError, match=f"{i} is not an id of the range"):
            mgr.exclude([11, i])
    for ids in ([11, 12], range(10, 14)):
        with pytest.raises(ValueError, match="12 is currently allocated"):
            mgr.exclude(ids)
    with pytest.raises(TypeError):
        mgr.exclude(["11"])
    with pytest.raises(ValueError, match="^19 is not currently allocated|^Object is not currently allocated.$"):
        mgr.free_object(19)
    assert snapshot(mgr) == before


# --- A collection.


def test_it_is_a_collection_of_what_is_given():
    mgr = ObjectMgr(range(-3, 10))
    assert (list(mgr), len(mgr), bool(mgr), 1 in mgr) == ([], 0, True, False)
    mgr.get_many(6)
    mgr.free_object(-1)
    assert list(mgr) == [-3, -2, 0, 1, 2]
    assert len(mgr) == 5
    for inside in (-3, -2, 1, 1.0, True, -2.0):
        assert inside in mgr
    for outside in (-1, 3, 50, 2**70, 1.5, "1", None, (1,), {1}, -1.0):
        assert outside not in mgr
    with pytest.raises(TypeError, match="unhashable"):
        [1] in mgr  # noqa: B015
    assert repr(mgr) == "<opool.ObjectMgr range(-3, 10): order 'fifo', given 5, available 8>"


@pytest.mark.parametrize("i", [-1, -2, -(2**61), 1 - 2**61, -(2**63), 2**61 - 1, 2**61, 2**62, 2**63 - 1, 0])
def test_an_equal_number_is_found_wherever_its_hash_is(i):
    mgr = ObjectMgr(range(-(2**63), 0) if i < 0 else range(2**63))
    mgr.reserve(i)

    class Same:
        def __hash__(self):
            return hash(i)

        def __eq__(self, other):
            return i == other

    assert Same() in mgr
    assert mgr.free_object(Same()) is not None
    assert Same() not in mgr


@pytest.mark.parametrize("order", ORDERS)
def test_ids_may_come_and_go_while_one_goes_through_them(order):
    mgr = manager(range(200_000), order)
    mgr.get_range(100_000)
    given_ids = list(mgr)
    seen = []
    for i in mgr:
        seen.append(i)
        mgr.free_object(i)
        if i % 1000 == 0:
            mgr.get_object()
    assert set(seen) >= set(given_ids)
    assert seen == sorted(set(seen))
    assert iter(mgr) is not iter(mgr)


def test_an_iterator_keeps_its_manager_and_is_collected_with_it():
    class Labelled(ObjectMgr):
        pass

    mgr = Labelled(5)
    mgr.get_many(2)
    ids = iter(mgr)
    mgr.ids_of_mine = ids
    gone = weakref.ref(mgr)
    del mgr
    assert list(ids) == [1, 2]
    del ids
    import gc

    gc.collect()
    assert gone() is None


# --- Equality and keeping.


def used(order, n=1000):
    mgr = manager(range(n), order)
    mgr.exclude(range(500, 510))
    mgr.get_many(60)
    mgr.reserve(*[i for i in (700, 701) if i not in mgr][:1])
    mgr.free_many(list(mgr)[::4])
    return mgr


def copies(mgr):
    yield copy.copy(mgr)
    yield copy.deepcopy(mgr)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(mgr, protocol))
    for data in (mgr.dump(), bytearray(mgr.dump()), memoryview(mgr.dump())):
        yield type(mgr).load(data)


@pytest.mark.parametrize("order", ORDERS)
def test_a_copy_is_equal_and_goes_on_alike_and_alone(order):
    for other in copies(used(order)):
        mgr = used(order)
        assert other == mgr
        assert (other != mgr) is False
        assert (list(other), other.excluded, other.ids) == (list(mgr), mgr.excluded, mgr.ids)
        i = other.get_object()
        assert other != mgr
        assert mgr.get_object() == i
        assert other == mgr
        ids = list(mgr)
        assert [mgr.free_many(ids), other.free_many(ids)] == [None, None]
        assert mgr.get_many(300) == other.get_many(300)


def test_managers_are_equal_if_they_show_and_give_the_same():
    def made(*steps, n=20, order="fifo"):
        mgr = manager(n, order)
        for step in steps:
            step(mgr)
        return mgr

    assert made() == made()
    assert made(lambda m: m.get_many(3)) == made(lambda m: m.get_range(3))
    assert made(lambda m: m.get_many(3)) == made(*[lambda m, i=i: m.reserve(i) for i in (2, 3, 1)])
    different = [
        made(),
        made(n=21),
        made(n=range(20)),
        made(order="lowest"),
        made(order="random"),
        made(lambda m: m.get_object()),
        made(lambda m: m.reserve(2)),
        made(lambda m: m.exclude([1])),
        made(lambda m: m.free_many(m.get_many(2))),
        made(lambda m: m.free_many(m.get_many(2)[::-1])),
        ObjectMgr(20, order="random", seed=8),
        1,
        None,
        range(1, 20),
    ]
    for i, one in enumerate(different):
        for j, other in enumerate(different):
            assert (one == other) is (i == j), (one, other)
    with pytest.raises(TypeError, match="unhashable"):
        hash(made())


def test_a_subclass_is_kept_with_what_it_has_added():
    mgr = Ports(range(8000, 8010))
    mgr.note = ["mine"]
    mgr.get_object()
    for other in (copy.copy(mgr), pickle.loads(pickle.dumps(mgr))):
        assert type(other) is Ports
        assert (other.note, list(other)) == (["mine"], [8000])
    assert type(Ports.load(mgr.dump())) is Ports
    assert "Ports range(8000, 8010)" in repr(mgr)


class Ports(ObjectMgr):
    pass


def test_what_is_no_dump_is_refused_and_changes_nothing():
    mgr = ObjectMgr(5)
    for data in (b"", b"opoolids", mgr.dump()[:-1], mgr.dump() + b"\0", bytes(500)):
        with pytest.raises(ValueError, match="no dump of an ObjectMgr"):
            ObjectMgr.load(data)
        with pytest.raises(ValueError, match="no dump of an ObjectMgr"):
            mgr.__setstate__((data, None))
    for data in ("text", None, 5, array("d", [1.0])):
        with pytest.raises((TypeError, BufferError)):
            ObjectMgr.load(data)
    assert mgr == ObjectMgr(5)


def roaring(mgr):
    data = mgr.dump()
    return data[80 : 80 + int.from_bytes(data[48:56], "little")], data[10]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "ids", [range(1, 300_000), range(2**32 - 200_000, 2**32), range(2**32 - 9000, 2**33), range(2**62, 2**63)], ids=repr
)
def test_a_stock_roaring_library_reads_what_is_given_and_writes_the_same(ids, order):
    pyroaring = pytest.importorskip("pyroaring")
    mgr = manager(ids, order)
    mgr.get_range(70_000)
    mgr.get_many(5000)
    mgr.free_many(list(mgr)[100:60_000:3])
    data, bits = roaring(mgr)
    kind = {32: pyroaring.BitMap, 64: pyroaring.BitMap64}[bits]
    assert bits == (32 if ids.stop <= 2**32 else 64)
    read = kind.deserialize(data)
    assert list(read) == list(mgr)
    # Theirs, without runs and with them, is read here too.
    for optimised in (False, True):
        theirs = kind(list(mgr))
        if optimised:
            theirs.run_optimize()
        theirs = theirs.serialize()
        whole = mgr.dump()
        again = whole[:48] + len(theirs).to_bytes(8, "little") + whole[56:80] + theirs + whole[80 + len(data) :]
        assert ObjectMgr.load(again) == mgr


def test_a_negative_id_stands_in_the_bitmap_as_its_two_s_complement():
    pyroaring = pytest.importorskip("pyroaring")
    mgr = ObjectMgr(range(-70_000, 70_000))
    mgr.get_many(140_000)
    mgr.free_many(range(-100, 100))
    data, bits = roaring(mgr)
    assert bits == 64
    assert sorted(i - 2**64 if i >= 2**63 else i for i in pyroaring.BitMap64.deserialize(data)) == list(mgr)


# --- The end of the range.


@pytest.mark.parametrize("order", ORDERS)
def test_the_end_of_the_range_moves(order):
    mgr = manager(4, order)
    mgr.get_many(3)
    assert mgr.get_object() is None
    mgr.resize(100_000)
    assert mgr.ids == range(1, 100_000)
    rest = mgr.get_many(99_996)
    assert sorted(rest) == list(range(4, 100_000))
    mgr.free_many(rest)
    mgr.resize(5, inclusive=True)
    assert (mgr.ids, mgr.available) == (range(1, 6), 2)
    assert sorted(mgr.get_many(2)) == [4, 5]
    before = snapshot(mgr)
    with pytest.raises(ValueError, match="4 is currently allocated"):
        mgr.resize(4)
    with pytest.raises(OverflowError, match="n is too large"):
        mgr.resize(2**63 + 1)
    assert snapshot(mgr) == before
    mgr.free_many(list(mgr))
    mgr.resize(-(10**30))
    assert (len(mgr.ids), mgr.get_object()) == (0, None)
    mgr.resize(2**63)
    assert mgr.available == 2**63 - 1


# --- Against a model, all together.


class Model(RuleBasedStateMachine):
    """Sets and lists, and `order` by its definition."""

    @initialize(start=st.integers(-70, 70), n=st.integers(0, 200), order=st.sampled_from(ORDERS))
    def begin(self, start, n, order):
        self.mgr = manager(range(start, start + n), order)
        self.order, self.all, self.out, self.gone, self.queue = order, range(start, start + n), set(), set(), []
        self.touched = set()

    def free(self):
        return set(self.all) - self.out - self.gone

    def expected(self):
        free = self.free()
        fresh = free - self.touched
        if self.order == "lowest":
            return min(free, default=None)
        return min(fresh) if fresh else next(iter(self.queue), None)

    def give(self, i):
        assert i in self.free()
        self.out.add(i)
        self.touched.add(i)
        self.queue = [j for j in self.queue if j != i]

    @rule(k=st.integers(0, 30))
    def get(self, k):
        enough = k <= len(self.free())
        ids = self.mgr.get_many(k)
        assert (ids is not None) is enough
        for i in ids or ():
            if self.order != "random":
                assert i == self.expected()
            self.give(i)

    @rule(k=st.integers(1, 20))
    def get_range(self, k):
        free = self.free()
        runs = [i for i in self.all if all(i + j in free for j in range(k))]
        run = self.mgr.get_range(k)
        assert (run is not None) is bool(runs)
        if run is not None:
            assert run.start in runs
            assert len(run) == k
            if self.order == "lowest":
                assert run.start == runs[0]
            for i in run:
                self.give(i)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def free_many(self, data):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.out)), max_size=20, unique=True))
        self.mgr.free_many(ids)
        self.out -= set(ids)
        self.queue += ids

    @rule(ids=st.lists(st.integers(-100, 300), max_size=6))
    def free_some(self, ids):
        if len(set(ids)) == len(ids) and set(ids) <= self.out:
            self.mgr.free_many(ids)
            self.out -= set(ids)
            self.queue += ids
        else:
            with pytest.raises(ValueError):
                self.mgr.free_many(ids)

    @rule(i=st.integers(-100, 300))
    def reserve(self, i):
        if i not in self.all or i in self.gone:
            with pytest.raises(ValueError):
                self.mgr.reserve(i)
        elif i in self.out:
            assert self.mgr.reserve(i) is None
        else:
            assert self.mgr.reserve(i) == i
            self.give(i)

    @rule(start=st.integers(-80, 280), n=st.integers(1, 10))
    def exclude(self, start, n):
        ids = range(start, start + n)
        if set(ids) <= set(self.all) and not set(ids) & self.out:
            self.mgr.exclude(ids)
            self.gone |= set(ids)
            self.queue = [i for i in self.queue if i not in ids]
        else:
            with pytest.raises(ValueError):
                self.mgr.exclude(ids)

    @rule(n=st.integers(-80, 400))
    def resize(self, n):
        if any(i >= n for i in self.out):
            with pytest.raises(ValueError):
                self.mgr.resize(n)
        else:
            self.mgr.resize(n)
            self.all = range(self.all.start, max(n, self.all.start))
            self.gone &= set(self.all)
            self.touched &= set(self.all)
            self.queue = [i for i in self.queue if i in self.all]

    @rule()
    def reload(self):
        self.mgr = pickle.loads(pickle.dumps(self.mgr))

    @invariant()
    def shows_the_same(self):
        assert list(self.mgr) == sorted(self.out)
        assert len(self.mgr) == len(self.out)
        assert self.mgr.available == len(self.free())
        assert self.mgr.ids == self.all
        assert [i for span in self.mgr.excluded for i in span] == sorted(self.gone)
        if self.order == "fifo":
            assert list(self.mgr.freed_objects) == self.queue
        if self.order != "random":
            # What is fresh, and what came back, is all that is free.
            assert set(self.mgr.freed_objects) | set(self.mgr.object_pool) >= self.free()


Model.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestAgainstAModel = Model.TestCase


# --- Memory and threads.


@pytest.mark.parametrize("order", ["fifo", "lowest"])
def test_a_billion_given_ids_take_120_mib_and_what_is_freed_4_bytes_until_it_is_given_again(order):
    # A hundred million, which takes a second: the bytes an id are the same.
    out = run_child(
        f"""
        from array import array
        from opool import ObjectMgr
        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * 4096
        n = 10**8
        numbers = array("I", [0]) * 10**5
        small = ObjectMgr(range(10**6), order={order!r})  # so that its code is in memory before it is measured
        small.free_many(small.get_range(10**5))
        assert small.get_into(numbers)
        mgr = ObjectMgr(range(n), order={order!r})
        before = resident()
        assert mgr.get_range(n) == range(n)
        given = resident()
        mgr.free_many(range(20_000_000))
        freed = resident()
        while mgr.available:
            assert mgr.get_into(numbers)
        drained = resident()
        print((given - before) / n, (freed - given) / 20_000_000, (drained - given) / 20_000_000)
        """,
        timeout=LIMIT,
    ).stdout
    given_each, freed_each, drained_each = map(float, out.split())
    assert given_each * 10**9 < 122 * 2**20
    assert freed_each < 4.3
    assert drained_each < 1.0


def test_eight_threads_and_ten_million_calls_give_no_id_twice():
    threads, n = 8, 400
    holder = bytearray(n)
    failures = []

    def one_by_one(me, mgr):
        for _ in range(400_000):
            i = mgr.get_object()
            if holder[i]:
                failures.append((i, holder[i], me))
            holder[i] = me
            holder[i] = 0
            mgr.free_object(i)

    def together(me, mgr):
        numbers = array("I", bytes(4 * 25))
        for turn in range(6000):
            if turn % 3 == 0:
                ids = mgr.get_range(25) or ()
            elif turn % 3 == 1:
                ids = mgr.get_many(25)
            else:
                ids = numbers
                assert mgr.get_into(numbers)
            for i in ids:
                if holder[i]:
                    failures.append((i, holder[i], me))
                holder[i] = me
            for i in ids:
                holder[i] = 0
            mgr.free_many(ids)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        for work, order in [(one_by_one, "fifo"), *((together, order) for order in ORDERS)]:
            mgr = manager(range(n), order)
            start = threading.Barrier(threads)

            def run(me, work=work, mgr=mgr, start=start):
                start.wait()
                work(me, mgr)

            workers = [threading.Thread(target=run, args=(me,)) for me in range(1, threads + 1)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert failures == []
            assert (len(mgr), mgr.available) == (0, n)
    finally:
        sys.setswitchinterval(interval)
