"""Tests of code that uses pools: a clock that passes when it is told to, a scripted factory, and an invariant checker.

A pool that is made with ``clock=Clock()`` starts no threads and never sleeps. What would happen in the background
happens when time passes: while somebody waits, or in `Clock.advance`. So a test of minutes takes milliseconds, and
every run is the same. It is all done by one thread.

Example:
    >>> import opool
    >>> from opool.testing import Clock, Scripted
    >>> clock = Clock()
    >>> factory = Scripted("ok", ("slow", 2.0), "error", clock=clock)
    >>> pool = opool.Pool(factory=factory, max_size=2, clock=clock)
    >>> first = pool.lease()
    >>> second = pool.lease(timeout=5)
    >>> clock.time
    2.0
    >>> pool.lease(timeout=5)
    Traceback (most recent call last):
    opool.PoolTimeout: ...
    >>> clock.time
    7.0
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

from opool import _opool

if TYPE_CHECKING:
    from typing_extensions import Literal

    from opool import Pool

    Outcome = Union[Literal["ok", "error", "slow", "never"], "tuple[Literal['slow'], float]"]

__all__ = ["Clock", "Scripted", "ScriptedError", "check_invariants"]

_T = TypeVar("_T")

_SECOND = 1_000_000_000


class Clock(_opool.Clock):
    """A time that passes only when it is told to, for pools that are made with ``clock=``.

    Hooks are called when a pool asks for them, and take no time, except those that are `Scripted`.
    """

    def __init__(self) -> None:
        self._start = self._nanos()
        self._pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    @property
    def time(self) -> float:
        """How many seconds have passed."""
        return (self._nanos() - self._start) / _SECOND

    def advance(self, seconds: float) -> None:
        """Lets time pass, and everything happen that is due meanwhile.

        Raises:
            ValueError: if `seconds` is negative.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not go back: seconds must be >= 0, not {seconds!r}")
        end = self._nanos() + round(seconds * _SECOND)
        while self._step(end):
            pass
        self._set(end)

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Calls `function` when `seconds` have passed: somebody else's part in a test, such as giving back."""
        self._at(self._nanos() + round(seconds * _SECOND), function)

    def _at(self, when: int, function: Callable[[], object]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), function))

    def _join(self, pool: Pool[Any]) -> None:
        self._pools.add(pool)

    def _pass_until(self, pool: Pool[Any], until: int | None) -> None:
        """Called by a pool instead of sleeping: lets the next thing happen, at `until` (nanoseconds) at the latest."""
        if self._step(until):
            return
        if until is None:
            raise RuntimeError(f"{pool!r} would wait for ever: nothing is due that could change that")
        self._set(until)

    def _step(self, until: int | None) -> bool:
        """Does what is due now; else goes on to the next moment at which something is, if that is by `until`."""
        if self._work():
            return True
        moments = [due for pool in self._pools for due in [pool._due()] if due is not None]
        moments += [when for when, _, _ in self._events[:1]]
        if not moments or (until is not None and min(moments) > until):
            return False
        self._set(min(moments))
        if self._events and self._events[0][0] <= self._nanos():
            heapq.heappop(self._events)[2]()
        else:
            self._work()
        return True

    def _work(self) -> bool:
        """Begins all background work that there is now."""
        worked = False
        for pool in sorted(self._pools, key=id):
            while True:
                job = pool._next_job()
                if job is None:
                    break
                worked = True
                begin = getattr(job.hook, "_begin", None)
                if begin is None:
                    job.run()
                else:
                    begin(self, job)
        return worked


class ScriptedError(Exception):
    """What a `Scripted` hook raises where its script says "error"."""


class Scripted(Generic[_T]):
    """A hook that does what its script says, one word a call: for `factory`, `check`, `reset` or `dispose`.

    * "ok": returns at once.
    * "error": raises `ScriptedError`.
    * "slow", or ("slow", seconds): takes so long (1 s), and then is "ok".
    * "never": does not return.

    When the script is over it begins again. With a `clock`, slowness is the clock's, and "never" lasts as long as the
    pool does; a reset, which its caller does itself, cannot be that slow: there "never" raises `ScriptedError`.

    Args:
        script: the words.
        clock: the clock of the pool; None for a pool without one: then it sleeps, and "never" waits for `release`.
        make: what "ok" returns; by default a new object that shows its number for a factory, and True for a check.

    Attributes:
        calls: how often it was called.
        running: how many calls have not returned.
        args: what it was called with, one tuple a call.
    """

    def __init__(self, *script: Outcome, clock: Clock | None = None, make: Callable[..., _T] | None = None) -> None:
        self._script = [self._read(word) for word in script or ("ok",)]
        self._clock = clock
        self._make = make
        self._released = threading.Event()
        self.calls = 0
        self.running = 0
        self.args: list[tuple[Any, ...]] = []

    @staticmethod
    def _read(word: Outcome) -> tuple[str, float]:
        kind, seconds = (word, 1.0) if isinstance(word, str) else word
        if kind not in ("ok", "error", "slow", "never"):
            raise ValueError(f"a script says 'ok', 'error', 'slow', ('slow', seconds) or 'never', not {word!r}")
        return kind, seconds

    def release(self) -> None:
        """Ends all calls that would never return, without a clock; they are "ok"."""
        self._released.set()

    def _next(self, args: tuple[Any, ...]) -> tuple[str, float, int]:
        number = self.calls
        self.calls += 1
        self.args.append(args)
        return (*self._script[number % len(self._script)], number)

    def _result(self, number: int, args: tuple[Any, ...]) -> Any:
        if self._make is not None:
            return self._make(*args)
        return True if args else Made(number)

    def __call__(self, *args: Any) -> Any:
        """The next word of the script."""
        kind, seconds, number = self._next(args)
        self.running += 1
        try:
            if kind == "slow" and self._clock is not None:
                self._clock.advance(seconds)
            elif kind == "slow":
                time.sleep(seconds)
            elif kind == "never" and self._clock is None:
                self._released.wait()
            elif kind != "ok":
                raise ScriptedError(f"call {number} of the script")
            return self._result(number, args)
        finally:
            self.running -= 1

    def _begin(self, clock: Clock, job: Any) -> None:
        """The next word of the script, in the background of a pool whose time is `clock`."""
        args = () if job.obj is None else (job.obj,)
        kind, seconds, number = self._next(args)
        self.running += 1

        def end() -> None:
            self.running -= 1
            if kind == "error":
                job.fail(ScriptedError(f"call {number} of the script"))
            else:
                job.finish(self._result(number, args))

        if kind == "slow":
            clock.call_later(seconds, end)
        elif kind != "never":
            end()


class Made:
    """What a `Scripted` factory makes: told from others by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        """As in "Made(3)"."""
        return f"Made({self.number})"


def check_invariants(pool: Pool[Any]) -> None:
    """Checks what is always true of a pool, whatever it is doing.

    Raises:
        AssertionError: if something is not. That is a bug in opool.
    """
    stats = pool.stats()
    gone = sum(stats.retired.values())
    assert stats.made == stats.idle + stats.leased + stats.creating + gone, f"an object was lost or doubled: {stats}"
    assert stats.size == stats.idle + stats.leased, f"the sizes do not add up: {stats}"
    assert stats.checking <= stats.leased, f"more are being checked than are out: {stats}"
    limit = stats.max_size
    assert limit is None or stats.creating == 0 or stats.size + stats.creating <= limit, f"above max_size: {stats}"
    assert not (pool.closed and (stats.waiting or stats.idle)), f"a closed pool has somebody or something: {stats}"
