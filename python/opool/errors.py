"""The exceptions of `opool`. Each is a `PoolError`, and where there is a standard exception for it, that as well."""

from __future__ import annotations

from opool._text import MOMENT, duration, is_caller, seconds, shown, thread_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple

    from opool._holders import Holder
else:
    from opool._records import NamedTuple

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
    """The base of all exceptions of this package."""


class PoolTimeout(PoolError, TimeoutError):
    """No object became free within the timeout. Also a `TimeoutError`.

    If the latest attempt to create an object failed, its exception is the `__cause__`.

    Attributes:
        facts: the state of the pool and of the wait, as a `TimeoutFacts`; None during interpreter shutdown.

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a"], name="letters")
        >>> with pool.lease():
        ...     try:
        ...         pool.lease(timeout=0.01)
        ...     except TimeoutError as error:
        ...         error.facts.size, error.facts.idle
        (1, 0)
    """

    facts: TimeoutFacts | None = None

    def __str__(self) -> str:
        """Return the message. It is written when somebody reads it."""
        return super().__str__() if self.facts is None else self.facts.explain()

    def __repr__(self) -> str:
        """Show the class and the message, although the message is not among the arguments."""
        return super().__repr__() if self.facts is None else f"{type(self).__name__}({str(self)!r})"


class PoolDeadlock(PoolTimeout):
    """All threads that hold an object wait for this pool, so none could ever come back. Also a `PoolTimeout`.

    It is raised in one of those threads, so that the others can go on. The message shows the stack of each.
    """


class PoolClosed(PoolError):
    """The pool is closed."""


class PoolCloseTimeout(PoolError, TimeoutError):
    """`Pool.close` timed out while objects were still leased. Also a `TimeoutError`.

    Attributes:
        holders: who holds them, as a list of `opool.Holder`. Empty in a copy that was pickled: pooled objects belong to
            this process.
    """

    holders: list[Holder]

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.holders = []

    def __reduce__(self) -> tuple[type[PoolCloseTimeout], tuple[object, ...]]:
        """Pickle the message without the holders."""
        return type(self), self.args


class TooManyWaiters(PoolError):
    """The queue is full: `max_waiting` threads and tasks wait already."""


class FactoryError(PoolError):
    """Creating an object failed, and no other object could come back. The factory's exception is the `__cause__`."""


class LeaseError(PoolError, ValueError):
    """A lease or an object was returned twice, or a lease was entered after its release. Also a `ValueError`."""


