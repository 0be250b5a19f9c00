"""One lease, one holder: what a lease is from the call to its end."""

import contextlib
import gc
import sys

import pytest

import opool
from support import Thing, assert_whole, drain, eventually, state, things, threads


def test_objects_go_out_in_the_order_they_came_in():
    objects = things(4)
    pool = opool.Pool(objects)
    assert [lease.obj for lease in [pool.lease() for _ in objects]] == objects


def test_a_returned_object_goes_to_the_tail():
    a, b, c = objects = things(3)
    pool = opool.Pool(objects)
    with pool.lease() as first:
        assert first is a
    assert drain(pool) == [b, c, a]


def test_an_added_object_goes_to_the_tail():
    a, b, c = things(3)
    pool = opool.Pool([a, b])
    assert pool.add_obj(c) is None
    assert drain(pool) == [a, b, c]


def test_any_iterable_fills_a_pool_in_its_order():
    for objects in ("abc", (i for i in "abc"), {"a": 1, "b": 2, "c": 3}, iter(["a", "b", "c"])):
        assert drain(opool.Pool(objects)) == ["a", "b", "c"]


def test_a_pool_grows_far_beyond_its_first_size_and_keeps_the_order():
    pool = opool.Pool([0])
    for i in range(1, 5000):
        pool.add_obj(i)
        if i % 7 == 0:
            with pool.lease(timeout=0):
                pass
    seen = drain(pool)
    assert sorted(seen) == list(range(5000))
    assert pool.size == 5000


def test_the_order_survives_a_ring_that_wraps_while_it_grows():
    pool, expected = opool.Pool(), []
    for i in range(300):
        pool.add_obj(i)
        expected.append(i)
        if i % 3 == 0:
            with pool.lease(timeout=0) as obj:
                assert obj == expected[0]
            expected.append(expected.pop(0))
    assert drain(pool) == expected


def test_the_object_is_taken_at_the_call_and_not_at_the_with():
    a, b = objects = things(2)
    pool = opool.Pool(objects)
    early, late = pool.lease(), pool.lease()
    assert (pool.idle, pool.leased) == (0, 2)
    with late as obj:
        assert obj is b
    with early as obj:
        assert obj is a
    assert_whole(pool, objects)


def test_a_lease_knows_its_object_its_pool_and_its_end():
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.lease()
    assert lease.obj is x and lease.pool is pool and lease.released is False
    with lease as obj:
        assert obj is x and lease.released is False
    assert lease.released is True


def test_the_counters_follow_every_step():
    pool = opool.Pool(things(3))
    assert state(pool) == (3, 3, 0, 0)
    one, two = pool.lease(), pool.acquire()
    assert state(pool) == (3, 1, 2, 0)
    pool.add_obj(Thing())
    assert state(pool) == (4, 2, 2, 0)
    one.release()
    pool.release(two)
    assert state(pool) == (4, 4, 0, 0)


def test_none_and_other_singletons_are_objects_like_any_other():
    odd = [None, NotImplemented, Ellipsis, 0, "", False]
    pool = opool.Pool(odd)
    for value in odd:
        lease = pool.try_lease()
        assert lease is not None and lease.obj is value
        with lease as obj:
            assert obj is value
    for value in odd:
        assert pool.acquire(timeout=0) is value
        pool.release(value)
    assert_whole(pool, odd)


def test_exit_returns_none():
    assert opool.Pool([1]).lease().__exit__(None, None, None) is None
    lease = opool.Pool([1]).lease()
    lease.__enter__()
    assert lease.__exit__(ValueError, ValueError("x"), None) is None


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_an_exception_in_the_body_passes_through_untouched_and_the_object_is_back(kind):
    x = Thing()
    pool = opool.Pool([x])
    error = kind("from the body")
    with pytest.raises(kind) as caught:
        with pool.lease():
            raise error
    assert caught.value is error and error.__context__ is None and error.__cause__ is None
    assert_whole(pool, [x])


def test_sys_exit_in_the_body_gives_the_object_back():
    pool = opool.Pool([1])
    with pytest.raises(SystemExit, match="7"):
        with pool.lease():
            sys.exit(7)
    assert pool.idle == 1


def ended_by_exit(lease):
    with lease:
        pass


def ended_by_release(lease):
    lease.release()


def ended_by_release_in_the_body(lease):
    lease.__enter__()
    lease.release()


ENDINGS = [ended_by_exit, ended_by_release, ended_by_release_in_the_body]
MISUSES = {
    "exit": lambda lease: lease.__exit__(None, None, None),
    "release": lambda lease: lease.release(),
    "enter": lambda lease: lease.__enter__(),
}


