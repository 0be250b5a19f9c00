# Docstrings are copied from the extension by scripts/stub_docstrings.py; the rest is written by hand.

import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from types import GenericAlias, TracebackType
from typing import Any, ClassVar, Generic, Literal, NoReturn, SupportsIndex, TypeVar, final, overload

from typing_extensions import Buffer, Self, disjoint_base

from opool._holders import Holder
from opool._stats import PoolStats

__all__ = [
    "AsyncLease",
    "Clock",
    "Job",
    "Lease",
    "ObjectMgr",
    "Pool",
    "_Held",
    "__version__",
    "_add_closer",
    "_begin_close",
    "_called",
    "_due",
    "_expire",
    "_figures",
    "_has_given_others",
    "_has_work",
    "_holders",
    "_is_over",
    "_last_error",
    "_leases_here",
    "_lends_ids",
    "_note_deadlock_watch",
    "_note_deadlock_told",
    "_note_suspended",
    "_out",
    "_next_job",
    "_remove_closer",
    "_pool",
    "_python_side",
    "_remove",
    "_seconds_to_work",
    "_settle",
    "_stop_background",
    "_thread",
    "is_palindrome",
    "zero_triplets",
]

_T = TypeVar("_T")

__version__: str

@disjoint_base
class Pool(Generic[_T]):
    """Hands out each of its objects to one holder at a time.

    Threads that find no object idle wait in the order in which they came, with the GIL released; the first of them
    gets the next object that is released or added. Any method may be called from any thread.

    With a `factory` the pool creates objects itself, when somebody waits and none is idle, up to `max_size`. That
    happens in background threads: a waiter gets what comes first, a released object or a new one. The threads end when
    there is nothing to do. Close such a pool to have its objects disposed of; a pool that is only dropped drops them.

    A hook (`factory`, `check`, `reset`, `dispose`) may be a coroutine function. Then all hooks run in the event loops
    that use the pool: take objects with `lease_async`, and end the pool with ``async with`` or `aclose`.

    A pool is for one process. After a fork, parent and child have a pool each; neither knows what the other hands out.

    Args:
        objects: what to hand out, in this order. Kept by reference; the same object may be in the pool several times.
        factory: creates an object. If it raises, the next attempt waits (0.1 s, then twice as long each time, up to 5
            s); if no object is left that could be released, the waiters get the error at once.
        min_size: the number of objects to keep at least.
        max_size: the maximum number of objects; by default 10 with a factory, and without one as many as are added.
        name: used in messages, and by metrics.
        timeout: the default of `lease` and `acquire`: seconds to wait in all; None is no limit.
        max_waiting: how many may wait at the same time; None is no limit.
        order: which idle object is leased next: "fifo" (the one that has been idle longest) or "lifo" (the one
            released last, so that objects which are not needed become idle and are discarded).
        fairness: what a thread gets that releases an object while others wait, and leases again at once. With
            "strict", the end of the queue. With "adaptive", the same object again, for half a millisecond in all,
            provided that it keeps each lease for less than ten microseconds: then a change of threads costs more than
            the lease. The waiters keep their order in either case.
        check: called with an object before it is leased; if it raises, or returns something false other than None, the
            object is discarded, and another takes its place.
        check_after: skip the check unless the object has been idle for at least this many seconds; `math.inf` is
            never.
        check_timeout: seconds that a check or reset in the background may take before its object is discarded.
        reset: called with a released object, in the releasing thread; if it raises, the object is discarded.
        dispose: called with a discarded object, in the background. Until that is done, but for a second at most, the
            object counts for `max_size`.
        create_timeout: seconds that the factory may take before the attempt counts as failed. An object that it
            returns later is used or disposed of.
        max_idle: discard an object that has been idle for this many seconds, while there are more than `min_size`.
        max_lifetime: replace an object this many seconds after it was created, one object after another.
        jitter: the maximum fraction by which a lifetime is randomly shortened, from 0 to 1.
        leak_after: log a lease that lasts longer than this many seconds, once, with its holder's stack.
        track: whether `holders` shows where in the program each lease was taken.
        timing: whether `stats` measures how long leases last.
        clock: an `opool.testing.Clock`, for tests.

    Raises:
        TypeError: if `objects` cannot be iterated over, or an option is unknown or has the wrong type.
        ValueError: if an option has an impossible value, or needs another option that is missing.

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a", "b"], name="letters")
        >>> with pool.lease() as letter:
        ...     letter
        'a'
        >>> pool
        <opool.Pool 'letters': size 2, idle 2, leased 0, waiting 0>
        >>> "a" in pool  # compares by identity, and looks at every object, idle or leased
        True
        >>> with opool.Pool(factory=dict, max_size=2, dispose=dict.clear) as pool:
        ...     with pool.lease() as made:
        ...         made
        {}
    """
    def __new__(cls, *_args: Any, **_options: Any) -> Self: ...
    # The coroutine function comes first: it is a function as well, one that makes coroutines.
    @overload
    def __init__(
        self,
        objects: Iterable[_T] = (),
        *,
        factory: Callable[[], Coroutine[Any, Any, _T]],
        min_size: int = 0,
        max_size: int | None = None,
        name: str | None = None,
        timeout: float | None = 30.0,
        max_waiting: int | None = None,
        order: Literal["fifo", "lifo"] = "fifo",
        fairness: Literal["adaptive", "strict"] = "adaptive",
        check: Callable[[_T], object] | None = None,
        check_after: float = 1.0,
        check_timeout: float | None = 5.0,
        reset: Callable[[_T], object] | None = None,
        dispose: Callable[[_T], object] | None = None,
        create_timeout: float | None = 30.0,
        max_idle: float | None = None,
        max_lifetime: float | None = None,
        jitter: float = 0.1,
        leak_after: float | None = None,
        track: bool = False,
        timing: bool = False,
        clock: Clock | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        objects: Iterable[_T] = (),
        *,
        factory: Callable[[], _T] | None = None,
        min_size: int = 0,
        max_size: int | None = None,
        name: str | None = None,
        timeout: float | None = 30.0,
        max_waiting: int | None = None,
        order: Literal["fifo", "lifo"] = "fifo",
        fairness: Literal["adaptive", "strict"] = "adaptive",
        check: Callable[[_T], object] | None = None,
        check_after: float = 1.0,
        check_timeout: float | None = 5.0,
        reset: Callable[[_T], object] | None = None,
        dispose: Callable[[_T], object] | None = None,
        create_timeout: float | None = 30.0,
        max_idle: float | None = None,
        max_lifetime: float | None = None,
        jitter: float = 0.1,
        leak_after: float | None = None,
        track: bool = False,
        timing: bool = False,
        clock: Clock | None = None,
    ) -> None: ...
    def lease(self, timeout: float | None = ...) -> Lease[_T]:
        """Takes an object, and returns the lease that gives it back.

        The object is taken at the call. If none is idle, the thread waits, first come,
        first served; signals such as Ctrl-C interrupt it.

        Args:
            timeout: how many seconds to wait, None for no limit; by default the pool's
                timeout.

        Returns:
            A `Lease`. Use it in a `with`.

        Raises:
            PoolTimeout: if no object became free in time.
            TypeError: if `timeout` is neither a number nor None.
            ValueError: if `timeout` is negative or NaN.

        Example:
            >>> import opool
            >>> pool = opool.Pool(["a"])
            >>> with pool.lease(timeout=2.5) as obj:
            ...     obj
            'a'
        """
    def lease_async(self, timeout: float | None = ...) -> AsyncLease[_T]:
        """Takes an object for a task: use it in an `async with`, or await it.

        Tasks of any number of event loops, and threads, wait in one queue, first come,
        first served. If a waiting task is cancelled, an object that it was just given
        goes to the next waiter.

        Args:
            timeout: as for `lease`.

        Returns:
            An `AsyncLease`. Nothing is taken before it is entered or awaited.

        Raises:
            TypeError: if `timeout` is neither a number nor None.
            ValueError: if `timeout` is negative or NaN.

        Example:
            >>> import asyncio, opool
            >>> pool = opool.Pool(["a"])
            >>> async def main():
            ...     async with pool.lease_async(timeout=2.5) as obj:
            ...         print(obj)
            ...     lease = await pool.lease_async()
            ...     print(lease.obj)
            ...     lease.release()
            >>> asyncio.run(main())
            a
            a
        """
    def try_lease(self) -> Lease[_T] | None:
        """Takes an object if one can be had at once: as `lease`, but never waits.

        If an idle object has to be checked first, or one could be created, that begins
        in the background, so that a later call may find it.

        Returns:
            A `Lease`, or None.

        Raises:
            PoolClosed: if the pool is closed.

        Example:
            >>> import opool
            >>> opool.Pool([]).try_lease() is None
            True
        """
    def acquire(self, timeout: float | None = ...) -> _T:
        """Takes an object without a lease around it; `release` gives it back.

        Prefer `lease`: an object that is acquired and never released is lost to the
        pool.

        Args:
            timeout: as for `lease`.

        Returns:
            The object.

        Raises:
            PoolTimeout: if no object became free in time.
            TypeError: if `timeout` is neither a number nor None.
            ValueError: if `timeout` is negative or NaN.

        Example:
            >>> import opool
            >>> pool = opool.Pool(["a"])
            >>> obj = pool.acquire()
            >>> pool.release(obj)
        """
    def release(self, obj: _T, /) -> None:
        """Gives back an object that `acquire` took. It is recognised by identity.

        Args:
            obj: the object.

        Raises:
            LeaseError: if the object is not out by `acquire`: released twice, held by
                a lease, or never in this pool. Nothing changes.
        """
    def add_obj(self, obj: _T) -> None:
        """Adds an object, which goes to the first waiter if there is one.

        Args:
            obj: any object. Added twice, it can be leased twice at the same time.

        Raises:
            PoolClosed: if the pool is closed.
            ValueError: if the pool has `max_size` objects already.
        """
    def reload(self) -> None:
        """Replaces all objects by new ones, one after another, and returns at once.

        Where there is room, a new object is created before an old one is discarded; an object that is out is replaced
        when it is released. While the factory fails, the old objects stay in use.

        Raises:
            ValueError: if the pool has no factory.
            PoolClosed: if the pool is closed.
        """
    def resize(self, *, min_size: int | None = None, max_size: int | None = None) -> None:
        """Changes the limits. Surplus objects are discarded: idle ones at once, the others when they are released.

        Args:
            min_size: the number of objects to keep at least; unchanged if not given.
            max_size: the maximum number of objects; unchanged if not given.

        Raises:
            TypeError: if a size is no int.
            ValueError: if a size is negative, `min_size` exceeds `max_size`, or the pool has no factory.
            PoolClosed: if the pool is closed.
        """
    def close(self, timeout: float | None = ..., *, force: bool = False) -> None:
        """Closes the pool: no object is leased any more, waiters get `PoolClosed`, and every object is disposed of.

        Waits for the objects that are out. Closing again waits again.

        Args:
            timeout: how many seconds to wait for the objects that are out; None for no limit; by default the pool's
                timeout.
            force: whether to dispose at once of the objects that are out as well, though their holders still use them.

        Raises:
            PoolCloseTimeout: if an object is still out then. It names the holders; the pool stays closed, and an object
                that is released later is disposed of.
            PoolError: in the thread of the event loop whose tasks hold the objects or run the hooks: use `aclose`.

        Example:
            >>> import opool
            >>> with opool.Pool(factory=dict, dispose=dict.clear) as pool:
            ...     with pool.lease() as obj:
            ...         obj["used"] = True
            >>> pool.closed
            True
        """
    def holders(self) -> list[Holder]:
        """Lists who holds an object, since when, and what the holder is doing: see `opool.Holder`.

        Example:
            >>> import opool
            >>> pool = opool.Pool(["a"])
            >>> with pool.lease() as obj:
            ...     [holder.obj for holder in pool.holders()]
            ['a']
        """
    def stats(self) -> PoolStats:
        """Returns all counts and sizes of one moment: see `opool.PoolStats`.

        Example:
            >>> import opool
            >>> stats = opool.Pool(["a", "b"]).stats()
            >>> stats.size, stats.idle, stats.leases
            (2, 2, 0)
        """
    @property
    def size(self) -> int:
        """The number of objects: idle + leased."""
    @property
    def idle(self) -> int:
        """How many objects can be leased at once, without waiting."""
    @property
    def leased(self) -> int:
        """How many objects are out, by a lease or by `acquire`."""
    @property
    def waiting(self) -> int:
        """How many wait for an object."""
    @property
    def name(self) -> str | None:
        """The name given at construction, or None."""
    @property
    def min_size(self) -> int:
        """The minimum number of objects, once they are created. `resize` changes it."""
    @property
    def max_size(self) -> int | None:
        """The maximum number of objects; None is no limit. `resize` changes it."""
    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
    @property
    def fairness(self) -> Literal["adaptive", "strict"]:
        """As given at construction: "adaptive" or "strict"."""
    @property
    def timeout(self) -> float | None:
        """How many seconds `lease` and `acquire` wait by default; None is no limit."""
    def aclose(self, timeout: float | None = ..., *, force: bool = False) -> Coroutine[Any, Any, None]:
        """Closes the pool from a task, as `close`: the event loop goes on meanwhile.

        Example:
            >>> import asyncio, opool
            >>> async def main():
            ...     pool = opool.Pool(["a"])
            ...     await pool.aclose()
            ...     return pool.closed
            >>> asyncio.run(main())
            True
        """
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_exception: object) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __reduce__(self) -> NoReturn: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...

