"""Tools for tests of code that uses pools: a virtual clock, scripted hooks, and a checker of invariants.

A pool that is constructed with ``clock=Clock()`` starts no threads and never sleeps. Its background work runs when the
clock advances: while a thread waits, or in `Clock.advance`. So a test of minutes takes milliseconds, every run is the
same, and all of it runs in one thread.

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
"""How many seconds a test may advance at once, about 30 years: sums of them stay within the clock's range."""


def _nanos(seconds: float) -> int:
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"seconds must be between 0 and {_LONGEST:g}, not {seconds!r}")
    return round(seconds * _SECOND)


class Clock(_opool.Clock):
    """A virtual clock for pools that are constructed with ``clock=``.

    Hooks take no time, except those that are `Scripted`. A hook of your own may call `advance` to take some; a thread
    that waits meanwhile goes on when the hook returns. A hook that is a coroutine function must not await anything that
    suspends it.

    A thread that waits for an object advances the clock until it gets one or times out. A task that waits does not:
    other tasks of its event loop run, and one of them calls `advance`.

    Only the thread that constructed the clock can advance it. Other threads may use its pools as long as they need not
    wait.

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
        """In the order of their construction: their jobs run in that order."""
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    @property
    def time(self) -> float:
        """How many seconds the clock has advanced."""
        return (self._nanos() - self._start) / _SECOND

    def advance(self, seconds: float) -> None:
        """Advance the clock, and do everything that becomes due.

        Args:
            seconds: how far; 0 does what is due now.

        Raises:
            ValueError: if `seconds` is negative or above 1e9.
            RuntimeError: if called in another thread than the one that constructed the clock.

        Example:
            >>> clock = Clock()
            >>> clock.advance(1.5)
            >>> clock.time
            1.5
        """
        self._check_thread()
        end = self._nanos() + _nanos(seconds)
        while self._step(end):
            pass
        self._set(end)

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Schedule a call, for what another thread would do in the test, such as releasing a lease.

        What the function raises is raised by the call that advances the clock: `advance`, or the one that waits.

        Args:
            seconds: after how many seconds to call it.
            function: what to call, without arguments.

        Raises:
            ValueError: if `seconds` is negative or above 1e9.
            TypeError: if `function` is not callable.
            RuntimeError: if called in another thread than the one that constructed the clock.

        Example:
            >>> clock = Clock()
            >>> clock.call_later(2, lambda: print("at", clock.time))
            >>> clock.advance(5)
            at 2.0
        """
        self._check_thread()
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        heapq.heappush(self._events, (self._nanos() + _nanos(seconds), next(self._numbers), function))

    def _check_thread(self) -> None:
        thread = threading.current_thread()
        if thread is not self._thread:
            raise RuntimeError(
                f"thread {thread.name!r} cannot advance this clock: it belongs to {self._thread.name!r}, which made "
                "it. Use call_later there for what other threads do."
            )

    def _add_pool(self, pool: Pool[Any]) -> None:
        """Add a pool that is being constructed. Called by the extension."""
        self._pools = [reference for reference in self._pools if reference() is not None]
        self._pools.append(weakref.ref(pool))

    def _live_pools(self) -> list[Pool[Any]]:
        pools = [reference() for reference in self._pools]
        return [pool for pool in pools if pool is not None]

    def _advance_until(self, pool: Pool[Any], until: int | None) -> None:
        """Do what is due next, at `until` (nanoseconds) at the latest. A pool calls it instead of sleeping."""
        self._check_thread()
        if self._step(until):
            return
        if until is None:
            raise RuntimeError(f"{pool!r} would wait for ever: nothing is due on its clock")
        self._set(until)

    def _step(self, until: int | None) -> bool:
        """Do what is due now, or else advance to what is due next, by `until` at the latest; False if nothing is."""
        if self._run_jobs():
            return True
        moments = [due for pool in self._live_pools() for due in [_opool._due(pool)] if due is not None]
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
        """Run all jobs of the pools that are due; False if there is none."""
        worked = False
        for pool in self._live_pools():
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
    """Run a hook that is a coroutine function. It takes no time on the clock, so it cannot wait for anything."""
    coroutine = job.hook() if job.obj is None else job.hook(job.obj)
    try:
        coroutine.send(None)
    except StopIteration as end:
        job.finish(end.value)
    except Exception as error:
        job.fail(error)
    else:
        coroutine.close()
        job.fail(RuntimeError("a hook cannot be suspended on a test's clock, and this one awaits something"))


