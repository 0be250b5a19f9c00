"""What `opool` raises. Everything is a `PoolError`, and also what a caller would expect who never heard of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from opool import Pool

__all__ = [
    "FactoryError",
    "LeaseError",
    "PoolCloseTimeout",
    "PoolClosed",
    "PoolDeadlock",
    "PoolError",
    "PoolTimeout",
    "TooManyWaiters",
]


class PoolError(Exception):
    """The base of all errors of this package."""


class PoolTimeout(PoolError, TimeoutError):
    """No object came free in time. Also a `TimeoutError`.

    If the latest attempt to create an object failed, its exception is the `__cause__`.

    Attributes:
        facts: what was going on, as a `TimeoutFacts`; None if the interpreter was going down.
    """

    facts: TimeoutFacts | None = None

    def __str__(self) -> str:
        """The message; it is made when somebody reads it."""
        return super().__str__() if self.facts is None else self.facts.explain(self.__cause__)


class PoolDeadlock(PoolTimeout):
    """Everybody who holds an object waits for this pool: nothing could ever have come. Also a `PoolTimeout`."""


class PoolClosed(PoolError):
    """The pool is closed."""


class PoolCloseTimeout(PoolError, TimeoutError):
    """Something was still out when the time was up. Also a `TimeoutError`.

    Attributes:
        holders: who has it, as a list of `opool.Holder`.
    """

    holders: list[object]


class TooManyWaiters(PoolError):
    """`max_waiting` wait already."""


class FactoryError(PoolError):
    """No object could be created, and there is none that could come back. The real exception is the `__cause__`."""


class LeaseError(PoolError, ValueError):
    """A lease or an object was given back twice, or a lease was entered after its end. Also a `ValueError`."""


class TimeoutFacts(NamedTuple):
    """What a pool was doing while somebody waited in vain. Times are in seconds."""

    pool: str
    """How messages call it."""
    timeout: float
    """How long the wait could take at most."""
    queued: float
    """For how long the pool could only wait for an object to come back."""
    creating: float
    """For how long one was being created."""
    checking: float
    """For how long one was being checked, and none created."""
    position: int | None
    """The place in the queue, from 1."""
    size: int
    idle: int
    leased: int
    waiting: int
    max_size: int | None
    oldest: Oldest | None
    """Who has had an object for longest."""

    def explain(self, cause: BaseException | None) -> str:
        """The facts in words, and what to do."""
        state = f"size {self.size}, idle {self.idle}, leased {self.leased}, waiting {self.waiting}"
        parts = [f"{self.pool}: no object came free within {self.timeout!r} s ({state})."]
        if self.creating or self.checking:
            phases = (("queued", self.queued), ("creating", self.creating), ("checking", self.checking))
            parts.append("Of that: " + ", ".join(f"{what} {time:.3g} s" for what, time in phases if time) + ".")
        if self.position is not None and self.waiting > 1:
            parts.append(f"Position {self.position} of {self.waiting} in the queue.")
        if self.oldest is not None:
            parts.append(f"Held longest: {self.oldest}.")
        if cause is not None:
            parts.append(f"The latest attempt to create an object failed: {cause!r}.")
        parts.append(self._advice(cause))
        return " ".join(parts)

    def _advice(self, cause: BaseException | None) -> str:
        if cause is not None:
            return "See to what the factory needs."
        if self.creating > self.timeout / 2:
            return "The factory is slow: keep more objects ready with min_size, or wait longer."
        if self.size == 0 and self.max_size is None:
            return "The pool is empty: add objects with add_obj."
        more = "add objects" if self.max_size is None else f"raise max_size (now {self.max_size})"
        return f"Wait longer, {more}, or look for a lease that is kept too long."


class Oldest(NamedTuple):
    """Who has had an object for longest."""

    holder: str
    age: float
    exact: bool

    def __str__(self) -> str:
        """As in "thread 'worker-1', for 2.1 s"."""
        return f"{self.holder}, for {'' if self.exact else 'at least '}{self.age:.3g} s"


def thread_name(ident: int) -> str:
    """What messages call a thread."""
    for thread in threading.enumerate():
        if thread.ident == ident:
            return f"thread {thread.name!r}"
    return f"thread {ident} (ended)"


def _timed_out(
    pool: str,
    timeout: float,
    phases: tuple[float, float, float],
    position: int | None,
    state: tuple[int, int, int, int, int | None],
    oldest: tuple[int, float, int] | None,
    cause: BaseException | None,
) -> PoolTimeout:
    """Made by the pool, when a wait ends in vain."""
    holder = None if oldest is None else Oldest(thread_name(oldest[0]), oldest[1], bool(oldest[2]))
    error = PoolTimeout()
    size, idle, leased, waiting, max_size = state
    error.facts = TimeoutFacts(pool, timeout, *phases, position, size, idle, leased, waiting, max_size, holder)
    error.__cause__ = cause
    return error


def _not_created(pool: Pool[Any], cause: BaseException | None) -> FactoryError:
    """Made by the pool, when it can create nothing and has nothing."""
    called = "pool" if pool.name is None else f"pool {pool.name!r}"
    why = "the factory took longer than create_timeout" if cause is None else repr(cause)
    error = FactoryError(f"{called}: it has no object, and creating one failed: {why}")
    error.__cause__ = cause
    return error


for _name in __all__:
    globals()[_name].__module__ = "opool"