@final
class Lease(Generic[_T]):
    """One object of a pool, yours until you give it back.

    `Pool.lease` makes it. Use it in a `with`, or call `release` yourself. A lease
    that is dropped without either gives its object back as well. A released lease
    stays released: entering or releasing it again raises `LeaseError`, and never
    touches the object's next holder. (`obj` still names the object; do not use it.)

    A lease made by hand, `Lease(obj, pool)`, calls `pool.add_obj(obj)` when it is
    left or released, or `pool.put(obj)` if that is what the pool has.

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a"])
        >>> with pool.lease() as obj:
        ...     obj
        'a'
    """

    # Each raises AttributeError, with a sentence that helps.
    if sys.version_info >= (3, 14):
        __aexit__: ClassVar[object]
    else:
        __aenter__: ClassVar[object]
    def __new__(cls, obj: _T, pool: Any) -> Self: ...
    @property
    def obj(self) -> _T:
        """The leased object."""
    @property
    def pool(self) -> Any:
        """The pool or manager it came from; None if that is gone."""
    @property
    def released(self) -> bool:
        """Whether the lease is over."""
    def release(self) -> None:
        """Gives the object back, as leaving the `with` does.

        Raises:
            LeaseError: if the lease is released already.
        """
    def discard(self) -> None:
        """Ends the lease, and takes the object out of the pool for good.

        For an object that turned out to be broken. It is disposed of in the
        background, and the pool creates another one when it needs one.

        Raises:
            LeaseError: if the lease is released already, or was made by hand.

        Example:
            >>> import opool
            >>> pool = opool.Pool(["broken", "sound"])
            >>> pool.lease().discard()
            >>> pool
            <opool.Pool: size 1, idle 1, leased 0, waiting 0>
        """
    def __enter__(self) -> _T: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __class_getitem__(cls, key: Any, /) -> GenericAlias: ...

