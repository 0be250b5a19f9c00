"""What a pool may be told: defaults, and how wrong, contradicting and impossible options are answered."""

import inspect
import math
import threading
import time
import traceback

import pytest

import opool
from opool.testing import Clock, Scripted, check_invariants
from support import Thing, state, things, threads

DEFAULTS = {
    "factory": None,
    "min_size": 0,
    "max_size": None,
    "name": None,
    "timeout": 30.0,
    "max_waiting": None,
    "order": "fifo",
    "fairness": "adaptive",
    "check": None,
    "check_after": 1.0,
    "check_timeout": 5.0,
    "reset": None,
    "dispose": None,
    "create_timeout": 30.0,
    "max_idle": None,
    "max_lifetime": None,
    "jitter": 0.1,
    "leak_after": None,
    "track": False,
    "timing": False,
    "clock": None,
}
"""As the documentation says. `objects` comes before them."""


def refused(kind, **options):
    with pytest.raises(kind) as caught:
        opool.Pool(**options)
    return str(caught.value)


def test_the_signature_shows_every_option_with_its_default():
    signature = inspect.signature(opool.Pool)
    assert list(signature.parameters) == ["objects", *DEFAULTS]
    assert {name: signature.parameters[name].default for name in DEFAULTS} == DEFAULTS


def test_every_option_is_explained_where_the_class_is():
    explained = inspect.getdoc(opool.Pool)
    assert [name for name in ("objects", *DEFAULTS) if f"\n    {name}: " not in explained] == []


@pytest.mark.parametrize("option", [*DEFAULTS, "objects"])
def test_an_option_may_be_given_its_default_in_words(option):
    hooks = {"factory": Thing, "check": print, "max_lifetime": 5.0}
    value = () if option == "objects" else DEFAULTS[option]
    pool = opool.Pool(**{**hooks, option: value} if option not in hooks else {"check": print, option: value})
    assert state(pool) == (0, 0, 0, 0)


def test_a_pool_that_is_told_nothing_has_the_defaults_of_the_documentation():
    pool = opool.Pool()
    assert (pool.timeout, pool.name, pool.fairness) == (30.0, None, "adaptive")
    assert (pool.min_size, pool.max_size, pool.closed) == (0, None, False)
    assert opool.Pool(factory=Thing).max_size == 10


def test_what_was_given_shows_in_the_attributes():
    pool = opool.Pool(factory=Thing, min_size=2, max_size=7, name="db", timeout=None, fairness="strict")
    assert (pool.min_size, pool.max_size, pool.name, pool.timeout, pool.fairness) == (2, 7, "db", None, "strict")


def test_an_unknown_option_is_named_and_the_known_ones_listed():
    message = refused(TypeError, factory=Thing, maxsize=3)
    assert "'maxsize'" in message and all(name in message for name in DEFAULTS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_size": 11}, "min_size must not exceed max_size, but 11 > 10"),
        ({"min_size": 3, "max_size": 2}, "min_size must not exceed max_size, but 3 > 2"),
        ({"max_size": 0}, "max_size must be at least 1, not 0"),
        ({"max_size": -1}, "max_size must be an int >= 0, not -1"),
        ({"min_size": -5}, "min_size must be an int >= 0, not -5"),
        ({"max_waiting": -1}, "max_waiting must be an int >= 0, not -1"),
        ({"jitter": 1.5, "max_lifetime": 5}, "jitter must be a number from 0 to 1, not 1.5"),
        ({"jitter": math.nan, "max_lifetime": 5}, "jitter must be a number from 0 to 1, not nan"),
        ({"max_idle": -0.5}, "max_idle must be seconds >= 0 or None, not -0.5"),
        ({"max_lifetime": math.nan}, "max_lifetime must be seconds >= 0 or None, not nan"),
    ],
)
def test_an_impossible_value_is_named(options, words):
    assert refused(ValueError, factory=Thing, **options) == words


