"""How objects leave: idle too long, too old, discarded, or not needed; and how they are disposed of."""

import threading

import pytest

import opool
from opool.testing import Clock, Scripted, check_invariants
from scripted_pool import Line, of
from support import Crew, Thing, eventually, things

# ----------------------------------------------------------------------------------------------------------------------
# max_idle


def test_what_is_idle_for_longer_than_max_idle_goes():
    line = of(Line(max_idle=60), 1)
    line.clock.advance(59)
    assert line.pool.size == 1
    line.clock.advance(2)
    assert (line.pool.size, line.retired) == (0, {"idle": 1})


def test_what_is_used_now_and_then_stays():
    line = of(Line(max_idle=60), 1)
    for _ in range(10):
        line.clock.advance(50)
        line.pool.lease().release()
    assert (line.idle(), line.retired) == ([0], {})


def test_min_size_stays_however_long_it_is_idle():
    line = of(Line(max_idle=60, min_size=2), 6)
    line.clock.advance(10_000)
    assert (line.pool.size, line.factory.calls, line.retired) == (2, 6, {"idle": 4})


def test_those_that_are_idle_too_long_never_go_all_at_once():
    line = of(Line(max_idle=60), 8)
    sizes = [8]
    for _ in range(200):
        line.clock.advance(1)
        if line.pool.size != sizes[-1]:
            sizes.append(line.pool.size)
    assert sizes == [8, 4, 2, 1, 0]


def test_with_lifo_those_that_are_not_needed_become_idle_and_go():
    line = of(Line(max_idle=60, order="lifo"), 5)
    for _ in range(40):
        line.clock.advance(10)
        line.pool.lease().release()
    assert line.pool.size == 1 and line.retired == {"idle": 4}


# ----------------------------------------------------------------------------------------------------------------------
# max_lifetime


def test_an_object_is_replaced_when_its_lifetime_is_over():
    line = of(Line(max_lifetime=100, jitter=0, max_size=1), 1)
    line.clock.advance(99)
    assert line.idle() == [0]
    line.clock.advance(2)
    assert (line.idle(), line.retired) == ([1], {"lifetime": 1})


def test_jitter_shortens_lifetimes_by_chance_and_by_no_more_than_its_part():
    line = Line(max_lifetime=100, jitter=0.5, min_size=10)
    line.clock.advance(0)
    ends = []
    while len(ends) < 10:
        line.clock.advance(0.5)
        ends += [line.clock.time] * (len(line.gone) - len(ends))
    assert ends[0] >= 50 and ends[-1] <= 101
    assert len(set(ends)) > 5


def test_a_leased_object_is_replaced_when_it_comes_back():
    line = Line(max_lifetime=100, jitter=0, max_size=1)
    with line.pool.lease() as obj:
        line.clock.advance(500)
        assert (obj.number, line.pool.size, line.gone) == (0, 1, [])
    line.clock.advance(0)
    assert (line.idle(), line.retired) == ([1], {"lifetime": 1})


@pytest.mark.parametrize(("room", "least"), [(0, 3), (1, 4)])
def test_objects_of_the_same_age_are_replaced_one_after_another(room, least):
    # Where there is room, the new one comes before the old one goes.
    line = Line(*["ok"] * 4, *[("slow", 3)] * 100, max_lifetime=100, jitter=0, min_size=4, max_size=4 + room)
    line.clock.advance(0)
    sizes = set()
    for _ in range(1150):
        line.clock.advance(0.1)
        sizes.add(line.pool.size)
    assert min(sizes) == least and max(sizes) <= 4 + room
    assert line.idle() == [4, 5, 6, 7] and line.retired == {"lifetime": 4}


def test_while_the_factory_fails_old_objects_stay_in_use():
    line = Line(*["ok"] * 3, *["error"] * 20, "ok", max_lifetime=100, jitter=0, min_size=3, max_size=3)
    line.clock.advance(99)
    line.clock.advance(20)
    # One went, because there was no reason yet to doubt the factory.
    assert line.idle() == [1, 2] and line.retired == {"lifetime": 1}
    line.clock.advance(100)
    assert line.pool.size == 3 and line.idle()[0] > 2


# ----------------------------------------------------------------------------------------------------------------------
# dispose, discard


WAYS = {
    "discarded": lambda line: line.pool.lease().discard(),
    "surplus": lambda line: (line.pool.lease(), line.pool.resize(max_size=1)),
    "reloaded": lambda line: line.pool.reload(),
    "closed": lambda line: line.pool.close(),
}


@pytest.mark.parametrize("reason", WAYS)
def test_whatever_makes_an_object_go_it_is_disposed_of_once(reason):
    line = of(Line(max_size=2), 2)
    WAYS[reason](line)
    line.clock.advance(1000)
    gone = [obj.number for obj in line.gone]
    assert len(gone) == len(set(gone)) == line.retired[reason] > 0


def test_dispose_runs_in_the_background_and_its_place_is_free_before():
    go_on, began = threading.Event(), []

    def dispose(obj):
        began.append(threading.get_ident())
        go_on.wait(60)

    pool = opool.Pool(factory=Thing, max_size=1, dispose=dispose)
    pool.lease(timeout=60).discard()
    with pool.lease(timeout=60):
        eventually(lambda: began)
        assert pool.size == 1 and began[0] != threading.get_ident()
    go_on.set()


def test_disposals_that_hang_hold_nobody_up():
    go_on, running = threading.Event(), []

    def dispose(obj):
        running.append(obj)
        go_on.wait(60)

    pool = opool.Pool(factory=Thing, max_size=2, dispose=dispose)
    for _ in range(20):
        pool.lease(timeout=60).discard()
    eventually(lambda: len(running) == 8)
    assert Crew(1, lambda i: pool.lease(timeout=60).obj).join()
    go_on.set()
    eventually(lambda: len(set(map(id, running))) == 20)
    check_invariants(pool)


def test_a_disposal_that_fails_is_logged_and_not_repeated(caplog):
    dispose = Scripted("error")
    line = Line(dispose=dispose, name="db")
    line.pool.lease().discard()
    line.clock.advance(100)
    assert dispose.calls == 1
    assert "pool 'db': dispose failed: ScriptedError('call 0 of the script')" in caplog.text


def test_a_given_object_is_disposed_of_like_any_other():
    dispose, clock = Scripted(), Clock()
    pool = opool.Pool(["a"], dispose=dispose, clock=clock)
    pool.lease().discard()
    clock.advance(0)
    assert (dispose.args, pool.size) == ([("a",)], 0)


def test_a_discarded_object_never_comes_back_and_another_is_made_for_who_waits():
    line = Line(max_size=1)
    lease = line.pool.lease()
    line.clock.call_later(1, lease.discard)
    with line.pool.lease(timeout=5) as obj:
        assert (obj.number, line.clock.time, lease.released) == (1, 1, True)


def test_discard_in_a_pool_that_makes_nothing_takes_the_object_out():
    a, b = objects = things(2)
    pool = opool.Pool(objects)
    pool.lease().discard()
    assert (pool.size, a in pool, b in pool) == (1, False, True)


def test_a_lease_that_is_over_cannot_discard():
    pool = opool.Pool(things(1), name="db")
    lease = pool.lease()
    lease.release()
    with pytest.raises(opool.LeaseError, match="pool 'db': "):
        lease.discard()
    assert pool.size == 1
