"""`design.opool` and `design.opool_sample` answer as the originals did: step by step beside a reference."""

import queue

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import opool
from design import opool as design_pool
from design import opool_sample
from parity.references import pool as reference
from support import Crew, Hit, Thing, eventually, threads

OBJECTS = st.one_of(st.integers(-3, 3), st.none(), st.booleans(), st.text(max_size=2), st.builds(list))


def outcome(call):
    """What `call` returns, or the type of what it raises."""
    try:
        return "returned", call()
    except Exception as error:
        return "raised", type(error)


def same(left, right):
    """Equal outcomes; a returned object must be the very same one."""
    return left[0] == right[0] and left[1] is right[1]


class PoolMachine(RuleBasedStateMachine):
    """The drop-in and the reference take every step together; leases are kept in pairs."""

    @initialize(objects=st.lists(OBJECTS, max_size=6), lazily=st.booleans())
    def make(self, objects, lazily):
        self.ours = design_pool.Pool(iter(objects) if lazily else objects)
        self.theirs = reference.Pool(iter(objects) if lazily else objects)
        self.fresh = []
        self.entered = []

    def has_idle(self):
        return not self.theirs.pool.empty()

    @precondition(has_idle)
    @rule()
    def lease(self):
        ours, theirs = self.ours.lease(), self.theirs.lease()
        assert ours.obj is theirs.obj
        assert type(ours) is design_pool.Resource
        self.fresh.append((ours, theirs))

    @precondition(lambda self: self.fresh)
    @rule(data=st.data())
    def enter(self, data):
        ours, theirs = pair = self.fresh.pop(data.draw(st.integers(0, len(self.fresh) - 1)))
        assert ours.__enter__() is theirs.__enter__()
        self.entered.append(pair)

    @precondition(lambda self: self.entered)
    @rule(data=st.data(), failing=st.booleans())
    def leave(self, data, failing):
        ours, theirs = self.entered.pop(data.draw(st.integers(0, len(self.entered) - 1)))
        details = (Hit, Hit(), None) if failing else (None, None, None)
        assert ours.__exit__(*details) is theirs.__exit__(*details)

    @precondition(has_idle)
    @rule(kind=st.sampled_from([None, Hit, KeyboardInterrupt, StopIteration]))
    def whole_with(self, kind):
        seen = []
        for pool in (self.ours, self.theirs):
            error = kind and kind()
            try:
                with pool.lease() as obj:
                    seen.append(obj)
                    if error is not None:
                        raise error
            except BaseException as caught:
                assert caught is error
        assert seen[0] is seen[1]

    @rule(obj=OBJECTS, by_name=st.booleans())
    def add_obj(self, obj, by_name):
        for pool in (self.ours, self.theirs):
            assert (pool.add_obj(obj=obj) if by_name else pool.add_obj(obj)) is None

    @rule(obj=OBJECTS)
    def put(self, obj):
        assert self.ours.pool.put(obj) is self.theirs.pool.put(obj) is None

    @precondition(has_idle)
    @rule(
        how=st.sampled_from([{}, {"block": True}, {"timeout": None}, {"timeout": 1}, {"block": False, "timeout": -1}])
    )
    def get_what_is_there(self, how):
        assert same(outcome(lambda: self.ours.pool.get(**how)), outcome(lambda: self.theirs.pool.get(**how)))

    @rule(how=st.sampled_from([(False,), (True, 0), (False, None), (True, -1), (0, 0.5), (True, 0.0)]))
    def get_perhaps(self, how):
        assert same(outcome(lambda: self.ours.pool.get(*how)), outcome(lambda: self.theirs.pool.get(*how)))

    @invariant()
    def counts_agree(self):
        if hasattr(self, "ours"):
            assert self.ours.pool.qsize() == self.theirs.pool.qsize() == self.ours.idle
            assert self.ours.pool.empty() is self.theirs.pool.empty()

    def teardown(self):
        if not hasattr(self, "ours"):
            return
        for ours, theirs in self.fresh + self.entered:
            ours.__exit__(None, None, None)
            theirs.__exit__(None, None, None)
        while not self.theirs.pool.empty():
            assert self.ours.pool.get(False) is self.theirs.pool.get(False)
        assert self.ours.pool.empty()