@pytest.mark.parametrize("option", ["max_lifetime", "create_timeout", "check_timeout", "leak_after"])
@pytest.mark.parametrize("zero", [0, 0.0, 1e-10])
def test_no_time_at_all_is_refused_where_it_would_mean_always(option, zero):
    message = refused(ValueError, factory=Thing, check=print, **{option: zero})
    assert message == f"{option} must be seconds > 0 or None, not 0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factory": 5}, "factory must be callable, not 5"),
        ({"check": "ping"}, "check must be callable, not 'ping'"),
        ({"reset": ()}, "reset must be callable, not ()"),
        ({"dispose": 1.5}, "dispose must be callable, not 1.5"),
        ({"max_size": True}, "max_size must be an int >= 0, not True"),
        ({"max_size": 2.0}, "max_size must be an int >= 0, not 2.0"),
        ({"max_waiting": "5"}, "max_waiting must be an int >= 0, not '5'"),
        ({"max_lifetime": 5, "jitter": None}, "jitter must be a number from 0 to 1, not None"),
        ({"max_idle": "10"}, "max_idle must be seconds or None, not str ('10')"),
        ({"track": 2}, "track must be True or False, not 2"),
        ({"timing": "yes"}, "timing must be True or False, not 'yes'"),
        ({"clock": time}, f"clock must be an opool.testing.Clock or None, not {time!r}"),
        ({"timeout": ...}, "timeout must be seconds or None, not ellipsis (Ellipsis)"),
        (
            {"check": print, "check_after": None},
            "check_after must be seconds, not None; 0 is always, math.inf is never",
        ),
    ],
)
def test_a_value_of_another_type_is_named(options, words):
    assert refused(TypeError, **{"factory": Thing, **options}) == words


@pytest.mark.parametrize(
    ("option", "value", "other"),
    [
        ("min_size", 1, "factory"),
        ("max_size", 5, "factory"),
        ("create_timeout", 5.0, "factory"),
        ("max_idle", 60, "factory"),
        ("max_lifetime", 60, "factory"),
        ("jitter", 0.5, "max_lifetime"),
        ("check_after", 2, "check"),
        ("check_timeout", 2, "check"),
    ],
)
def test_an_option_that_means_nothing_without_another_says_which(option, value, other):
    with pytest.raises(ValueError) as caught:
        opool.Pool(things(1), **{option: value})
    assert str(caught.value) == f"{option}={value} means nothing without {other}"


def test_check_timeout_is_also_for_a_reset_in_the_background():
    opool.Pool(things(1), reset=print, check_timeout=2)


def test_a_check_that_is_never_due_and_times_without_end_are_allowed():
    clock, check = Clock(), Scripted("error")
    pool = opool.Pool(things(1), check=check, check_after=math.inf, check_timeout=math.inf, clock=clock)
    clock.advance(1e6)
    with pool.lease():
        assert check.calls == 0
    endless = dict.fromkeys(("create_timeout", "max_idle", "max_lifetime", "leak_after", "timeout"), math.inf)
    assert opool.Pool(factory=Thing, **endless).timeout is None


def test_a_refused_pool_has_called_nothing_and_started_no_thread():
    factory, before = Scripted(), threading.active_count()
    refused(ValueError, factory=factory, min_size=11)
    assert (factory.calls, threading.active_count()) == (0, before)


def test_more_objects_than_max_size_are_refused_and_named():
    with pytest.raises(ValueError) as caught:
        opool.Pool("abc", factory=Thing, max_size=2, name="few")
    assert str(caught.value) == (
        "pool 'few': cannot add 'c': it has max_size=2 objects already (size 2, idle 2, leased 0, waiting 0)"
    )


def test_given_objects_have_their_room_before_anything_is_made():
    made = []

    def slowly():
        yield "a"
        time.sleep(0.05)  # time enough for a background thread, if there were one
        yield "b"

    def factory():
        made.append(1)
        return "c"

    pool = opool.Pool(slowly(), factory=factory, min_size=2, max_size=2)
    assert (state(pool), made) == ((2, 2, 0, 0), [])


def test_an_iterable_that_fails_starts_no_thread():
    def broken():
        yield "a"
        raise OSError("no more")

    before = threading.active_count()
    with pytest.raises(OSError, match="no more"):
        opool.Pool(broken(), factory=Thing, min_size=5)
    assert threading.active_count() == before


