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
from opool._hooks import is_async_callable

if TYPE_CHECKING:
    from typing_extensions import Literal

    from opool import Pool

    Outcome = Union[Literal["ok", "error", "slow", "never"], "tuple[Literal['slow'], float]"]

__all__ = ["Clock", "Scripted", "ScriptedError", "check_invariants"]

_T = TypeVar("_T")

_SECOND = 1_000_000_000
_LONGEST = 1e9
"""How many seconds a test may ask for at once, about 30 years: sums of them stay within the clock's range."""


def _nanos(seconds: float) -> int:
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"time does not go back, nor on for ever: seconds must be 0 to {_LONGEST:g}, not {seconds!r}")
    return round(seconds * _SECOND)


class Clock(_opool.Clock):
    """A time that passes only when it is told to, for pools that are made with ``clock=``.

    Hooks are called when a pool asks for them, and take no time, except those that are `Scripted`. A hook of your own
    may call `advance` to take some; whoever waits meanwhile goes on when it returns. One that is a coroutine function
    may not wait for anything.

    A thread that waits lets time pass until it may go on. A task that waits does not: others in its event loop go on,
    and one of them calls `advance`.

    Time passes only in the thread that made the clock. Other threads may use its pools as long as they need not wait.

    Example:
        >>> import opool
        >>> clock = Clock()
        >>> pool = opool.Pool(factory=dict, max_size=1, max_idle=60, clock=clock)
        >>> lease = pool.lease()
        >>> clock.call_later(0.05, lease.release)
        >>> with pool.lease(timeout=1):
        ...     clock.time
        0.05
        >>> clock.advance(61)
        >>> pool.size
        0
    """

    def __init__(self) -> None:
        self._start = self._nanos()
        self._thread = threading.current_thread()
        self._pools: list[weakref.ref[Pool[Any]]] = []
        """In the order in which they were made: their work is done in that order."""
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    @property
    def time(self) -> float:
        """How many seconds have passed."""
        return (self._nanos() - self._start) / _SECOND

    def advance(self, seconds: float) -> None:
        """Lets time pass, and everything happen that is due meanwhile.

        Args:
            seconds: for how long; with 0, what is due now happens.

        Raises:
            ValueError: if `seconds` is negative, or more than a test could mean.
            RuntimeError: in another thread than the one that made the clock.
        """
        self._check_thread()
        end = self._nanos() + _nanos(seconds)
        while self._step(end):
            pass
        self._set(end)

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Calls `function` when `seconds` have passed: somebody else's part in a test, such as giving back.

        What it raises comes out where time passes: of `advance`, or of the call that waits.

        Raises:
            ValueError: if `seconds` is negative, or more than a test could mean.
            TypeError: if `function` cannot be called.
            RuntimeError: in another thread than the one that made the clock.
        """
        self._check_thread()
        if not callable(function):
            raise TypeError(f"call_later calls a function, not {function!r}")
        heapq.heappush(self._events, (self._nanos() + _nanos(seconds), next(self._numbers), function))

    def _check_thread(self) -> None:
        thread = threading.current_thread()
        if thread is not self._thread:
            raise RuntimeError(
                f"thread {thread.name!r} cannot let time pass: this clock belongs to {self._thread.name!r}, which made "
                "it. What others do can be played there, by call_later."
            )

    def _add_pool(self, pool: Pool[Any]) -> None:
        """Called by a pool that is made with this clock."""
        self._pools = [reference for reference in self._pools if reference() is not None]
        self._pools.append(weakref.ref(pool))

    def _living(self) -> list[Pool[Any]]:
        pools = [reference() for reference in self._pools]
        return [pool for pool in pools if pool is not None]

    def _advance_until(self, pool: Pool[Any], until: int | None) -> None:
        """Called by a pool instead of sleeping: lets the next thing happen, at `until` (nanoseconds) at the latest."""
        self._check_thread()
        if self._step(until):
            return
        if until is None:
            raise RuntimeError(f"{pool!r} would wait for ever: nothing is due that could change that")
        self._set(until)

    def _step(self, until: int | None) -> bool:
        """Does what is due now; else goes on to the next moment at which something is, if that is by `until`."""
        if self._run_jobs():
            return True
        moments = [due for pool in self._living() for due in [_opool._due(pool)] if due is not None]
        moments += [when for when, _, _ in self._events[:1]]
        if not moments or (until is not None and min(moments) > until):
            return False
        self._set(min(moments))
        if self._events and self._events[0][0] <= self._nanos():
            heapq.heappop(self._events)[2]()
        else:
            self._run_jobs()
        return True

    def _run_jobs(self) -> bool:
        """Begins all background work that there is now."""
        worked = False
        for pool in self._living():
            while True:
                job = _opool._next_job(pool)
                if job is None:
                    break
                worked = True
                if isinstance(job.hook, Scripted):
                    job.hook._begin(self, job)
                elif is_async_callable(job.hook):
                    _run_coroutine(job)
                else:
                    job.run()
        return worked


def _run_coroutine(job: Any) -> None:
    """Run a hook that is a coroutine function. On a clock that takes no time, so it can wait for nothing."""
    coroutine = job.hook() if job.obj is None else job.hook(job.obj)
    try:
        coroutine.send(None)
    except StopIteration as end:
        job.finish(end.value)
    except Exception as error:
        job.fail(error)
    else:
        coroutine.close()
        job.fail(RuntimeError("on a test's clock no time passes in hooks, and this one waits for something"))


class ScriptedError(Exception):
    """What a `Scripted` hook raises where its script says "error"."""


class Scripted(Generic[_T]):
    """A hook that does what its script says, one word a call: for `factory`, `check`, `reset` or `dispose`.

    * "ok": returns at once.
    * "error": raises `ScriptedError`.
    * "slow", or ("slow", seconds): takes so long (1 s), and then is "ok".
    * "never": does not return, until `release`.

    When the script is over it begins again. Without a script everything is "ok". Any number of threads may call it.

    With a `clock`, slowness is the clock's. What a pool's user does himself, a reset, cannot wait for a `release` then:
    there "never" raises `ScriptedError`.

    Args:
        script: the words.
        clock: the clock of the pool; None for a pool without one: then it sleeps.
        make: what "ok" returns, called with what the hook was called with; by default a new object that shows its
            number for a factory, and True for the others.

    Attributes:
        calls: how often it was called.
        running: how many calls have not returned.
        args: what it was called with, one tuple a call.

    Raises:
        ValueError: if a word is none of these.

    Example:
        >>> import opool
        >>> clock = Clock()
        >>> factory, check = Scripted("ok", "error", clock=clock), Scripted("error", clock=clock)
        >>> pool = opool.Pool(factory=factory, check=check, clock=clock)
        >>> with pool.lease() as obj:
        ...     obj
        Made(0)
        >>> clock.advance(5)
        >>> pool.lease()
        Traceback (most recent call last):
        opool.FactoryError: ...
        >>> factory.calls, check.args
        (2, [(Made(0),)])
    """

    def __init__(self, *script: Outcome, clock: Clock | None = None, make: Callable[..., _T] | None = None) -> None:
        self._script = [self._read(word) for word in script or ("ok",)]
        self._clock = clock
        self._make = make
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._hanging: list[Callable[[], None]] = []
        self.calls = 0
        self.running = 0
        self.args: list[tuple[Any, ...]] = []

    @staticmethod
    def _read(word: object) -> tuple[str, float]:
        if word in ("ok", "error", "slow", "never"):
            return str(word), 1.0
        if isinstance(word, tuple) and len(word) == 2 and word[0] == "slow":
            return "slow", _nanos(word[1]) / _SECOND
        raise ValueError(f"a script says 'ok', 'error', 'slow', ('slow', seconds) or 'never', not {word!r}")

    def release(self) -> None:
        """Ends all calls that would never return, now and later; they are "ok"."""
        self._released.set()
        hanging, self._hanging = self._hanging, []
        for end in hanging:
            end()

    def _next(self, args: tuple[Any, ...]) -> tuple[str, float, int]:
        with self._lock:
            number = self.calls
            self.calls += 1
            self.running += 1
            self.args.append(args)
        kind, seconds = self._script[number % len(self._script)]
        return ("ok" if kind == "never" and self._released.is_set() else kind), seconds, number

    def _returned(self) -> None:
        with self._lock:
            self.running -= 1

    def _error(self, number: int) -> ScriptedError:
        return ScriptedError(f"call {number} of the script")

    def _result(self, number: int, args: tuple[Any, ...]) -> Any:
        if self._make is not None:
            return self._make(*args)
        return True if args else Made(number)

    def __call__(self, *args: Any) -> Any:
        """The next word of the script."""
        kind, seconds, number = self._next(args)
        try:
            if kind == "slow" and self._clock is not None:
                self._clock.advance(seconds)
            elif kind == "slow":
                time.sleep(seconds)
            elif kind == "never" and self._clock is not None:
                raise ScriptedError(f"call {number} of the script would never return, and its caller waits for it")
            elif kind == "never":
                self._released.wait()
            elif kind == "error":
                raise self._error(number)
            return self._result(number, args)
        finally:
            self._returned()

    def _begin(self, clock: Clock, job: Any) -> None:
        """The next word of the script, in the background of a pool whose time is `clock`."""
        args = () if job.obj is None else (job.obj,)
        kind, seconds, number = self._next(args)

        def end() -> None:
            self._returned()
            if kind == "error":
                # Not raised, so it has no traceback: that would keep the frames of the test alive, and their leases.
                job.fail(self._error(number))
                return
            try:
                result = self._result(number, args)
            except Exception as error:
                job.fail(error)
            else:
                job.finish(result)

        if kind == "slow":
            clock.call_later(seconds, end)
        elif kind == "never":
            self._hanging.append(end)
        else:
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

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a"])
        >>> with pool.lease():
        ...     check_invariants(pool)
    """
    closed = pool.closed  # before the figures: what was closed stays closed, and other threads may close it
    stats = pool.stats()
    gone = sum(stats.retired.values())
    coming = stats.creating + stats.checking
    assert stats.made == stats.idle + stats.leased + stats.creating + gone, f"an object was lost or doubled: {stats}"
    assert stats.size == stats.idle + stats.leased, f"the sizes do not add up: {stats}"
    assert stats.checking <= stats.leased, f"more are being checked than are out: {stats}"
    assert stats.idle == 0 or stats.waiting <= coming, f"somebody waits for what nobody looks at: {stats}"
    # After `resize` what is out may be too much for a while, but nothing that is too much lies idle.
    limit = stats.max_size
    assert limit is None or stats.idle == 0 or stats.size + stats.creating <= limit, f"above max_size: {stats}"
    assert not (closed and (stats.waiting or stats.idle)), f"a closed pool has somebody or something: {stats}"