class SampleMachine(RuleBasedStateMachine):
    """The sample pool: what is out is released once, in any order; strangers may join."""

    @initialize(size=st.integers(-1, 6), kind=st.sampled_from([list, object, int]))
    def make(self, size, kind):
        made = [kind() for _ in range(size)]
        self.ours = opool_sample.Pool(size, iter(made).__next__)
        self.theirs = reference.SamplePool(size, iter(made).__next__)
        self.out = []

    @rule()
    def acquire(self):
        ours, theirs = outcome(self.ours.acquire), outcome(self.theirs.acquire)
        assert same(ours, theirs)
        if ours[0] == "returned":
            self.out.append(ours[1])

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def release(self, data):
        obj = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        assert self.ours.release(obj) is self.theirs.release(obj) is None

    @rule()
    def release_a_stranger(self):
        stranger = Thing()
        assert self.ours.release(stranger) is self.theirs.release(stranger) is None


THOROUGH = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

TestPoolTraces = PoolMachine.TestCase
TestPoolTraces.settings = THOROUGH
TestSampleTraces = SampleMachine.TestCase
TestSampleTraces.settings = THOROUGH


def bad_iterable():
    yield 1
    raise Hit("after the first")


@pytest.mark.parametrize(
    "arguments", [(5,), (None,), (object(),), (1.5,), (len,), (Thing,), (bad_iterable(),), (), ([], []), ([], 1, 2)]
)
def test_a_constructor_called_wrongly_raises_what_the_original_raised(arguments):
    with pytest.raises(Exception) as theirs:
        reference.Pool(*(bad_iterable() if hasattr(it, "gi_frame") else it for it in arguments))
    with pytest.raises(Exception) as ours:
        design_pool.Pool(*arguments)
    assert ours.type is theirs.type
    if len(arguments) == 1:
        assert str(ours.value) == str(theirs.value)


def test_a_constructor_without_objects_says_which_argument_is_missing():
    with pytest.raises(TypeError, match="objects"):
        design_pool.Pool()


def test_the_arguments_have_the_names_that_they_had():
    x = Thing()
    pool = design_pool.Pool(objects=[])
    pool.add_obj(obj=x)
    resource = design_pool.Resource(obj=pool.pool.get(block=False, timeout=None), pool=pool.pool)
    with resource as obj:
        assert obj is x
    assert pool.pool.get() is x


@pytest.mark.parametrize(
    "arguments",
    [("3", list), (None, list), (1.0, list), (), (1,), (1, list, 2), (1, 5), (2, None), (1, lambda: 1 / 0), (1, len)],
)
def test_a_sample_pool_made_wrongly_raises_what_the_original_raised(arguments):
    with pytest.raises(Exception) as theirs:
        reference.SamplePool(*arguments)
    with pytest.raises(Exception) as ours:
        opool_sample.Pool(*arguments)
    assert ours.type is theirs.type
    if len(arguments) == 2:
        assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("size", [0, -5, False, True, 3])
def test_a_sample_pool_calls_the_maker_as_often_as_it_has_objects(size):
    made = []
    pool = opool_sample.Pool(size=size, obj=lambda: made.append(Thing()) or made[-1])
    assert len(made) == max(0, size)
    for thing in reversed(made):
        assert pool.acquire() is thing
    with pytest.raises(IndexError) as caught:
        pool.acquire()
    assert str(caught.value) == "pop from empty list"
    assert len(made) == max(0, size)


def test_the_sample_pool_gives_the_newest_first():
    pool = opool_sample.Pool(3, Thing)
    first, second, third = (pool.acquire() for _ in range(3))
    for thing in (first, third, second):
        pool.release(thing)
    assert [pool.acquire() for _ in range(3)] == [second, third, first]


def test_a_drop_in_pool_is_a_pool_and_its_leases_are_resources():
    pool = design_pool.Pool([1])
    assert isinstance(pool, opool.Pool) and pool.timeout is None
    assert design_pool.Resource is opool.Lease
    with pool.lease() as obj:
        assert obj == 1


