"""What `opool` raises. Everything is a `PoolError`, and also what a caller would expect who never heard of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from opool import Holder

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
        return super().__str__() if self.facts is None else self.facts.explain()

    def __repr__(self) -> str:
        """As every exception shows itself, though the message is not among the arguments."""
        return super().__repr__() if self.facts is None else f"{type(self).__name__}({str(self)!r})"


class PoolDeadlock(PoolTimeout):
    """Everybody who holds an object waits for this pool: nothing could ever have come. Also a `PoolTimeout`.

    One of those who hold something gets it, so that the others can go on.
    """


class PoolClosed(PoolError):
    """The pool is closed."""


class PoolCloseTimeout(PoolError, TimeoutError):
    """Something was still out when the time was up. Also a `TimeoutError`.

    Attributes:
        holders: who has it, as a list of `opool.Holder`. What is pooled belongs to this process, so a copy that goes to
            another one (`pickle`) has the message only.
    """

    holders: list[Holder]

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.holders = []

    def __reduce__(self) -> tuple[type[PoolCloseTimeout], tuple[object, ...]]:
        """Without the holders."""
        return type(self), self.args


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
    failure: str | None
    """Why the latest attempt to create an object failed, if it did."""
    of_ids: bool = False
    """Whether they are the ids of a manager."""

    def explain(self) -> str:
        """The facts in words, and what to do."""
        state = f"size {self.size}, idle {self.idle}, leased {self.leased}, waiting {self.waiting}"
        thing = "id" if self.of_ids else "object"
        what = f"no {thing} came free within {seconds(self.timeout)}" if self.timeout else f"no {thing} is free"
        parts = [f"{self.pool}: {what} ({state})."]
        phases = (("queued", self.queued), ("creating", self.creating), ("checking", self.checking))
        spent = [f"{phase} {seconds(time)}" for phase, time in phases if time >= _MOMENT]
        if self.creating >= _MOMENT or self.checking >= _MOMENT:
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
            return "See to what the factory needs."
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
            return f"This very thread has {thing} already: give it back first, or {more}."
        return f"Wait longer, {more}, or look for a lease that is kept too long."


class Oldest(NamedTuple):
    """Who has had an object for longest."""

    holder: str
    age: float
    exact: bool
    asked: bool
    """Whether it is the thread that asked for another one."""

    def __str__(self) -> str:
        """As in "thread 'worker-1', for 2.1 s"."""
        return f"{self.holder}{' (this one)' if self.asked else ''}, for {duration(self.age, self.exact)}"


_MOMENT = 0.001
"""Messages do not show less, in seconds."""


def seconds(time: float) -> str:
    """As in "0.25 s", "2.1 s" or "7260 s": as exact as anybody needs it."""
    if time >= 100:
        return f"{time:.0f} s"
    return f"{time:.3g} s" if time >= _MOMENT else "0 s"


def duration(time: float, exact: bool) -> str:
    """For how long somebody has had something."""
    if exact:
        return seconds(time)
    return f"at least {seconds(time)}" if time >= _MOMENT else "an unknown time"


def shown(obj: object) -> str:
    """What messages call somebody's object: the beginning of its `repr`, or a stand-in where that fails."""
    try:
        text = repr(obj)
    except Exception:
        text = f"an object of type {type(obj).__name__}"
    return text if len(text) <= 200 else text[:200] + "..."


def thread_names() -> dict[int, str]:
    """What messages call the threads that `threading` knows."""
    return {thread.ident: f"thread {thread.name!r}" for thread in threading.enumerate() if thread.ident is not None}


def thread_name(ident: int, known: Mapping[int, str] | None = None) -> str:
    """What messages call a thread; `known` saves looking for each of many."""
    name = thread_names().get(ident) if known is None else known.get(ident)
    if name is not None:
        return name
    # `_thread` and other languages start threads as well.
    return f"thread {ident}" if ident in sys._current_frames() else f"thread {ident} (ended)"


def _timeout_error(*, cause: BaseException | None, oldest: Mapping[str, Any] | None, **facts: Any) -> PoolTimeout:
    """Make the error of a wait that timed out. `facts` are the other fields of `TimeoutFacts`."""
    failure = None if cause is None else shown(cause)
    error = PoolTimeout()
    error.facts = TimeoutFacts(failure=failure, oldest=None if oldest is None else _oldest(**oldest), **facts)
    error.__cause__ = cause
    return error


def _oldest(*, thread_id: int, age: float, exact: bool, is_task: bool) -> Oldest:
    # Many tasks share a thread: that it is this one says nothing.
    who = f"a task of {thread_name(thread_id)}" if is_task else thread_name(thread_id)
    return Oldest(who, age, exact, not is_task and thread_id == threading.get_ident())


def _factory_error(*, pool: str, cause: BaseException | None, failures: int, pause: float) -> FactoryError:
    """Make the error of a pool that has no object and cannot create one."""
    often = f" ({failures} times in a row)" if failures > 1 else ""
    again = f" The next attempt may begin in {seconds(pause)}." if pause >= _MOMENT else ""
    why = "" if cause is None else f": {shown(cause)}"
    error = FactoryError(f"{pool}: it has no object, and creating one failed{often}{why}.{again}")
    error.__cause__ = cause
    return error


def _create_timeout_error(limit: float) -> TimeoutError:
    """Made by the pool, when the factory has not come back in time."""
    return TimeoutError(f"the factory took longer than create_timeout ({seconds(limit)})")


for _name in __all__:
    globals()[_name].__module__ = "opool"