class ScriptedError(Exception):
    """The exception of a `Scripted` hook whose script says "error"."""


class Scripted(Generic[_T]):
    """A hook that follows a script, one word for each call: for `factory`, `check`, `reset` or `dispose`.

    * "ok" returns at once.
    * "error" raises `ScriptedError`.
    * "slow", or ("slow", seconds), takes that long (1 s), and then returns.
    * "never" does not return until `release` is called.

    After its last word the script starts again. Without a script every call is "ok". Any number of threads may call it.

    With a `clock`, "slow" takes virtual time. A hook that runs in the releasing thread, such as a reset, cannot wait
    for `release` then: there "never" raises `ScriptedError`.

    Args:
        script: the words.
        clock: the clock of the pool; without one, "slow" sleeps.
        make: returns the result of an "ok" call, given its arguments; by default a new object that shows its number for
            a factory, and True for the other hooks.

    Attributes:
        calls: how many times it was called.
        running: how many calls have not returned yet.
        args: the arguments of each call, as tuples.

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
        raise ValueError(f"a word must be 'ok', 'error', 'slow', ('slow', seconds) or 'never', not {word!r}")

    def release(self) -> None:
        """Let all calls that say "never" return, now and later, as "ok".

        Example:
            >>> import opool
            >>> clock = Clock()
            >>> factory = Scripted("never", clock=clock)
            >>> pool = opool.Pool(factory=factory, clock=clock)
            >>> clock.call_later(1, factory.release)
            >>> with pool.lease(timeout=5):
            ...     clock.time
            1.0
        """
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
        """Do the next word of the script."""
        kind, seconds, number = self._next(args)
        try:
            if kind == "slow" and self._clock is not None:
                self._clock.advance(seconds)
            elif kind == "slow":
                time.sleep(seconds)
            elif kind == "never" and self._clock is not None:
                raise ScriptedError(
                    f"call {number} of the script says 'never', but would block the thread that could release it"
                )
            elif kind == "never":
                self._released.wait()
            elif kind == "error":
                raise self._error(number)
            return self._result(number, args)
        finally:
            self._returned()

    def _begin(self, clock: Clock, job: Any) -> None:
        """Do the next word of the script as a background job of a pool with `clock`."""
        args = () if job.obj is None else (job.obj,)
        kind, seconds, number = self._next(args)

        def end() -> None:
            self._returned()
            if kind == "error":
                # Not raised: a traceback would keep the frames of the test alive, and their leases.
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
    """The object of a `Scripted` factory, told from others by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        """Format it as in "Made(3)"."""
        return f"Made({self.number})"


def check_invariants(pool: Pool[Any]) -> None:
    """Check what is always true of a pool, in any state and while other threads use it.

    Args:
        pool: the pool.

    Raises:
        AssertionError: if an invariant is broken, which is a bug in opool.

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a"])
        >>> with pool.lease():
        ...     check_invariants(pool)
    """
    closed = pool.closed  # read before the statistics: other threads may close it meanwhile, none can reopen it
    stats = pool.stats()
    retired = sum(stats.retired.values())
    coming = stats.creating + stats.checking
    assert stats.made == stats.idle + stats.leased + stats.creating + retired, (
        f"an object was lost or duplicated: {stats}"
    )
    assert stats.size == stats.idle + stats.leased, f"size is not idle + leased: {stats}"
    assert stats.checking <= stats.leased, f"more objects are being checked than leased: {stats}"
    assert stats.idle == 0 or stats.waiting <= coming, f"an object is idle although somebody waits: {stats}"
    # After `resize` too many objects may be leased for a while, but none above the limit is idle.
    limit = stats.max_size
    assert limit is None or stats.idle == 0 or stats.size + stats.creating <= limit, f"max_size is exceeded: {stats}"
    assert not (closed and (stats.waiting or stats.idle)), f"a closed pool has waiters or idle objects: {stats}"
