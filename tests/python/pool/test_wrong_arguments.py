"""Wrong calls: a clear error that names the value, never a panic, and the pool is as it was."""

import contextlib
import decimal
import fractions

import pytest

import opool
from design import opool as design_pool
from design import opool_sample
from support import Thing, assert_whole, state, things

METHODS_WITH_TIMEOUT = ["lease", "acquire"]
NEGATIVE = [-1, -1.5, -1e-300, -(10**30), float("-inf"), -5e-324]
NOT_A_TIME = ["1", b"1", [], {}, (), object(), 1j, len, Thing, "\ud800"]


def values_in(message, value):
    """Whether the message names the value: as it is shown, or, for a number, as a float is."""
    shown = {repr(value), str(value)}
    if isinstance(value, (int, float)):
        shown.add(repr(float(value)))
    return any(one in message for one in shown)


@pytest.fixture
def half_out():
    """A pool with one object idle and one out; afterwards both must still be there, once."""
    objects = things(2)
    pool = opool.Pool(objects, name="half")
    lease = pool.lease()
    yield pool
    assert state(pool) == (2, 1, 1, 0)
    assert (pool.name, pool.timeout) == ("half", 30.0)
    lease.release()
    assert_whole(pool, objects)


@pytest.fixture
def all_out():
    """A pool with nothing idle."""
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.lease()
    yield pool
    assert state(pool) == (1, 0, 1, 0)
    lease.release()
    assert_whole(pool, [x])


@pytest.mark.parametrize("method", METHODS_WITH_TIMEOUT)
@pytest.mark.parametrize("timeout", NEGATIVE)
def test_a_negative_timeout_is_refused_whether_or_not_an_object_is_there(half_out, all_out, method, timeout):
    for pool in (half_out, all_out):
        for call in (lambda p=pool: getattr(p, method)(timeout), lambda p=pool: getattr(p, method)(timeout=timeout)):
            with pytest.raises(ValueError, match="timeout") as caught:
                call()
            assert values_in(str(caught.value), timeout)
            assert not isinstance(caught.value, opool.PoolError)


@pytest.mark.parametrize("method", METHODS_WITH_TIMEOUT)
def test_not_a_number_is_not_a_timeout(half_out, all_out, method):
    for pool in (half_out, all_out):
        with pytest.raises(ValueError, match=r"(?i)nan"):
            getattr(pool, method)(timeout=float("nan"))


@pytest.mark.parametrize("method", METHODS_WITH_TIMEOUT)
@pytest.mark.parametrize("timeout", NOT_A_TIME, ids=ascii)
def test_a_timeout_that_is_no_number_is_refused(half_out, all_out, method, timeout):
    for pool in (half_out, all_out):
        with pytest.raises(TypeError) as caught:
            getattr(pool, method)(timeout)
        assert type(timeout).__name__ in str(caught.value) or values_in(str(caught.value), timeout)


@pytest.mark.parametrize("timeout", [*NEGATIVE, float("nan")])
def test_a_pool_is_not_made_with_a_timeout_that_is_no_time(timeout):
    with pytest.raises(ValueError, match="timeout") as caught:
        opool.Pool([1], timeout=timeout)
    assert values_in(str(caught.value), timeout) or "nan" in str(caught.value).lower()


@pytest.mark.parametrize("timeout", NOT_A_TIME, ids=ascii)
def test_a_pool_is_not_made_with_a_timeout_of_another_type(timeout):
    with pytest.raises(TypeError):
        opool.Pool([1], timeout=timeout)


@pytest.mark.parametrize("timeout", [0, 1, True, 0.5, fractions.Fraction(1, 2), decimal.Decimal("0.5"), 10**400])
def test_any_real_number_is_a_timeout(half_out, timeout):
    half_out.lease(timeout=timeout).release()
    half_out.release(half_out.acquire(timeout))
    opool.Pool(timeout=timeout)


def test_an_enormous_negative_timeout_is_negative_too(half_out):
    with pytest.raises(ValueError, match="timeout"):
        half_out.lease(timeout=-(10**400))


class Meddler:
    """A number whose conversion uses the pool."""

    def __init__(self, action):
        self.action = action

    def __float__(self):
        self.action()
        return 1.0


def test_an_error_in_the_conversion_of_a_timeout_comes_out_as_it_is(half_out, all_out):
    def fail():
        raise LookupError("mine")

    for pool in (half_out, all_out):
        for method in METHODS_WITH_TIMEOUT:
            with pytest.raises(LookupError, match="mine"):
                getattr(pool, method)(timeout=Meddler(fail))


def test_a_conversion_that_takes_and_gives_meanwhile_does_no_harm():
    objects = things(2)
    pool = opool.Pool(objects)
    kept = []
    pool.lease(timeout=Meddler(lambda: pool.lease().release())).release()
    pool.lease(timeout=Meddler(lambda: kept.append(pool.lease()))).release()
    assert state(pool) == (2, 1, 1, 0)
    with pool.lease(timeout=0):
        pool.lease(timeout=Meddler(lambda: kept.pop().release())).release()
    assert_whole(pool, objects)