class TimeoutFacts(NamedTuple):
    """The state of a pool and of a wait that timed out. Times are in seconds."""

    pool: str
    """What messages call the pool."""
    timeout: float
    """The timeout of the wait."""
    queued: float
    """How much of it the pool could only wait for an object to come back."""
    creating: float
    """How much of it an object was being created."""
    checking: float
    """How much of it an object was being checked, and none created."""
    position: int | None
    """The place in the queue, from 1."""
    size: int
    idle: int
    leased: int
    waiting: int
    max_size: int | None
    oldest: Oldest | None
    """Who has held an object for longest."""
    failure: str | None
    """Why the latest attempt to create an object failed, if it did."""
    of_ids: bool = False
    """Whether the pool leases the ids of an `ObjectMgr`."""
    blocks_loop: bool = False
    """Whether the thread that waited runs an event loop."""

    def explain(self) -> str:
        """Return the facts in words, and what to do about them."""
        state = f"size {self.size}, idle {self.idle}, leased {self.leased}, waiting {self.waiting}"
        thing = "id" if self.of_ids else "object"
        what = f"no {thing} came free within {seconds(self.timeout)}" if self.timeout else f"no {thing} is free"
        parts = [f"{self.pool}: {what} ({state})."]
        phases = (("queued", self.queued), ("creating", self.creating), ("checking", self.checking))
        spent = [f"{phase} {seconds(time)}" for phase, time in phases if time >= MOMENT]
        if self.creating >= MOMENT or self.checking >= MOMENT:
            parts.append(f"Of that: {', '.join(spent)}.")
        if self.position is not None and self.waiting > 1:
            parts.append(f"Position {self.position} of {self.waiting} in the queue.")
        if self.oldest is not None:
            parts.append(f"Held longest: {self.oldest}.")
        if self.failure is not None:
            parts.append(f"The latest attempt to create an object failed: {self.failure}.")
        parts.append(self._advice())
        return " ".join(parts)

    def _advice(self) -> str:
        if self.failure is not None:
            return "Fix the factory error above (see __cause__)."
        if self.blocks_loop:
            return "This thread runs an event loop, which stood still meanwhile: use async with pool.lease_async()."
        if self.creating > self.timeout / 2:
            return "The factory is slow: keep more objects ready with min_size, or wait longer."
        if self.checking > self.timeout / 2:
            return "The check is slow: make it quicker, lower check_timeout, or wait longer."
        if self.size == 0 and self.of_ids:
            return "There are no ids: resize the manager."
        if self.size == 0 and self.max_size is None:
            return "The pool is empty: add objects with add_obj."
        if self.max_size is not None and self.size < self.max_size:
            return "Wait longer: there was room to create more objects."
        more = "add objects" if self.max_size is None else f"raise max_size (now {self.max_size})"
        thing = "an object"
        if self.of_ids:
            more, thing = "resize the manager", "an id"
        if self.oldest is not None and self.oldest.asked:
            if self.oldest.is_greenlet:
                return f"This very greenlet has {thing} already: give it back first, or {more}."
            return f"This very thread has {thing} already: give it back first, or {more}."
        return f"Wait longer, {more}, or look for a lease that is kept too long."


class Oldest(NamedTuple):
    """Who has held an object for longest."""

    holder: str
    age: float
    exact: bool
    asked: bool
    """Whether it is the thread or greenlet that waited for another one."""

    @property
    def is_greenlet(self) -> bool:
        """Whether it is a greenlet, as its name says."""
        return "greenlet" in self.holder.partition("'")[0]

    def __str__(self) -> str:
        """Format it as in "thread 'worker-1', for 2.1 s"."""
        return f"{self.holder}{' (this one)' if self.asked else ''}, for {duration(self.age, self.exact)}"


def _timeout_error(*, cause: BaseException | None, oldest: Mapping[str, Any] | None, **facts: Any) -> PoolTimeout:
    """Make the error of a wait that timed out. `facts` are the other fields of `TimeoutFacts`."""
    failure = None if cause is None else shown(cause)
    error = PoolTimeout()
    error.facts = TimeoutFacts(failure=failure, oldest=None if oldest is None else _oldest(**oldest), **facts)
    _set_cause(error, cause)
    return error


def _oldest(*, thread_id: int, age: float, exact: bool, is_task: bool) -> Oldest:
    # Many tasks share a thread: that it is this one says nothing.
    who = f"a task of {thread_name(thread_id)}" if is_task else thread_name(thread_id)
    return Oldest(who, age, exact, not is_task and is_caller(thread_id))


def _factory_error(*, pool: str, cause: BaseException | None, failures: int, pause: float) -> FactoryError:
    """Make the error of a pool that has no object and cannot create one."""
    often = f" {failures} times in a row" if failures > 1 else ""
    again = f" The next attempt may begin in {seconds(pause)}." if pause >= MOMENT else ""
    # Its text is shown with the cause, and once is enough.
    why = "" if cause is None else f" with {type(cause).__name__} (see __cause__)"
    error = FactoryError(f"{pool}: it has no object, and creating one failed{often}{why}.{again}")
    _set_cause(error, cause)
    return error


def _set_cause(error: PoolError, cause: BaseException | None) -> None:
    """As `raise error from cause`, but without a cause tracebacks show the context."""
    if cause is not None:
        error.__cause__ = cause


def _create_timeout_error(limit: float) -> TimeoutError:
    """Make the error of a factory that has not returned in time. Called by the extension."""
    return TimeoutError(f"the factory took longer than create_timeout ({seconds(limit)})")


for _name in __all__:
    globals()[_name].__module__ = "opool"