@final
class AsyncLease(AbstractAsyncContextManager[_T], Generic[_T]):
    """What `Pool.lease_async` and `ObjectMgr.lease_async` return.

    In an `async with` it is the object, from the moment that there is one until the
    block is left. Awaited, it is a `Lease`, which is yours to release. It can be
    used once, in one of the two ways.

    Example:
        >>> import asyncio, opool
        >>> pool = opool.Pool(["a"])
        >>> async def main():
        ...     async with pool.lease_async() as obj:
        ...         print(obj)
        >>> asyncio.run(main())
        a
    """

    # As in Lease.
    if sys.version_info >= (3, 14):
        __exit__: ClassVar[object]
    else:
        __enter__: ClassVar[object]

    def __await__(self) -> Generator[Any, Any, Lease[_T]]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def __aenter__(self) -> Coroutine[Any, Any, _T]: ...
    def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> Coroutine[Any, Any, None]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def send(self, value: Any, /) -> Any:
        """Resumes the wait, as an event loop does; see `collections.abc.Coroutine.send`."""
    def throw(self, type: Any, value: Any = None, traceback: Any = None, /) -> Any:
        """Ends the wait with an exception; see `collections.abc.Coroutine.throw`."""
    def close(self) -> None:
        """Ends the wait; see `collections.abc.Coroutine.close`."""