@pytest.mark.parametrize("objects", [5, 1.5, None, object(), len, Thing, True])
def test_a_pool_is_not_made_of_what_cannot_be_iterated_over(objects):
    for pool in (opool.Pool, design_pool.Pool):
        with pytest.raises(TypeError, match="not iterable|must be iterable"):
            pool(objects)


def test_an_iterator_that_lies_about_its_length_is_believed_no_further_than_it_goes():
    class Liar:
        def __init__(self, hint):
            self.hint = hint
            self.left = 3

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

        def __length_hint__(self):
            return self.hint

    for hint in (0, 1, 2**40, 2**62, 2**63 - 1):
        with contextlib.suppress(MemoryError):
            assert opool.Pool(Liar(hint)).size == 3
    for hint in (-1, "x", 2**70):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            assert opool.Pool(Liar(hint)).size == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda: opool.Pool([], 5),
        lambda: opool.Pool([], [], []),
        lambda: opool.Pool(timeouts=5),
        lambda: opool.Pool([], naem="x"),
        lambda: opool.Pool(**{"\ud800": 1}),
        lambda: opool.Pool([], name=5),
        lambda: opool.Pool([], name=b"x"),
        lambda: opool.Pool([], objects=[]),
        lambda: opool.Lease(),
        lambda: opool.Lease(1),
        lambda: opool.Lease(1, 2, 3),
        lambda: opool.Lease(1, 2, obj=3),
        lambda: opool.Lease(1, what=2),
    ],
)
def test_a_constructor_called_with_wrong_arguments_raises_a_type_error(call):
    with pytest.raises(TypeError):
        call()


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="naem"):
        opool.Pool([], naem="x")


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "", "\N{SNOWMAN}" * 1000])
def test_an_odd_name_is_kept_or_refused_and_never_breaks_a_message(name):
    try:
        pool = opool.Pool(name=name)
    except ValueError:
        assert name == "\ud800"
        return
    assert pool.name == name
    repr(pool)
    with pytest.raises(opool.PoolTimeout):
        pool.lease(timeout=0)
    with pytest.raises(opool.LeaseError):
        pool.release(1)


WRONG_CALLS = {
    "lease of two": lambda pool: pool.lease(1, 2),
    "lease timeout twice": lambda pool: pool.lease(1, timeout=2),
    "lease of an unknown keyword": lambda pool: pool.lease(timeuot=2),
    "lease of a keyword too many": lambda pool: pool.lease(timeout=2, more=3),
    "lease of a broken keyword": lambda pool: pool.lease(**{"\ud800": 1}),
    "acquire of two": lambda pool: pool.acquire(1, 2),
    "acquire timeout twice": lambda pool: pool.acquire(1, timeout=2),
    "acquire of an unknown keyword": lambda pool: pool.acquire(timeuot=2),
    "try_lease of one": lambda pool: pool.try_lease(1),
    "try_lease of a keyword": lambda pool: pool.try_lease(timeout=1),
    "release of nothing": lambda pool: pool.release(),
    "release of two": lambda pool: pool.release(1, 2),
    "add_obj of nothing": lambda pool: pool.add_obj(),
    "add_obj of two": lambda pool: pool.add_obj(1, 2),
    "add_obj of an unknown keyword": lambda pool: pool.add_obj(what=1),
    "release of a lease with arguments": lambda pool: pool.try_lease().release(1),
    "unbound lease": lambda pool: opool.Pool.lease(),
    "unbound lease of a stranger": lambda pool: opool.Pool.lease(object()),
    "unbound try_lease of a class": lambda pool: opool.Pool.try_lease(opool.Pool),
    "unbound acquire of a lease": lambda pool: opool.Pool.acquire(pool.try_lease()),
    "unbound release of a stranger": lambda pool: opool.Pool.release([], 1),
    "unbound add_obj of a stranger": lambda pool: opool.Pool.add_obj("", 1),
    "unbound enter of a stranger": lambda pool: opool.Lease.__enter__(5),
    "unbound enter of a pool": lambda pool: opool.Lease.__enter__(pool),
    "unbound exit of a stranger": lambda pool: opool.Lease.__exit__(5, None, None, None),
    "unbound enter of nothing": lambda pool: opool.Lease.__enter__(),
    "unbound exit of nothing": lambda pool: opool.Lease.__exit__(),
    "unbound lease release": lambda pool: opool.Lease.release(pool),
    "a counter of a stranger": lambda pool: opool.Pool.size.__get__(5),
    "an object of a stranger": lambda pool: opool.Lease.obj.__get__(5),
}


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_a_method_called_with_wrong_arguments_raises_a_type_error(half_out, wrong):
    with pytest.raises(TypeError):
        WRONG_CALLS[wrong](half_out)


def test_a_wrong_keyword_is_named(half_out):
    for method in METHODS_WITH_TIMEOUT:
        with pytest.raises(TypeError, match="timeuot"):
            getattr(half_out, method)(timeuot=1)


