"""What a user may rely on in a pool that makes its objects: where each of them is, and what is certain to come next."""

from opool.testing import Scripted


class Thing:
    """A pooled object."""

    def __init__(self, number, made_at):
        self.number = number
        self.made_at = made_at
        self.since = made_at
        self.disposed = 0

    def __repr__(self):
        return f"Thing({self.number})"


class Told(Scripted):
    """A hook that tells when it is called, and, by `make`, when it returns."""

    def __init__(self, script, clock, *, began, make):
        super().__init__(*script, clock=clock, make=make)
        self._began = began

    def _next(self, args):
        self._began(*args)
        return super()._next(args)


class Held:
    """What somebody has, and how it goes back."""

    def __init__(self, thing, lease, at):
        self.thing = thing
        self.lease = lease
        self.at = at
        self.entered = False
        self.promised = None


class Model:
    """What ought to be where. Lists are in the order in which things came."""

    def __init__(self, clock):
        self.clock = clock
        self.pool = None
        self.things = []
        self.idle = []
        self.tended = []
        self.queued = []
        self.held = []
        self.gone = []
        self.forced = []
        self.discarded = 0
        self.calls = {"check": 0, "reset": 0}

    # What hooks tell.

    def made(self):
        thing = Thing(len(self.things), self.clock.time)
        self.things.append(thing)
        self.idle.append(thing)
        return thing

    def begins_to_check(self, thing):
        self.calls["check"] += 1
        assert not self.is_fit(thing), f"{thing} is checked without need"
        if thing in self.queued:
            self.queued.remove(thing)
        else:
            assert thing in self.idle, f"{thing} is checked, but it is not idle"
            self.idle.remove(thing)
            self.tended.append(thing)

    def begins_to_reset(self, thing):
        self.calls["reset"] += 1
        assert thing in self.tended, f"{thing} is reset, but nobody has given it back"

    def is_well(self, thing):
        if thing in self.tended:  # else it was given up in the meantime
            self.tended.remove(thing)
            self.idle.append(thing)
            thing.since = self.clock.time
        return True

    def begins_to_dispose(self, thing):
        thing.disposed += 1
        assert thing.disposed == 1, f"{thing} is disposed of twice"
        if thing not in self.forced:
            assert thing not in [held.thing for held in self.held], f"{thing} is disposed of in its holder's hands"
            assert thing not in self.pool, f"{thing} is disposed of, but it is still there"

    # What follows from the rules.

    def is_fit(self, thing):
        after = self.options["check_after"]
        return after is None or self.clock.time - thing.since <= after

    def is_old(self, thing):
        lifetime = self.options["max_lifetime"]
        return lifetime is not None and self.clock.time - thing.made_at >= lifetime

    def next(self):
        """What a lease must get at once, if that is certain."""
        if not self.idle:
            return None
        first = self.idle[self.first]
        if self.is_old(first):
            return None
        return next(filter(self.is_fit, (first, self.idle[-1])), None)

    def sync(self):
        """Whatever is no longer in the pool is gone, for good."""
        left = [thing for thing in self.idle + self.tended if thing not in self.pool]
        for thing in left:
            (self.idle if thing in self.idle else self.tended).remove(thing)
        self.queued = [thing for thing in self.queued if thing not in left]
        self.gone += left
        # Who waited in vain may have asked for a check that has not begun yet.
        for _ in range(self.pool.stats().checking - len(self.tended)):
            thing = self.idle.pop(self.first)
            assert not self.is_fit(thing), f"{thing} is to be checked without need"
            self.tended.append(thing)
            self.queued.append(thing)
        for held in list(self.held):
            assert held.thing in self.pool, f"{held.thing} is out, and lost"
        assert not [thing for thing in self.gone if thing in self.pool], "what has gone is back"
        return left