@disjoint_base
class Clock:
    """A time that passes only when it is told to. `opool.testing.Clock` runs pools on it."""
    def __new__(cls) -> Self: ...
    def _nanos(self) -> int: ...
    def _set(self, nanos: int) -> None: ...

@final
class Job:
    """Work that was taken from the pool, and has to be ended once: [`Job::end`]. `pool/background.rs` runs it."""
    @property
    def name(self) -> Literal["create", "check", "reset", "dispose", "report"]:
        """What is to be done: "create", "check", "reset", "dispose" or "report"."""
    @property
    def hook(self) -> Callable[..., Any] | None:
        """The hook to call, if it is not a report."""
    @property
    def obj(self) -> Any:
        """The object in question, if there is one yet."""
    def run(self) -> None:
        """Calls the hook, and tells the pool how that ended."""
    def begin(self) -> Coroutine[Any, Any, Any] | None:
        """As `run`, but a coroutine that the hook has made is returned: the caller awaits it and ends the job."""
    def finish(self, result: Any) -> None:
        """The hook, called by the caller, has returned `result`."""
    def fail(self, error: BaseException) -> None:
        """The hook, called by the caller, has raised `error`."""
    def break_off(self) -> None:
        """The hook, called by the caller, was interrupted from outside. What it did to the object is unknown."""

