"""An exception at every single place where one can come: each bytecode, each call, in turn. No object is lost.

The random instants of `test_signals.py` show that nothing freezes; here no instant is left out.
"""

import functools
import gc
import sys

import pytest

import opool
from support import Hit, assert_whole, things, threads


def plain(pool):
    with pool.lease():
        pass


def named(pool):
    with pool.lease() as obj:
        obj.label = 1


def kept(pool):
    lease = pool.lease()
    with lease as obj:
        obj.label = 1


def nested(pool):
    with pool.lease() as one, pool.lease() as two:
        with pool.lease() as three:
            assert len({id(one), id(two), id(three)}) == 3


def looped(pool):
    for _ in range(3):
        with pool.lease():
            continue


def returned(pool):
    with pool.lease() as obj:
        return obj


def failing(pool):
    try:
        with pool.lease():
            raise KeyError
    except KeyError:
        pass


def released(pool):
    lease = pool.lease()
    lease.release()


def tried(pool):
    lease = pool.try_lease()
    if lease is not None:
        with lease:
            pass


def timed_out(pool):
    with pool.lease(), pool.lease(), pool.lease(timeout=60):
        try:
            pool.lease(timeout=0)
        except opool.PoolTimeout:
            pass


def comprehended(pool):
    leases = [pool.lease() for _ in range(3)]
    assert pool.try_lease() is None
    del leases


def by_generator(pool):
    def body():
        with pool.lease() as obj:
            yield obj
            yield obj

    generator = body()
    next(generator)
    generator.close()


def misused(pool):
    lease = pool.lease()
    with lease:
        pass
    try:
        lease.release()
    except opool.LeaseError:
        pass


USES = [
    plain,
    named,
    kept,
    nested,
    looped,
    returned,
    failing,
    released,
    tried,
    timed_out,
    comprehended,
    by_generator,
    misused,
]


def in_a_thread_of_its_own(test):
    """An exception within an `except` clause leaves a thread with an error to handle for ever: let it be another."""

    @functools.wraps(test)
    def run(**arguments):
        threads(1, lambda _: test(**arguments))

    return run


def run_with_an_exception_at(use, pool, place):
    """Runs `use` and raises at bytecode number `place`; says whether there was one."""
    seen = 0

    def tracer(frame, event, arg):
        nonlocal seen
        if frame.f_code.co_filename != __file__:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            seen += 1
            if seen == place:
                raise Hit
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        use(pool)
    except Hit:
        pass
    finally:
        sys.settrace(before)
    return seen >= place


@pytest.mark.parametrize("use", USES)
@in_a_thread_of_its_own
def test_an_exception_before_any_bytecode_loses_nothing(use):
    objects = things(3)
    pool = opool.Pool(objects, timeout=0)
    place, hit = 0, True
    while hit:
        place += 1
        for _ in range(2):  # from 3.12 on, a function shows its bytecodes only some calls after it was asked to
            run_with_an_exception_at(use, pool, sys.maxsize)
        hit = run_with_an_exception_at(use, pool, place)
        gc.collect(0)
        assert_whole(pool, objects)
    assert place > 8


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", ["c_call", "c_return", "call", "return"])
@in_a_thread_of_its_own
def test_an_exception_around_any_call_loses_nothing(use, kind):
    objects = things(3)
    pool = opool.Pool(objects, timeout=0)
    done, place = False, 1
    while not done:
        seen = 0

        def profiler(frame, event, arg, place=place):
            nonlocal seen
            if event == kind and frame.f_code.co_filename == __file__ and arg is not sys.setprofile:
                seen += 1
                if seen == place:
                    raise Hit

        sys.setprofile(profiler)
        try:
            use(pool)
        except Hit:
            pass
        finally:
            sys.setprofile(None)
        done = seen < place
        place += 1
        assert_whole(pool, objects)


@in_a_thread_of_its_own
def test_a_profiler_that_leases_around_every_call_is_harmless():
    objects = things(4)
    pool = opool.Pool(objects, timeout=0)
    leased = 0

    def profiler(frame, event, arg):
        nonlocal leased
        lease = pool.try_lease()
        if lease is not None:
            leased += 1
            lease.release()

    for use in USES:
        if use in (timed_out, comprehended):
            continue
        sys.setprofile(profiler)
        try:
            use(pool)
        finally:
            sys.setprofile(None)
    assert leased > len(USES)
    assert_whole(pool, objects)
