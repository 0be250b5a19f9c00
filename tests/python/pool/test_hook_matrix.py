"""Every hook, and the body of the lease, succeeds, fails, is slow, or hangs: all 1,024 combinations, in real threads.

Whatever happens: nothing is lost, nothing is lent or disposed of twice, nothing is above `max_size`, every error is one
that has a reason, and the pool ends when what hangs returns.
"""

import itertools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import opool
from opool.testing import Scripted, check_invariants
from support import LIMIT, Crew, eager_switching, eventually

WORDS = ("ok", "error", "slow", "never")
MAX_SIZE = 2
LENDERS = 3
ROUNDS = 4
AT_ONCE = 16
A_WHILE = LIMIT
"""Nothing here takes that long, unless something is lost."""


class BodyError(Exception):
    """What a body raises."""


def script(word):
    """Fails and dawdles now and then, and hangs once: what hangs holds a thread until the end."""
    if word == "never":
        return Scripted("never", *["ok"] * 999)
    return Scripted(("slow", 0.001) if word == "slow" else word, "ok", "ok")


class Made:
    """An object that knows who has it."""

    def __init__(self):
        self.holder = None
        self.disposed = 0


class Run:
    """A pool for one combination, those who use it, and what they have seen."""

    def __init__(self, create, check, reset, dispose, body):
        self.words = {"create": create, "check": check, "reset": reset, "dispose": dispose, "body": body}
        self.name = " ".join(f"{what}={word}" for what, word in self.words.items())
        self.scripts = {what: script(word) for what, word in self.words.items()}
        self.lock = threading.Lock()
        self.problems = []
        self.made = []
        self.gone = 0
        self.taken = 0
        self.refused = 0
        self.done = 0
        self.closing = False
        # A body and a reset that hang hold one object each, and that is all there are.
        self.all_stuck = body == reset == "never"
        self.pool = opool.Pool(
            factory=self.create,
            check=self.check,
            reset=self.reset,
            dispose=self.dispose,
            max_size=MAX_SIZE,
            name=self.name,
            timeout=0.05 if self.all_stuck else A_WHILE,
            check_after=0,
            create_timeout=0.02 if create == "never" else A_WHILE,
            check_timeout=0.02 if "never" in (check, reset) else A_WHILE,
        )

    # What the pool calls. A hook that fails does so before it does anything.

    def create(self):
        self.look()
        self.scripts["create"]()
        obj = Made()
        with self.lock:
            self.made.append(obj)
        self.look()
        return obj

    def check(self, obj):
        self.look()
        if "never" not in (self.words["check"], self.words["reset"]):  # else it may have been given up already
            self.expect(obj.holder is None, "checked while somebody has it")
            self.expect(not obj.disposed, "checked after its end")
        return self.scripts["check"](obj)

    def reset(self, obj):
        self.look()
        self.expect(obj.holder is None, "reset while somebody has it")
        self.scripts["reset"](obj)

    def dispose(self, obj):
        with self.lock:
            self.gone += 1
            obj.disposed += 1
        self.expect(obj.disposed == 1, "disposed of twice")
        self.expect(obj.holder is None, "disposed of while somebody has it")
        self.look()
        self.scripts["dispose"](obj)

    # Those who lease.

    def lend(self, me):
        for number in range(ROUNDS):
            way = (self.in_a_with, self.bare, self.dropped, self.discarded)[(me + number) % 4]
            try:
                way(me)
            except BodyError:
                self.expect(self.words["body"] == "error", "a body failed that should not have")
            except opool.PoolClosed:
                self.expect(self.closing, "closed in the middle")
                with self.lock:
                    self.refused += 1
            except opool.PoolTimeout as error:
                self.expect(self.all_stuck, f"waited in vain: {error}")
                self.expect(not isinstance(error, opool.PoolDeadlock), f"not a deadlock: {error}")
            except opool.FactoryError as error:
                self.expect(self.words["create"] in ("error", "never"), f"no object: {error} ({error.__cause__!r})")
            except BaseException as error:
                self.expect(False, f"an error of no kind that is documented: {error!r}")
        with self.lock:
            self.done += 1

    def in_a_with(self, me):
        with self.pool.lease() as obj:
            self.have(obj, me)

    def bare(self, me):
        obj = self.pool.acquire()
        try:
            self.have(obj, me)
        finally:
            self.pool.release(obj)

    def dropped(self, me):
        lease = self.pool.lease()
        self.have(lease.obj, me)
        del lease

    def discarded(self, me):
        lease = self.pool.lease()
        try:
            self.have(lease.obj, me)
        finally:
            lease.discard()

    def have(self, obj, me):
        """The body of a lease."""
        with self.lock:
            self.taken += 1
            before, obj.holder = obj.holder, me
        self.expect(before is None, f"lent to {me} while {before} has it")
        self.expect(not obj.disposed, "lent after its end")
        try:
            self.look()
            try:
                self.scripts["body"]()
            except Exception:
                raise BodyError from None
        finally:
            with self.lock:
                after, obj.holder = obj.holder, None
            self.expect(after == me, f"lent to {after} while {me} had it")

    # What must be true.

    def expect(self, true, otherwise):
        if not true:
            self.problems.append(otherwise)

    def look(self):
        """What has been seen from outside was counted by the pool as well, or is on its way."""
        with self.lock:
            made, gone = len(self.made), self.gone
        stats = self.pool.stats()
        try:
            check_invariants(self.pool)
        except AssertionError as error:
            self.problems.append(str(error))
        self.expect(stats.size + stats.creating <= MAX_SIZE, f"above max_size: {stats}")
        given_up = stats.create_failures if self.words["create"] == "never" else 0
        self.expect(made <= stats.created + stats.creating + given_up, f"{made} were made: {stats}")
        self.expect(gone <= sum(stats.retired.values()), f"disposed of {gone}, but they are not out: {stats}")

    def stuck(self):
        """How many of those who lease are in something that hangs."""
        held = [lease.obj for lease in self.pool.holders()]
        hanging = [args[0] for args in self.scripts["reset"].args[:1]]
        in_reset = self.words["reset"] == "never" and any(obj is other for obj in hanging for other in held)
        return self.scripts["body"].running * (self.words["body"] == "never") + in_reset

    def run(self):
        crew = Crew(LENDERS, self.lend)
        eventually(lambda: self.done + self.stuck() >= LENDERS, A_WHILE)
        if self.done < LENDERS:
            self.closing = True
            with pytest.raises(opool.PoolCloseTimeout):
                self.pool.close(timeout=0)
        for hook in self.scripts.values():
            hook.release()
        crew.join(A_WHILE)
        self.pool.close(timeout=A_WHILE)
        self.look()
        # A close that gave up waiting leaves that to the background, where a thread may be about to start.
        eventually(lambda: all(obj.disposed for obj in self.made), A_WHILE)
        eventually(lambda: f"opool {self.name}" not in [thread.name for thread in threading.enumerate()], A_WHILE)
        stats = self.pool.stats()
        self.expect((stats.size, stats.creating, stats.waiting) == (0, 0, 0), f"not empty: {stats}")
        self.expect(stats.leases == self.taken, f"{self.taken} were taken: {stats}")
        self.expect(stats.created == len(self.made), f"{len(self.made)} were made: {stats}")
        left = [obj for obj in self.made if obj.disposed != 1]
        self.expect(not left, f"{len(left)} of {len(self.made)} were not disposed of once: {stats}")
        if not self.all_stuck and not {"error", "never"} & {self.words["create"]}:
            served = self.taken + self.refused
            self.expect(served == LENDERS * ROUNDS, f"only {self.taken} were taken, {self.refused} refused: {stats}")


def run(words):
    """What was wrong with one combination."""
    one = Run(*words)
    try:
        one.run()
    except BaseException as error:
        one.problems.append(repr(error))
        for hook in one.scripts.values():
            hook.release()
    return [f"{one.name}: {problem}" for problem in one.problems]


@pytest.fixture(autouse=True)
def _silence(caplog):
    """The log would tell of some ten thousand failures."""
    caplog.set_level(logging.CRITICAL, logger="opool")


@pytest.mark.parametrize("check", WORDS, ids="check={}".format)
@pytest.mark.parametrize("create", WORDS, ids="create={}".format)
def test_nothing_is_lost_or_doubled_whatever_fails_dawdles_or_hangs(create, check):
    combinations = list(itertools.product([create], [check], WORDS, WORDS, WORDS))
    assert len(combinations) == 64
    with eager_switching(1e-4), ThreadPoolExecutor(AT_ONCE) as executor:
        problems = list(itertools.chain.from_iterable(executor.map(run, combinations)))
    assert not problems, "\n".join([f"{len(problems)} problems, first of them:", *problems[:20]])