@final
class _Held:
    """An object that is out, and its holder: what `opool._holders.holders` makes a `Holder` of."""
    @property
    def obj(self) -> Any: ...
    @property
    def slot(self) -> int:
        """The index of its slot."""
    @property
    def thread_id(self) -> int:
        """The number of the holder's thread, or the address of its greenlet."""
    @property
    def age(self) -> float:
        """For how many seconds it has been out."""
    @property
    def exact(self) -> bool:
        """Whether the age is exact; else it is a lower bound."""
    @property
    def entered(self) -> bool:
        """Whether its lease was entered."""
    @property
    def place(self) -> str | None:
        """Where it was taken, if the pool notes that."""
    @property
    def lease(self) -> AsyncLease[Any] | None:
        """The `AsyncLease`, if a task has it; without a GIL only if it is a task of the calling thread."""

def _add_closer(pool: Pool[Any]) -> Any: ...
def _begin_close(pool: Pool[Any], force: bool) -> None: ...
def _called(pool: Pool[Any]) -> str: ...
def _due(pool: Pool[Any]) -> int | None: ...
def _expire(pool: Pool[Any], event_loop: Any) -> None: ...
def _figures(pool: Pool[Any]) -> dict[str, Any]: ...
def _has_given_others(pool: Pool[Any]) -> bool: ...
def _has_work(pool: Pool[Any]) -> bool: ...
def _holders(pool: Pool[Any]) -> list[_Held]: ...
def _is_over(pool: Pool[Any]) -> tuple[bool, bool]: ...
def _last_error(pool: Pool[Any]) -> BaseException | None: ...
def _leases_here() -> list[tuple[Any, int]]: ...
def _lends_ids(pool: Pool[Any]) -> bool: ...
def _note_deadlock_watch(pool: Pool[Any]) -> None: ...
def _out(pool: Pool[Any]) -> list[tuple[int, int, Any, bool, Any, int, bool]]: ...
def _note_deadlock_told(pool: Pool[Any]) -> bool: ...
def _note_suspended(leases: list[Any]) -> None: ...
def _next_job(pool: Pool[Any]) -> Job | None: ...
def _remove_closer(pool: Pool[Any], future: Any) -> None: ...
def _pool(lease: AsyncLease[Any]) -> Pool[Any] | None: ...
def _python_side() -> list[tuple[str, str, Any]]: ...
def _remove(pool: Pool[_T], timeout: float | None) -> _T: ...
def _seconds_to_work(pool: Pool[Any]) -> float | None: ...
def _settle(pool: Pool[Any]) -> None: ...
def _stop_background(pools: list[Pool[Any]]) -> None: ...
def _thread(lease: AsyncLease[Any]) -> int: ...