@pytest.mark.parametrize("misuse", MISUSES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_lease_that_has_ended_can_do_nothing_any_more(ending, misuse):
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.lease()
    ending(lease)
    for _ in range(3):
        with pytest.raises(opool.LeaseError):
            MISUSES[misuse](lease)
    assert lease.released is True
    assert_whole(pool, [x])
    del lease
    gc.collect()
    assert_whole(pool, [x])


@pytest.mark.parametrize("misuse", MISUSES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_stale_lease_cannot_touch_what_another_holder_has(ending, misuse):
    x = Thing()
    pool = opool.Pool([x])
    stale = pool.lease()
    ending(stale)
    lease = pool.lease()
    assert lease is not stale
    with pytest.raises(opool.LeaseError):
        MISUSES[misuse](stale)
    assert state(pool) == (1, 0, 1, 0)
    del stale
    gc.collect()
    assert state(pool) == (1, 0, 1, 0)
    assert lease.obj is x and not lease.released
    lease.release()
    assert_whole(pool, [x])


def test_a_lease_entered_twice_says_so_and_the_first_with_goes_on():
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.lease()
    with lease as obj:
        assert obj is x
        with pytest.raises(opool.LeaseError):
            lease.__enter__()
        with pytest.raises(opool.LeaseError):
            with lease:
                raise AssertionError("the body of a second with")
        assert state(pool) == (1, 0, 1, 0)
    assert_whole(pool, [x])


def test_releasing_in_the_body_makes_the_exit_complain_and_shows_the_error_of_the_body():
    pool = opool.Pool([1])
    error = KeyError("body")
    lease = pool.lease()
    with pytest.raises(opool.LeaseError) as caught:
        with lease:
            lease.release()
            raise error
    assert caught.value.__context__ is error
    assert_whole(pool, [1])


def test_leaving_without_entering_never_doubles_the_object():
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.lease()
    for _ in range(2):
        with contextlib.suppress(opool.LeaseError):
            lease.__exit__(None, None, None)
    del lease
    assert_whole(pool, [x])


def test_the_message_of_a_second_release_names_the_pool():
    pool = opool.Pool([1], name="printers")
    lease = pool.lease()
    lease.release()
    with pytest.raises(opool.LeaseError, match="printers"):
        lease.release()


def test_lease_errors_are_pool_errors_and_value_errors():
    assert issubclass(opool.LeaseError, opool.PoolError) and issubclass(opool.LeaseError, ValueError)
    assert issubclass(opool.PoolTimeout, opool.PoolError) and issubclass(opool.PoolTimeout, TimeoutError)
    assert opool.PoolError.__bases__ == (Exception,)


def test_a_dropped_lease_gives_its_object_back():
    x = Thing()
    pool = opool.Pool([x])
    pool.lease()
    assert_whole(pool, [x])
    lease = pool.lease()
    lease.__enter__()
    del lease
    assert_whole(pool, [x])


def test_a_lease_can_be_released_or_left_in_another_thread():
    objects = things(2)
    pool = opool.Pool(objects)
    one, two = pool.lease(), pool.lease()
    two.__enter__()
    threads(1, lambda _: one.release())
    threads(1, lambda _: two.__exit__(None, None, None))
    for lease in (one, two):
        with pytest.raises(opool.LeaseError):
            lease.__exit__(None, None, None)
    assert_whole(pool, objects)


def test_of_many_threads_that_release_one_lease_exactly_one_succeeds():
    x = Thing()
    pool = opool.Pool([x])

    def try_to_release(lease):
        try:
            lease.release()
        except opool.LeaseError:
            return 0
        return 1

    for _ in range(200):
        lease = pool.lease(timeout=0)
        assert sum(threads(4, lambda _, lease=lease: try_to_release(lease))) == 1
    assert_whole(pool, [x])


def test_a_lease_dropped_in_another_thread_gives_back():
    x = Thing()
    pool = opool.Pool([x])
    box = [pool.lease()]
    threads(1, lambda _: box.clear())
    eventually(lambda: pool.idle == 1)
    assert_whole(pool, [x])


def test_try_lease_gives_a_lease_or_none_and_never_waits():
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.try_lease()
    assert isinstance(lease, opool.Lease) and lease.obj is x
    assert pool.try_lease() is None
    assert opool.Pool().try_lease() is None
    with lease:
        pass
    assert_whole(pool, [x])


def test_exit_stack_gives_all_back_in_reverse():
    a, b, c = objects = things(3)
    pool = opool.Pool(objects)
    with contextlib.ExitStack() as stack:
        assert [stack.enter_context(pool.lease()) for _ in objects] == objects
        assert pool.idle == 0
    assert drain(pool) == [c, b, a]


def test_exit_stack_keeps_the_lease_open_after_pop_all():
    pool = opool.Pool([1])
    with contextlib.ExitStack() as stack:
        stack.enter_context(pool.lease())
        kept = stack.pop_all()
    assert pool.leased == 1
    kept.close()
    assert_whole(pool, [1])


def test_the_protocol_can_be_driven_through_the_type():
    x = Thing()
    pool = opool.Pool([x])
    lease = pool.lease()
    kind = type(lease)
    assert kind.__enter__(lease) is x
    assert kind.__exit__(lease, None, None, None) is None
    assert_whole(pool, [x])


def test_bound_methods_keep_the_lease_and_work_once():
    x = Thing()
    pool = opool.Pool([x])
    release = pool.lease().release
    gc.collect()
    assert pool.leased == 1
    release()
    with pytest.raises(opool.LeaseError):
        release()
    lease = pool.lease
    with lease() as obj:
        assert obj is x
    assert_whole(pool, [x])


def test_nested_withs_hold_different_objects():
    _, b, c = objects = things(3)
    pool = opool.Pool(objects)
    with pool.lease() as one:
        with pool.lease() as two, pool.lease() as three:
            assert [one, two, three] == objects
        assert drain(pool) == [c, b]
    assert_whole(pool, objects)


def leasing_generator(pool):
    with pool.lease() as obj:
        yield obj
        yield obj


def test_a_generator_closed_exhausted_or_dropped_in_the_body_gives_back():
    x = Thing()
    pool = opool.Pool([x])
    generator = leasing_generator(pool)
    assert next(generator) is x and pool.idle == 0
    generator.close()
    assert_whole(pool, [x])
    assert list(leasing_generator(pool)) == [x, x]
    assert_whole(pool, [x])
    generator = leasing_generator(pool)
    next(generator)
    del generator
    gc.collect()
    assert_whole(pool, [x])


def test_an_error_thrown_into_a_generator_gives_back():
    pool = opool.Pool([1])
    generator = leasing_generator(pool)
    next(generator)
    with pytest.raises(KeyError):
        generator.throw(KeyError("thrown"))
    assert_whole(pool, [1])


def test_leases_move_across_generators_and_loops_without_mixing():
    objects = things(50)
    pool = opool.Pool(objects)
    held = []
    for step in range(2000):
        if step % 3 == 2 or pool.idle == 0:
            held.pop(step % len(held)).release()
        else:
            held.append(pool.lease(timeout=0))
        assert len({id(lease.obj) for lease in held}) == len(held) == pool.leased
    for lease in held:
        lease.release()
    assert_whole(pool, objects)


def test_a_subclass_may_have_another_constructor_attributes_and_methods():
    class Printers(opool.Pool):
        kind = "laser"

        def __init__(self, host, count, *, floor):
            super().__init__((f"{host}/{i}" for i in range(count)), timeout=0.01, name=host)
            self.floor = floor

        def lease(self, *args, **kwargs):
            self.calls = getattr(self, "calls", 0) + 1
            return super().lease(*args, **kwargs)

    pool = Printers("hp", 2, floor=3)
    assert (pool.name, pool.timeout, pool.floor, pool.kind) == ("hp", 0.01, 3, "laser")
    with pool.lease() as obj, pool.lease(timeout=0) as other:
        assert (obj, other) == ("hp/0", "hp/1")
        with pytest.raises(opool.PoolTimeout, match="hp"):
            pool.lease()
    assert pool.calls == 3
    assert drain(pool) == ["hp/1", "hp/0"]


def test_a_subclass_with_slots_and_a_second_base_works():
    class Mixin:
        __slots__ = ()

        def double(self):
            return self.size * 2

    class Slotted(Mixin, opool.Pool):
        __slots__ = ("extra",)

    pool = Slotted([1, 2])
    pool.extra = "set"
    assert (pool.double(), pool.extra, pool.lease().obj) == (4, "set", 1)


def test_pool_and_lease_can_be_subscripted_at_runtime():
    pool = opool.Pool[int]([1])
    assert type(pool) is opool.Pool
    assert opool.Pool[int].__origin__ is opool.Pool and opool.Pool[int].__args__ == (int,)
    assert opool.Lease[int].__origin__ is opool.Lease
    assert isinstance(pool, opool.Pool) and isinstance(pool.lease(), opool.Lease)
    with pytest.raises(TypeError):
        isinstance(pool, opool.Pool[int])


def test_a_subscripted_pool_can_be_a_base_class():
    class Numbers(opool.Pool[int]):
        pass

    assert drain(Numbers([1, 2])) == [1, 2]


def test_leases_open_at_every_level_of_a_recursion_that_goes_too_deep_are_all_back():
    objects = things(3000)
    pool = opool.Pool(objects, timeout=0)

    def deeper():
        with pool.lease():
            deeper()

    for _ in range(5):
        with pytest.raises(RecursionError):
            deeper()
        gc.collect()
        assert_whole(pool, objects)