def test_a_keyword_made_at_run_time_is_the_same_keyword(half_out):
    keyword = "".join(["time", "out"])
    half_out.lease(**{keyword: 0}).release()
    half_out.release(half_out.acquire(**{keyword: 0}))


@pytest.mark.parametrize("obj", [None, 5, "x", object(), [], float("nan"), opool.Pool, len], ids=ascii)
def test_releasing_what_is_not_out_is_a_lease_error(half_out, obj):
    with pytest.raises(opool.LeaseError, match="half"):
        half_out.release(obj)


def test_releasing_a_lease_itself_instead_of_its_object_is_a_lease_error(half_out):
    lease = half_out.lease()
    with pytest.raises(opool.LeaseError):
        half_out.release(lease)
    lease.release()
    with pytest.raises(opool.LeaseError):
        half_out.release(lease)


def test_using_none_of_try_lease_in_a_with_is_pythons_own_error(all_out):
    with pytest.raises((AttributeError, TypeError)):
        with all_out.try_lease():
            pass


@pytest.mark.parametrize("attribute", ["size", "idle", "leased", "waiting", "name", "timeout"])
def test_the_attributes_of_a_pool_cannot_be_set_or_deleted(half_out, attribute):
    with pytest.raises(AttributeError):
        setattr(half_out, attribute, 7)
    with pytest.raises(AttributeError):
        delattr(half_out, attribute)


@pytest.mark.parametrize("attribute", ["obj", "pool", "released", "anything"])
def test_the_attributes_of_a_lease_cannot_be_set_or_deleted(half_out, attribute):
    lease = half_out.lease()
    with pytest.raises(AttributeError):
        setattr(lease, attribute, 7)
    with pytest.raises(AttributeError):
        delattr(lease, attribute)
    lease.release()


@pytest.mark.parametrize("pool", [None, 5, object(), []])
def test_a_lease_made_by_hand_over_what_has_no_put_says_so_at_the_latest_when_left(pool):
    with pytest.raises((AttributeError, TypeError)):
        with opool.Lease("x", pool) as obj:
            assert obj == "x"


QUEUE_CALLS = {
    "get negative": (lambda q: q.get(timeout=-1), ValueError),
    "get negative by place": (lambda q: q.get(True, -0.5), ValueError),
    "get nan or str": (lambda q: q.get(timeout="1"), TypeError),
    "get three": (lambda q: q.get(True, 1, 2), TypeError),
    "get unknown": (lambda q: q.get(wait=1), TypeError),
    "put nothing": (lambda q: q.put(), TypeError),
    "qsize of one": (lambda q: q.qsize(1), TypeError),
    "empty of one": (lambda q: q.empty(1), TypeError),
}


@pytest.mark.parametrize("wrong", QUEUE_CALLS)
def test_wrong_calls_of_the_queue_of_a_drop_in_leave_it_as_it_was(wrong):
    call, kind = QUEUE_CALLS[wrong]
    pool = design_pool.Pool([1])
    with pytest.raises(kind):
        call(pool.pool)
    assert state(pool) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: design_pool.Pool([]).add_obj(),
        lambda: design_pool.Pool([]).add_obj(1, 2),
        lambda: design_pool.Resource(1),
    ],
)
def test_wrong_calls_of_the_drop_ins_raise_type_errors(call):
    with pytest.raises(TypeError):
        call()


@pytest.mark.parametrize("arguments", [(), (1, 2)])
def test_wrong_calls_of_the_sample_pool_raise_type_errors(arguments):
    with pytest.raises(TypeError):
        opool_sample.Pool(1, list).release(*arguments)
    with pytest.raises(TypeError):
        opool_sample.Pool(1, list).acquire(*(arguments or (1,)))


def test_every_error_can_be_caught_raised_and_made_by_users():
    for kind in (opool.PoolError, opool.PoolTimeout, opool.LeaseError):
        with pytest.raises(opool.PoolError, match="mine"):
            raise kind("mine")
        assert kind.__module__ == "opool" and kind.__doc__


@pytest.mark.parametrize(
    ("option", "value", "error", "words"),
    [
        ("order", "LIFO", ValueError, "order must be 'fifo' or 'lifo', not 'LIFO'"),
        ("order", 5, TypeError, "order must be 'fifo' or 'lifo', not 5"),
        ("order", None, TypeError, "order must be 'fifo' or 'lifo', not None"),
        ("fairness", "fair", ValueError, "fairness must be 'adaptive' or 'strict', not 'fair'"),
        ("name", 5, TypeError, "name must be a str or None, not 5"),
        ("name", "\ud800", ValueError, "name must be valid text, not "),
        ("timeout", "5", TypeError, "timeout must be seconds or None, not str ('5')"),
        ("timeout", -1, ValueError, "timeout must be seconds >= 0 or None, not -1"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(option, value, error, words):
    with pytest.raises(error) as caught:
        opool.Pool([1], **{option: value})
    assert words in str(caught.value)


def test_a_message_shows_the_beginning_of_a_very_long_repr():
    with pytest.raises(opool.LeaseError) as caught:
        opool.Pool([1]).release("x" * 10_000)
    assert 200 < len(str(caught.value)) < 400