@disjoint_base
class ObjectMgr:
    """Hands out integers, each to one holder at a time.

    The ids are those of ``range(1, n)``: 1 to n - 1; or those of any other range. By default fresh ones come first and
    ascending, then the freed ones in the order they were freed. Construction takes next to no time and memory,
    whatever the size; an id costs one bit once it was given, and 4 more bytes (8 from 2**32 on) while it is freed. Any
    number of threads may share one manager; other processes know nothing of it.

    Methods that give ids return None when there are none, and change nothing: `get_object`, `get_many`, `get_range`,
    `reserve` (`get_into`: False). Methods that are given a wrong id raise `ValueError`, and change nothing either.

    To hold an id for a while, and to wait for one if need be, lease it: `lease`, in tasks `lease_async`.

    As a collection a manager contains the given ids, ascending: see ``in``, ``len`` and ``for``. During an iteration
    ids may be given and freed; each id that is given all the time comes exactly once. Unlike other collections, a
    manager is true even if it is empty. Managers are equal if they contain the same ids and will give the same ids
    from now on. As they are mutable, they cannot be hashed.

    Args:
        n (int | range): the end of the range, at most 2**63; with 1 or less there are no ids. Or the range itself,
            with a step of 1 and at most 2**63 ids: ``range(8000, 9000)`` is 8000 to 8999.
        inclusive (bool): whether ``n`` itself is an id too, so that there are n of them. The greatest id there can be
            is 2**63 - 1.
        order (str): which free id is given next: "fifo" (first those that were never given, then the one that was
            freed longest ago), "lowest", or "random" (each with the same probability; not for secrets).
        seed (int | None): with the order "random", the same seed and the same calls give the same ids. None is a
            different seed each time.

    Raises:
        TypeError: ``n`` is neither an integer nor a range.
        OverflowError: ``n`` is too large, or the range goes below -2**63.
        ValueError: the range has a step other than 1; an option has an impossible value, or needs another option.

    Example:
        >>> from opool import ObjectMgr
        >>> seats = ObjectMgr(2, inclusive=True)
        >>> seats.get_object(), seats.get_object(), seats.get_object()
        (1, 2, None)
        >>> seats.free_object(1)
        1
        >>> seats.get_object()
        1
        >>> ports = ObjectMgr(range(8000, 9000), order="lowest")
        >>> ports.get_many(3)
        [8000, 8001, 8002]
        >>> ports.free_object(8001), list(ports), len(ports), ports.available
        (8001, [8000, 8002], 2, 998)
        >>> ports
        <opool.ObjectMgr range(8000, 9000): order 'lowest', given 2, available 998>
    """
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def __init__(
        self,
        n: SupportsIndex | range,
        *,
        inclusive: bool = False,
        order: Literal["fifo", "lowest", "random"] = "fifo",
        seed: SupportsIndex | None = None,
    ) -> None: ...
    def get_object(self) -> int | None:
        """Gives a free id.

        Returns:
            int | None: with the order `fifo`, the lowest id that was never given; when there is none left, the
                id that was freed longest ago. With `lowest` the lowest free id, with `random` any. None when all
                of them are given.

        Raises:
            MemoryError: there is no memory for the id; it stays free.

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(3)
            >>> mgr.get_object(), mgr.get_object(), mgr.get_object()
            (1, 2, None)
        """
    def free_object(self, obj: _T, /) -> _T:
        """Takes an id back, so that it can be given again.

        Args:
            obj (object): the id, or anything equal to it, as in a set of ints: 1.0 or True is 1.

        Returns:
            object: obj itself.

        Raises:
            ValueError: obj is not an id that is given; it may have been freed already. Or a lease has it.
            TypeError: obj cannot be hashed.
            MemoryError: there is no memory to note it; it stays given.

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(3)
            >>> mgr.free_object(mgr.get_object())
            1
            >>> mgr.free_object(1)
            Traceback (most recent call last):
            ValueError: Object is not currently allocated.
        """
    @property
    def object_pool(self) -> range:
        """The ids that were never given, in the order in which they will be given.

        Ids that were reserved or excluded before are in it all the same. With the order "lowest" it is the ids beyond
        all that were given, and with "random" it is empty: see `freed_objects`.

        Type:
            range

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(10**9)
            >>> mgr.get_object()
            1
            >>> mgr.object_pool
            range(2, 1000000000)
        """
    @property
    def allocated_objects(self) -> set[int]:
        """The ids that are given: a new set at each access.

        Type:
            set[int]

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(4)
            >>> mgr.get_object()
            1
            >>> mgr.allocated_objects
            {1}
        """
    @property
    def freed_objects(self) -> deque[int]:
        """The ids that were freed and not given again, oldest first: a new deque at each access.

        With the orders "lowest" and "random": all ids that are free and not in `object_pool`, ascending.

        Type:
            collections.deque[int]

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(4)
            >>> mgr.free_object(mgr.get_object())
            1
            >>> mgr.freed_objects
            deque([1])
        """
    @property
    def ids(self) -> range:
        """All ids of the manager.

        Type:
            range

        Example:
            >>> from opool import ObjectMgr
            >>> ObjectMgr(4).ids
            range(1, 4)
        """
    @property
    def order(self) -> Literal["fifo", "lowest", "random"]:
        """Which free id is given next: "fifo", "lowest" or "random".

        Type:
            str
        """
    @property
    def available(self) -> int:
        """How many ids are free.

        Type:
            int

        Example:
            >>> from opool import ObjectMgr
            >>> ObjectMgr(2**63).available == 2**63 - 1
            True
        """
    @property
    def excluded(self) -> list[range]:
        """The excluded ids, as ranges, ascending: a new list at each access.

        Type:
            list[range]
        """
    def get_many(self, k: SupportsIndex, /) -> list[int] | None:
        """Gives several ids at once, in the order in which `get_object` would.

        Args:
            k (int): how many.

        Returns:
            list[int] | None: the ids; None when fewer are free.

        Raises:
            ValueError: k is negative.
            MemoryError: there is no memory for them; they stay free.

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(6)
            >>> mgr.get_many(3), mgr.get_many(3), mgr.get_many(2)
            ([1, 2, 3], None, [4, 5])
        """
    def get_into(self, buffer: Buffer, /) -> bool:
        """Fills a buffer with ids, in the order of `get_object`, in a tenth of the time of a list.

        Args:
            buffer (array.array | numpy.ndarray | memoryview): where to write the ids: as many as it has elements. It
                must be writable and contiguous, and its elements ints that can hold every id of the range.

        Returns:
            bool: whether so many were free; if not, the buffer is unchanged.

        Raises:
            TypeError: `buffer` is no such buffer.
            OverflowError: the elements are too small for the range.

        Example:
            >>> from array import array
            >>> from opool import ObjectMgr
            >>> numbers = array("I", bytes(12))
            >>> ObjectMgr(range(8000, 9000)).get_into(numbers)
            True
            >>> numbers.tolist()
            [8000, 8001, 8002]
        """
    def get_range(self, k: SupportsIndex, /) -> range | None:
        """Gives consecutive ids.

        With the order "fifo", ids that were never given if there are enough of them, else the lowest; with "lowest" the
        lowest; with "random" the first after a random place. Ids that were never given cost next to nothing; a search
        for others takes 50 ms where 10**9 ids are given, at worst.

        Args:
            k (int): how many.

        Returns:
            range | None: the ids; None when no k consecutive ids are free.

        Raises:
            ValueError: k is negative.
            MemoryError: there is no memory for them; they stay free.

        Example:
            >>> from opool import ObjectMgr
            >>> uids = ObjectMgr(range(100_000, 10**9))
            >>> uids.get_range(65_536)
            range(100000, 165536)
        """
    def free_many(self, ids: Iterable[SupportsIndex], /) -> None:
        """Takes several ids back, in this order: all of them, or none.

        Args:
            ids (Iterable[int]): the ids. A range or a buffer of ints is quicker than a list.

        Raises:
            ValueError: one of them is not given, or is named twice. The message names the first of those;
                nothing was freed.
            TypeError: one of them is no int.
            MemoryError: there is no memory to note them; they stay given.

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(6)
            >>> mgr.free_many(mgr.get_many(5))
            >>> mgr.get_many(3)
            [1, 2, 3]
            >>> mgr.free_many([3, 2, 5, 1])
            Traceback (most recent call last):
            ValueError: 5 is not currently allocated
            >>> len(mgr)
            3
        """
    def reserve(self, id: SupportsIndex, /) -> int | None:
        """Gives this id. `free_object` takes it back.

        Args:
            id (int): the id.

        Returns:
            int | None: the id; None when it is given already.

        Raises:
            ValueError: it is not in the range, or is excluded.

        Example:
            >>> from opool import ObjectMgr
            >>> ports = ObjectMgr(range(8000, 9000))
            >>> ports.reserve(8001), ports.reserve(8001), ports.get_many(2)
            (8001, None, [8000, 8002])
        """
    def exclude(self, ids: Iterable[SupportsIndex], /) -> None:
        """Excludes ids for good: they are neither given nor counted as available.

        Args:
            ids (Iterable[int]): the ids; a range costs the same for any length. Ids that are excluded already are
                ignored.

        Raises:
            ValueError: one of them is given, or is not in the range. Nothing was excluded.

        Example:
            >>> from opool import ObjectMgr
            >>> ports = ObjectMgr(range(8000, 9000))
            >>> ports.exclude(range(8000, 8080))
            >>> ports.get_object(), ports.available, ports.excluded
            (8080, 919, [range(8000, 8080)])
        """
    def resize(self, n: SupportsIndex, *, inclusive: bool = False) -> None:
        """Moves the end of the range. Freed ids beyond it are forgotten; if it moves back, they count as never given.

        Args:
            n (int): the end of the range, at most 2**63. At or before the start, there are no ids.
            inclusive (bool): whether ``n`` itself is an id too.

        Raises:
            ValueError: an id beyond the new end is given.
            OverflowError: ``n`` is too large.

        Example:
            >>> from opool import ObjectMgr
            >>> seats = ObjectMgr(2, inclusive=True)
            >>> seats.get_many(2), seats.get_object()
            ([1, 2], None)
            >>> seats.resize(3, inclusive=True)
            >>> seats.get_object()
            3
        """
    def lease(self, timeout: float | None = ...) -> Lease[int]:
        """Gives an id for a while: the lease takes it back. `Pool.lease`, for ids.

        If all ids are given, the thread waits, in one queue with the tasks of
        `lease_async`, first come, first served. An id that becomes free goes to the
        first waiter: when a lease is released, or by `free_object`, `free_many` or
        `resize`.

        Only the lease gives its id back: `free_object` refuses it. `discard` of the
        lease excludes it, as `exclude` does.

        Args:
            timeout (float | None): how many seconds to wait, None for no limit; by
                default 30.

        Returns:
            Lease[int]: use it in a `with`.

        Raises:
            PoolTimeout: no id became free in time.
            TypeError: `timeout` is neither a number nor None.
            ValueError: `timeout` is negative or NaN.

        Example:
            >>> from opool import ObjectMgr
            >>> ports = ObjectMgr(range(8000, 8002))
            >>> with ports.lease() as one, ports.lease(timeout=5) as other:
            ...     one, other, ports.available
            (8000, 8001, 0)
            >>> ports.available
            2
        """
    def lease_async(self, timeout: float | None = ...) -> AsyncLease[int]:
        """Gives an id to a task for a while: use it in an `async with`, or await it.

        Args:
            timeout (float | None): as for `lease`.

        Returns:
            AsyncLease[int]: nothing is taken before it is entered or awaited.

        Raises:
            TypeError: `timeout` is neither a number nor None.
            ValueError: `timeout` is negative or NaN.

        Example:
            >>> import asyncio
            >>> from opool import ObjectMgr
            >>> async def main():
            ...     async with ObjectMgr(range(8000, 9000)).lease_async() as port:
            ...         print(port)
            >>> asyncio.run(main())
            8000
        """
    def try_lease(self) -> Lease[int] | None:
        """Gives an id if one is free: as `lease`, but never waits.

        Returns:
            Lease[int] | None: None when no id is free, or others wait for one.

        Example:
            >>> from opool import ObjectMgr
            >>> ObjectMgr(1).try_lease() is None
            True
        """
    @property
    def waiting(self) -> int:
        """How many wait for an id.

        Type:
            int
        """
    def holders(self) -> list[Holder]:
        """Lists who holds which id by a lease, since when, and what the holder is doing: the longest first.

        Returns:
            list[Holder]: as of `Pool.holders`; ids that `get_object` gave are not among them.

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(4)
            >>> with mgr.lease() as id:
            ...     [holder.obj for holder in mgr.holders()]
            [1]
        """
    def dump(self) -> bytes:
        """Returns the whole state as bytes, for `load`.

        It contains the given ids as a Roaring bitmap in its portable form, which libraries of all languages read:
        ``data[80:80 + int.from_bytes(data[48:56], "little")]``. It has 32 bits if all ids of the range are in 0 to
        2**32 - 1, else 64; a negative id is written as id + 2**64. ``DESIGN.md`` describes the rest.

        Returns:
            bytes: equal for equal managers.

        Raises:
            MemoryError: there is no memory for them.
        """
    @classmethod
    def load(cls, data: Buffer, /) -> Self:
        """Makes a manager of what `dump` returned.

        Args:
            data (bytes | bytearray | memoryview): what `dump` returned.

        Returns:
            ObjectMgr: an equal manager, of the class on which this is called; its ``__init__`` is not called.

        Raises:
            ValueError: `data` is something else, truncated, or contradicts itself.
            MemoryError: there is no memory for the manager: at most some hundred times the length of `data`.

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(10**9)
            >>> mgr.get_range(10**6)
            range(1, 1000001)
            >>> ObjectMgr.load(mgr.dump()) == mgr
            True
        """
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __setstate__(self, state: tuple[bytes, dict[str, Any] | None], /) -> None: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __contains__(self, obj: object, /) -> bool: ...
    def __iter__(self) -> Iterator[int]: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

def is_palindrome(p: str) -> bool:
    """Tell whether a text reads the same backwards.

    Only letters and digits count (`str.isalnum`), and case does not (`str.lower`).

    Args:
        p: The text. Lone surrogates are allowed; they do not count.

    Returns:
        True if it is a palindrome. A text in which nothing counts is one.

    Raises:
        TypeError: `p` is not a `str`.

    Example:
        >>> from opool._opool import is_palindrome
        >>> is_palindrome("A man, a plan, a canal: Panama")
        True
    """

def zero_triplets(s: list[Any], found: list[list[Any]], /) -> None:
    """Find the triplets of a sorted list that sum to zero.

    Args:
        s: The values, sorted: numbers, or anything with `+`, `==` and `<`.
        found: Each triplet is appended to this list, as a list `[a, b, c]` of the very objects of `s`, in the order
            and with the repetitions of the two-pointer search. What was found before an exception stays.

    Raises:
        Exception: Whatever adding or comparing the values raises.

    Example:
        >>> from opool._opool import zero_triplets
        >>> found = []
        >>> zero_triplets([-1, 0, 0, 1], found)
        >>> found
        [[-1, 0, 1]]
    """
