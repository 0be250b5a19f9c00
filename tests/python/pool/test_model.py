"""A pool against a model that knows no more than a user may rely on, step by step, on a clock that the test winds.

The model is a few lists: what is idle, in the order in which it came back; what is held; what a hook is looking at;
what is gone. Hooks tell it what they were called with. Where the rules make an outcome certain, it must be that one;
elsewhere it must be one that the rules allow.
"""

import logging
from contextlib import contextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import opool
from opool.testing import Clock, check_invariants
from pool_model import Held, Model, Thing, Told

CREATE_TIMEOUT, CHECK_TIMEOUT, DEADLOCK_AFTER = 3.0, 2.0, 0.1

CALM = st.just(["ok"])
ANYTHING = st.lists(
    st.sampled_from(["ok", "ok", "error", ("slow", 1.0), ("slow", 4.0), "never"]), min_size=1, max_size=6
)
SECONDS = st.sampled_from([0, 0.05, 0.5, 1, 2.5, 7, 30])


def sometimes(strategy):
    return st.one_of(st.none(), strategy)


class PoolMachine(RuleBasedStateMachine):
    """One pool, one thread; the others are played by the clock."""

    @initialize(
        create=st.one_of(CALM, ANYTHING),
        check=sometimes(st.one_of(CALM, ANYTHING)),
        reset=sometimes(
            st.one_of(CALM, st.lists(st.sampled_from(["ok", "error", ("slow", 0.5)]), min_size=1, max_size=4))
        ),
        dispose=st.one_of(CALM, ANYTHING),
        order=st.sampled_from(["fifo", "lifo"]),
        sizes=st.tuples(st.integers(0, 2), st.integers(1, 4)).filter(lambda sizes: sizes[0] <= sizes[1]),
        given=st.integers(0, 1),
        check_after=st.sampled_from([0, 5.0]),
        max_idle=sometimes(st.just(20.0)),
        max_lifetime=sometimes(st.just(50.0)),
        max_waiting=sometimes(st.just(0)),
        track=st.booleans(),
    )
    def make(
        self,
        create,
        check,
        reset,
        dispose,
        order,
        sizes,
        given,
        check_after,
        max_idle,
        max_lifetime,
        max_waiting,
        track,
    ):
        self.clock = clock = Clock()
        self.model = model = Model(clock)
        model.options = {"check_after": None if check is None else check_after, "max_lifetime": max_lifetime}
        model.first = 0 if order == "fifo" else -1
        self.hooks = {
            "create": Told(create, clock, began=lambda: None, make=model.made),
            "check": check and Told(check, clock, began=model.begins_to_check, make=model.is_well),
            "reset": reset and Told(reset, clock, began=model.begins_to_reset, make=model.is_well),
            "dispose": Told(dispose, clock, began=model.begins_to_dispose, make=lambda thing: None),
        }
        self.calm = all(words in (None, ["ok"]) for words in (create, check, reset))
        self.slow_reset = reset is not None and ("slow", 0.5) in reset
        self.min_size, self.max_size = sizes
        self.max_idle, self.max_waiting = max_idle, max_waiting
        self.resized = self.reloaded = self.closed = False
        self.before_reload = []
        objects = [model.made() for _ in range(given)]
        self.pool = model.pool = opool.Pool(
            objects,
            factory=self.hooks["create"],
            check=self.hooks["check"],
            reset=self.hooks["reset"],
            dispose=self.hooks["dispose"],
            order=order,
            min_size=self.min_size,
            max_size=self.max_size,
            max_idle=max_idle,
            max_lifetime=max_lifetime,
            max_waiting=max_waiting,
            create_timeout=CREATE_TIMEOUT,
            track=track,
            clock=clock,
            **({} if check is None else {"check_after": check_after}),
            **({} if check is None and reset is None else {"check_timeout": CHECK_TIMEOUT}),
            **({} if max_lifetime is None else {"jitter": 0}),
        )
        self.exact = bool(check or max_idle or max_lifetime or track)
        self.ceiling = self.max_size
        self.stats = self.pool.stats()

    # -----------------------------------------------------------------------------------------------------------------
    # Taking

    @rule(how=st.sampled_from(["lease", "enter", "acquire"]), timeout=SECONDS)
    def take(self, how, timeout):
        model, began, before = self.model, self.clock.time, self.pool.stats()
        certain, expected = model.next(), self.expected_error(before, timeout)
        arrives = self.arrives(before)
        calls = dict(model.calls)
        try:
            taken = (self.pool.acquire if how == "acquire" else self.pool.lease)(timeout=timeout)
        except opool.PoolError as error:
            assert certain is None or self.closed, f"{certain} is there, but: {error!r}"
            assert expected is None or type(error) is expected, repr(error)
            if type(error) is opool.PoolTimeout:
                assert arrives is None or arrives >= began + timeout, repr(error)
            self.in_vain(error, began, timeout)
            return
        assert expected is None, f"{expected} was to come"
        thing = taken if how == "acquire" else taken.obj
        assert thing in model.idle, f"{thing} is out, in somebody's hands, or gone"
        if certain is not None:
            assert thing is certain
            assert (self.clock.time, model.calls) == (began, calls), "it was there at once, but something happened"
        elif arrives is not None and not self.slow_reset:
            assert self.clock.time == pytest.approx(arrives), "it came too late, or too early"
        if not self.slow_reset:  # who resets what the other gets lets time pass himself
            assert self.clock.time <= began + timeout + 1e-6
            assert model.is_fit(thing), f"{thing} was to be checked"
        model.idle.remove(thing)
        held = Held(thing, None if how == "acquire" else taken, self.clock.time)
        if how == "enter":
            assert taken.__enter__() is thing
            held.entered = True
        model.held.append(held)

    def expected_error(self, stats, timeout):
        """Which error must come, if that is certain."""
        if self.closed:
            return opool.PoolClosed
        if self.model.next() is not None or not self.calm:
            return None
        room = max(0, self.max_size - stats.size - stats.creating)
        if self.max_waiting == 0 and stats.creating + stats.checking + stats.idle + room == 0:
            return opool.TooManyWaiters
        return opool.PoolTimeout if timeout == 0 else None

    def arrives(self, stats):
        """When something comes for who waits now, if that is certain. What nobody has comes at once."""
        if not self.calm or self.closed or stats.size > self.max_size:
            return None
        if stats.idle or stats.checking:
            return self.clock.time
        # What is being disposed of, or will be meanwhile (discarded or replaced when it comes back), may still take its
        # place.
        dispose = self.hooks["dispose"]
        lasting = dispose is not None and any(kind in ("slow", "never") for kind, _ in dispose._script)
        if stats.size < self.max_size:
            return None if lasting else self.clock.time
        if lasting or all(held.entered for held in self.model.held):
            return None
        return min((held.promised for held in self.model.held if held.promised is not None), default=float("inf"))

    def in_vain(self, error, began, timeout):
        """What must be true when nobody got anything."""
        model = self.model
        model.sync()
        passed = self.clock.time - began
        if self.closed:
            assert type(error) is opool.PoolClosed
        elif type(error) is opool.PoolDeadlock:
            assert all(held.entered for held in model.held) and model.held
            assert self.slow_reset or passed == pytest.approx(DEADLOCK_AFTER)
        elif type(error) is opool.PoolTimeout:
            assert self.slow_reset or passed == pytest.approx(timeout)
            assert self.slow_reset or not [thing for thing in model.idle if model.is_fit(thing)], "it was there"
            facts = error.facts
            assert facts.queued + facts.creating + facts.checking == pytest.approx(passed, abs=1e-6)
            assert (facts.idle, facts.leased) == (len(model.idle), len(model.held) + len(model.tended))
            assert str(error)
        elif type(error) is opool.FactoryError:
            assert not (self.calm or model.held or model.idle or model.tended), "something could still have come"
        else:
            assert type(error) is opool.TooManyWaiters and passed == 0 and self.max_waiting == 0

    @rule()
    def try_lease(self):
        model, certain = self.model, self.model.next()
        began = self.clock.time
        try:
            lease = self.pool.try_lease()
        except opool.PoolClosed:
            assert self.closed
            return
        assert self.clock.time == began
        if lease is None:
            assert certain is None, f"{certain} was there"
            return
        assert lease.obj is certain or (certain is None and lease.obj in model.idle and model.is_fit(lease.obj))
        model.idle.remove(lease.obj)
        model.held.append(Held(lease.obj, lease, began))

    # -----------------------------------------------------------------------------------------------------------------
    # Giving back

    def mine(self):
        return [held for held in self.model.held if held.promised is None]

    @precondition(mine)
    @rule(data=st.data(), how=st.sampled_from(["release", "release", "discard", "drop"]))
    def give_back(self, data, how):
        held = data.draw(st.sampled_from(self.mine()))
        self.returns(held, how)

    @precondition(mine)
    @rule(data=st.data(), seconds=SECONDS, how=st.sampled_from(["release", "release", "discard", "drop"]))
    def give_back_later(self, data, seconds, how):
        held = data.draw(st.sampled_from(self.mine()))
        held.promised = self.clock.time + seconds
        self.clock.call_later(seconds, lambda: self.returns(held, how))

    def returns(self, held, how):
        model, thing, lease = self.model, held.thing, held.lease
        model.held.remove(held)
        model.tended.append(thing)  # in its giver's hands
        if how == "discard" and lease is not None:
            model.discarded += 1
            lease.discard()
            assert thing not in self.pool
        elif how == "drop" and lease is not None:
            held.lease = lease = None
        elif lease is None:
            self.pool.release(thing)
            with pytest.raises(opool.LeaseError):
                self.pool.release(thing)
        elif held.entered:
            assert lease.__exit__(None, None, None) is None
        else:
            lease.release()
        if lease is not None:
            with pytest.raises(opool.LeaseError):
                lease.release()
        if self.hooks["reset"] is None or thing in model.forced:
            model.is_well(thing)

    @rule()
    def give_back_what_is_not_out(self):
        for thing in [*self.model.idle, *self.model.gone, object()]:
            with pytest.raises(opool.LeaseError):
                self.pool.release(thing)

    # -----------------------------------------------------------------------------------------------------------------
    # The pool itself

    @rule()
    def add(self):
        stats = self.pool.stats()
        full = stats.size + stats.creating >= self.max_size
        thing = Thing(len(self.model.things), self.clock.time)
        with self.error(opool.PoolClosed if self.closed else ValueError if full else None):
            self.pool.add_obj(thing)
        if thing in self.pool:
            self.model.things.append(thing)
            self.model.idle.append(thing)

    @rule(sizes=st.tuples(st.integers(0, 3), st.integers(0, 4)))
    def resize(self, sizes):
        least, most = sizes
        model, before, oldest_first = self.model, self.pool.stats(), list(self.model.idle)
        wrong = most == 0 or least > most
        with self.error(opool.PoolClosed if self.closed else ValueError if wrong else None):
            self.pool.resize(min_size=least, max_size=most)
        if self.closed or wrong:
            return
        self.min_size, self.max_size, self.resized = least, most, True
        self.ceiling = max(most, min(self.ceiling, before.size + before.creating))
        left = model.sync()
        if not self.reloaded and not model.options["max_lifetime"]:
            assert left == oldest_first[: len(left)], "those that have been idle longest go"
            # Attempts that have no room any more are forgotten first: what is idle already is worth more.
            assert len(left) == min(len(oldest_first), max(0, before.size - most))

    @rule()
    def reload(self):
        with self.error(opool.PoolClosed if self.closed else None):
            self.pool.reload()
        if not self.closed:
            self.reloaded = True
            self.before_reload = list(self.model.things)

    @precondition(lambda self: not self.closed or self.model.held)
    @rule(timeout=SECONDS, force=st.booleans(), seriously=st.integers(0, 4))
    def close(self, timeout, force, seriously):
        if seriously:  # not too often, or there were nothing else to see
            return
        model, began = self.model, self.clock.time
        self.closed = True
        if force:
            model.forced += [held.thing for held in model.held]
        out = [held for held in model.held if held.thing not in model.forced]
        last = max((float("inf") if held.promised is None else held.promised for held in out), default=began)
        try:
            self.pool.close(timeout=timeout, force=force)
        except opool.PoolCloseTimeout as error:
            assert last >= began + timeout or self.slow_reset, "everything was back in time"
            assert self.clock.time == pytest.approx(began + timeout) or self.slow_reset
            assert {id(holder.obj) for holder in error.holders} == {id(held.thing) for held in model.held}
        else:
            assert last <= began + timeout + 1e-6 or self.slow_reset
            assert not [held for held in model.held if held.thing not in model.forced]
        assert self.pool.closed

    @rule(seconds=SECONDS)
    def advance(self, seconds):
        began = self.clock.time
        self.clock.advance(seconds)
        assert self.clock.time == pytest.approx(began + seconds) or self.slow_reset
        self.model.sync()
        busy = self.hooks["dispose"].running
        left = [thing for thing in self.model.gone if not thing.disposed]
        assert not left or busy >= 8, f"{left} have gone, and nobody disposes of them"
        if self.calm and not self.closed:
            stats = self.pool.stats()
            # What is being disposed of may still take its place.
            coming = stats.creating + busy
            assert stats.size + coming >= min(self.min_size, self.max_size), "fewer than min_size"

    @precondition(lambda self: self.calm and not self.closed)
    @rule()
    def everybody_goes_home(self):
        for held in self.mine():
            self.returns(held, "release")
        self.clock.advance(1000)
        stats = self.pool.stats()
        assert stats.leased == stats.creating == 0
        assert self.min_size <= stats.size <= self.max_size
        assert not [thing for thing in self.before_reload if thing in self.pool], "not all were replaced"
        if self.max_idle is not None and self.model.options["max_lifetime"] is None:
            assert stats.size == self.min_size, "what was idle for so long was to go"

    @contextmanager
    def error(self, expected):
        """Exactly this error, or none."""
        try:
            yield
        except Exception as error:
            assert expected is not None and type(error) is expected, repr(error)
        else:
            assert expected is None, f"no {expected.__name__}"

    # -----------------------------------------------------------------------------------------------------------------
    # After every step

    @invariant()
    def everything_is_where_it_should_be(self):
        if not hasattr(self, "pool"):
            return
        model, before = self.model, self.stats
        model.sync()
        check_invariants(self.pool)
        self.stats = stats = self.pool.stats()
        idle, tended, held, gone = (len(part) for part in (model.idle, model.tended, model.held, model.gone))
        assert (stats.idle, stats.checking, stats.leased) == (idle, tended, held + tended)
        assert stats.created == len(model.things) == idle + tended + held + gone
        assert stats.waiting == 0
        self.ceiling = max(self.max_size, min(self.ceiling, stats.size + stats.creating))
        assert stats.size + stats.creating <= self.ceiling, "above max_size"
        assert stats.creating <= self.hooks["create"].running
        holders = {id(holder.obj): holder for holder in self.pool.holders()}
        assert holders.keys() == {id(each.thing) for each in model.held}
        if self.exact:
            ages = [holders[id(each.thing)].age + each.at for each in model.held]
            assert ages == pytest.approx([self.clock.time] * held)
        self.reasons_hold(before, stats)

    def reasons_hold(self, before, stats):
        """Nothing leaves without a reason."""
        model, retired = self.model, stats.retired
        assert sum(retired.values()) == len(model.gone)
        assert retired["discarded"] == model.discarded
        assert retired["unfit"] <= model.calls["check"] and retired["not_reset"] <= model.calls["reset"]
        assert not (self.calm and (retired["unfit"] or retired["not_reset"] or stats.create_failures))
        assert not retired["idle"] or self.max_idle is not None
        assert not retired["reloaded"] or self.reloaded
        assert not retired["surplus"] or self.resized or stats.create_failures
        assert not retired["closed"] or self.closed
        assert not retired["forked"]
        aged = sum(model.is_old(thing) for thing in model.gone)
        assert retired["lifetime"] <= aged, "not old enough to go"
        changed = {why for why, count in retired.items() if count != before.retired[why]}
        if changed == {"idle"}:
            assert stats.size + stats.creating >= min(self.min_size, before.size)

    def teardown(self):
        """In the end everything has been disposed of, once."""
        if not hasattr(self, "pool"):
            return
        for hook in filter(None, self.hooks.values()):
            hook.release()
        for held in self.mine():
            self.returns(held, "release")
        self.clock.advance(100)  # what is promised comes back
        self.pool.close(timeout=100)
        self.closed = True
        self.clock.advance(100)
        self.everything_is_where_it_should_be()
        assert (self.stats.size, self.stats.creating) == (0, 0)
        left = [thing for thing in self.model.things if thing.disposed != 1]
        assert not left, f"{left} were not disposed of"


@pytest.fixture(autouse=True)
def _silence(caplog):
    caplog.set_level(logging.CRITICAL, logger="opool")


class TestPoolAgainstItsModel(PoolMachine.TestCase):
    settings = settings(stateful_step_count=30)