def test_the_queue_of_a_pool_stays_the_same_object_and_works_on_the_pool_itself():
    pool = design_pool.Pool([1, 2])
    assert pool.pool is pool.pool
    lease = pool.lease()
    assert (pool.pool.qsize(), pool.pool.empty()) == (1, False)
    assert pool.pool.get() == 2
    with pytest.raises(queue.Empty):
        pool.pool.get(False)
    with pytest.raises(queue.Empty):
        pool.pool.get(timeout=0.01)
    lease.release()
    assert pool.pool.get(True, 5) == 1


def test_what_get_took_out_is_gone_and_put_brings_it_in():
    x = Thing()
    pool = design_pool.Pool([x])
    assert pool.pool.get() is x
    assert (pool.idle, pool.try_lease()) == (0, None)
    pool.pool.put(x)
    with pool.lease() as obj:
        assert obj is x


def test_get_of_an_empty_pool_waits_for_put_for_an_exit_and_for_add_obj():
    x = Thing()
    for give in ("put", "add_obj", "exit"):
        pool = design_pool.Pool([x] if give == "exit" else [])
        lease = pool.lease() if give == "exit" else None
        crew = Crew(1, lambda _, pool=pool: pool.pool.get())
        eventually(lambda pool=pool: pool.waiting == 1)
        if give == "exit":
            lease.release()
        else:
            (pool.pool.put if give == "put" else pool.add_obj)(x)
        assert crew.join() == [x]


def test_lease_waits_for_ever_until_something_comes():
    x = Thing()
    pool = design_pool.Pool([])
    crew = Crew(1, lambda _: pool.lease().obj)
    eventually(lambda: pool.waiting == 1)
    pool.add_obj(x)
    assert crew.join() == [x]


def test_a_resource_over_a_standard_queue_puts_its_object_there():
    store = queue.Queue()
    with pytest.raises(Hit), design_pool.Resource("x", store) as obj:
        assert obj == "x"
        raise Hit
    assert store.get(False) == "x"


def test_a_resource_made_by_hand_works_beside_the_pools_own_leases():
    pool = design_pool.Pool([1, 2])
    by_hand = design_pool.Resource(pool.pool.get(), pool.pool)
    with by_hand as one, pool.lease() as two:
        assert (one, two) == (1, 2)
    assert [pool.pool.get() for _ in range(2)] == [2, 1]


def test_a_subclass_with_its_own_constructor_and_attributes_works():
    class Loans(design_pool.Pool):
        def __init__(self, n):
            self.before = n
            super().__init__(range(n))
            self.after = self.pool.qsize()

        def lease(self):
            self.calls = getattr(self, "calls", 0) + 1
            return super().lease()

    loans = Loans(3)
    with loans.lease() as obj:
        assert obj == 0
    assert (loans.before, loans.after, loans.calls) == (3, 3, 1)
    assert {"before", "after", "calls"} <= set(loans.__dict__)


def test_attributes_may_be_set_on_a_drop_in_pool():
    pool = design_pool.Pool([])
    pool.colour = "red"
    assert vars(pool)["colour"] == "red"


def test_many_threads_on_the_drop_in_lose_nothing():
    objects = [Thing(i) for i in range(3)]
    pool = design_pool.Pool(objects)

    def target(i):
        for n in range(300):
            if (i + n) % 3 == 0:
                pool.pool.put(pool.pool.get())
            else:
                with pool.lease():
                    pass

    threads(8, target)
    assert pool.pool.qsize() == 3
    assert {pool.pool.get() for _ in objects} == set(objects)


def test_a_singleton_may_be_set_up_again_while_nobody_has_an_object():
    class Single(design_pool.Pool):
        instance = None

        def __new__(cls, objects):
            cls.instance = cls.instance or super().__new__(cls)
            return cls.instance

    pool = Single(["a", "b"])
    assert Single(["c"]) is pool and pool.pool.qsize() == 1
    with pool.lease() as obj:
        assert obj == "c"
        with pytest.raises(RuntimeError, match="set up already"):
            Single(["d"])
    assert pool.get() == "c"