def test_a_subclass_may_choose_options_and_have_its_own():
    class Connections(opool.Pool):
        def __init__(self, address, *, spare=(), **options):
            self.address = address
            super().__init__(spare, factory=lambda: Thing(self.address), max_size=2, **options)

    spare = Thing("spare")
    pool = Connections("db:5432", spare=[spare], name="sub")
    with pool.lease() as first, pool.lease(timeout=60) as second:
        assert first is spare and second.label == "db:5432"
    assert repr(pool).startswith(f"<{__name__}.test_a_subclass") and "'sub'" in repr(pool)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Connections("db", colour="red")
    check_invariants(pool)


def test_a_pool_cannot_be_set_up_twice():
    pool = opool.Pool(things(1))
    with pytest.raises(RuntimeError, match="this pool is set up already; make a new one"):
        pool.__init__(factory=Thing)
    assert state(pool) == (1, 1, 0, 0)


# ----------------------------------------------------------------------------------------------------------------------
# resize


def test_resize_changes_what_it_is_told_and_nothing_else():
    pool = opool.Pool(factory=Thing, min_size=1, max_size=5, clock=Clock())
    pool.resize()
    assert (pool.min_size, pool.max_size) == (1, 5)
    pool.resize(max_size=8)
    assert (pool.min_size, pool.max_size) == (1, 8)
    pool.resize(min_size=2, max_size=None)
    assert (pool.min_size, pool.max_size) == (2, 8)


@pytest.mark.parametrize(
    ("sizes", "kind", "words"),
    [
        ({"min_size": 6}, ValueError, "min_size must not exceed max_size, but 6 > 5"),
        ({"max_size": 1}, ValueError, "min_size must not exceed max_size, but 2 > 1"),
        ({"min_size": 0, "max_size": 0}, ValueError, "max_size must be at least 1, not 0"),
        ({"max_size": -1}, ValueError, "max_size must be an int >= 0, not -1"),
        ({"min_size": "2"}, TypeError, "min_size must be an int >= 0, not '2'"),
        ({"size": 2}, TypeError, "'size'"),
    ],
)
def test_a_resize_that_makes_no_sense_changes_nothing(sizes, kind, words):
    pool = opool.Pool(factory=Thing, min_size=2, max_size=5, clock=Clock())
    with pytest.raises(kind) as caught:
        pool.resize(**sizes)
    assert words in str(caught.value)
    assert (pool.min_size, pool.max_size) == (2, 5)


def test_resize_and_reload_need_a_factory_and_an_open_pool():
    given, over = opool.Pool(things(1), name="given"), opool.Pool(factory=Thing, name="over")
    over.close()
    for call in ("resize", "reload"):
        with pytest.raises(ValueError, match=f"pool 'given': {call} needs a factory; this pool only has what it was"):
            getattr(given, call)()
        with pytest.raises(opool.PoolClosed, match="pool 'over': it is closed"):
            getattr(over, call)()


def test_of_two_resizes_at_the_same_time_neither_is_undone():
    pool = opool.Pool(factory=Thing, max_size=5, clock=Clock())

    class Slow:
        def __init__(self, number, meanwhile):
            self.number, self.meanwhile = number, meanwhile

        def __index__(self):  # reading the one argument takes as long as all of the other call
            self.meanwhile()
            return self.number

    pool.resize(min_size=Slow(2, lambda: pool.resize(max_size=9)))
    assert (pool.min_size, pool.max_size) == (2, 9)


def test_sizes_hold_while_many_resize():
    pool = opool.Pool(factory=Thing, max_size=50, clock=Clock())
    sizes = [("min_size", 10), ("max_size", 40)] * 2
    threads(4, lambda i: [pool.resize(**{sizes[i][0]: sizes[i][1] + n % 20}) for n in range(200)])
    assert 10 <= pool.min_size < 30 and 40 <= pool.max_size < 60
    check_invariants(pool)


def test_the_message_of_a_wrong_option_is_one_line():
    for options in ({"colour": 1}, {"max_size": -1}, {"factory": 5}):
        try:
            opool.Pool(**options)
        except (TypeError, ValueError) as error:
            assert len(traceback.format_exception_only(type(error), error)) == 1
