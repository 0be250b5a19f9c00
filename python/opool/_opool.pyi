# Docstrings are copied from the extension by scripts/stub_docstrings.py; the rest is written by hand.

from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from types import GenericAlias, TracebackType
from typing import Any, ClassVar, Generic, Literal, NoReturn, SupportsIndex, TypeVar, final, overload

from typing_extensions import Buffer, Self, disjoint_base

from opool._figures import PoolStats
from opool._watch import Holder

__all__ = [
    "AsyncLease",
    "Clock",
    "Job",
    "Lease",
    "ObjectMgr",
    "Pool",
    "__version__",
    "_stop_background",
    "is_palindrome",
    "zero_triplets",
]

_T = TypeVar("_T")

__version__: str

@disjoint_base
class Pool(Generic[_T]):
    """Hands out each of its objects to one holder at a time.

    Threads that find no object idle wait in the order in which they came, with the GIL released; the first of them gets
    the next object that is given back or added. Any method may be called from any thread.

    With a `factory` the pool makes objects itself, when somebody waits and none is idle, up to `max_size`. That happens
    in background threads: whoever asks gets what comes first, an object that comes back or a new one. The threads end
    when there is nothing to do. An option that is not given costs nothing. Close such a pool to have its objects
    disposed of; one that is merely dropped drops them.

    Args:
        objects: what to hand out, in this order. Kept by reference; the same object may stand here several times.
        factory: makes an object. If it raises, the next attempt waits (0.1 s, then twice as long each time, up to 5 s);
            where no object is left that could come back, those who wait get the error at once.
        min_size: how many objects to keep at least.
        max_size: how many objects there may be; by default 10 with a factory, and without one as many as are added.
        name: shows up in messages.
        timeout: how many seconds `lease` and `acquire` wait unless they are told otherwise, for everything together;
            None is for ever.
        max_waiting: how many may wait for objects that others hold; None is any number.
        order: which idle object goes out next: "fifo" (the one that has been idle longest) or "lifo" (the one that
            came back last, so that those which are not needed become idle and go).
        fairness: what a thread gets that gives back while others wait, and asks again at once. With "strict", the end
            of the queue. With "adaptive", the same object for another while, up to half a millisecond in all, provided
            that it keeps each lease for less than ten microseconds: then a change of threads costs more than the lease.
            Those who wait keep their order in either case.
        check: called with an object before it goes out; if it raises or returns something false other than None, the
            object goes, and another takes its place.
        check_after: only if the object has been idle for more than so many seconds; `math.inf` is never.
        check_timeout: how many seconds a check in the background may take before its object goes.
        reset: called with an object that comes back, by whoever gives it back; if it raises, the object goes.
        dispose: called with an object that goes, in the background. Until that is done, but for a second at most, the
            object still takes its place among `max_size`.
        create_timeout: how many seconds the factory may take before the attempt counts as failed. What it returns later
            is used or disposed of.
        max_idle: how many seconds an object may be idle before it goes, while there are more than `min_size`.
        max_lifetime: how many seconds after it was made an object is replaced, one after another.
        jitter: by which part of it, at random and at most, a lifetime is shorter: 0 to 1.
        leak_after: a lease that lasts for more seconds is reported in the log, once, with its holder's stack.
        track: whether `holders` knows where in the program each lease was taken.
        timing: whether `stats` knows how long leases last.
        clock: an `opool.testing.Clock`, for tests.

    Raises:
        TypeError: if `objects` cannot be iterated over, or an option is unknown or has the wrong type.
        ValueError: if an option has an impossible value, or means nothing without another that is missing.

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a", "b"], name="letters")
        >>> with pool.lease() as letter:
        ...     letter
        'a'
        >>> pool
        <opool.Pool 'letters': size 2, idle 2, leased 0, waiting 0>
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

        The object is taken at the call. If none is idle, the thread waits its turn,
        first come, first served; signals such as Ctrl-C interrupt it.

        Args:
            timeout: how many seconds to wait, None for ever; by default what the pool
                was made with.

        Returns:
            A `Lease`. Use it in a `with`.

        Raises:
            PoolTimeout: if no object came free in time.
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
        """As `lease`, for tasks: use it in an `async with`, or await it.

        Tasks of any number of event loops and threads wait in one queue, first come,
        first served. A task that is cancelled loses nothing: what it was just given
        goes to the next.

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
        """As `lease`, but never waits: returns None if nothing is there at once.

        If an idle object has to be checked first, or one could be created, that begins
        in the background, so that the next one who asks may find it.

        Raises:
            PoolClosed: if the pool is closed.

        Example:
            >>> import opool
            >>> opool.Pool([]).try_lease() is None
            True
        """
    def acquire(self, timeout: float | None = ...) -> _T:
        """Takes an object without a lease around it; `release` gives it back.

        Prefer `lease`: what is acquired and never released is lost to the pool.

        Args:
            timeout: as for `lease`.

        Returns:
            The object.

        Raises:
            PoolTimeout: if no object came free in time.
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
        """Appends an object, or hands it to whoever has waited longest.

        Args:
            obj: any object. Added twice, it can be out twice at the same time.

        Raises:
            PoolClosed: if the pool is closed.
            ValueError: if the pool has `max_size` objects already.
        """
    def reload(self) -> None:
        """Replaces all objects by new ones, one after another, and returns at once.

        Where there is room, a new object comes before an old one goes; what is out is replaced when it comes back.
        While the factory fails, the old objects stay in use.

        Raises:
            ValueError: if the pool has no factory.
            PoolClosed: if the pool is closed.
        """
    def resize(self, *, min_size: int | None = None, max_size: int | None = None) -> None:
        """Changes the limits. What is idle and too much goes at once, what is out when it comes back.

        Args:
            min_size: how many objects to keep at least; unchanged if not given.
            max_size: how many there may be; unchanged if not given.

        Raises:
            TypeError: if a size is no int.
            ValueError: if a size is negative, `min_size` exceeds `max_size`, or the pool has no factory.
            PoolClosed: if the pool is closed.
        """
    def close(self, timeout: float | None = ..., *, force: bool = False) -> None:
        """Ends the pool: nothing goes out any more, those who wait get `PoolClosed`, and every object is disposed of.

        Waits for what is still out. Closing again waits again, for what was left.

        Args:
            timeout: how many seconds to wait for what is out; None for ever; by default the pool's timeout.
            force: whether to dispose of what is out as well, under its holders' hands, and not to wait.

        Raises:
            PoolCloseTimeout: if something is still out then. It says who holds it; the pool stays closed, and what
                comes back later is disposed of.
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
        """Who holds something, since when, and what they are doing: see `opool.Holder`.

        Example:
            >>> import opool
            >>> pool = opool.Pool(["a"])
            >>> with pool.lease() as obj:
            ...     [holder.obj for holder in pool.holders()]
            ['a']
        """
    def stats(self) -> PoolStats:
        """All counts and sizes of one moment: see `opool.PoolStats`.

        Example:
            >>> import opool
            >>> stats = opool.Pool(["a", "b"]).stats()
            >>> stats.size, stats.idle, stats.leases
            (2, 2, 0)
        """
    def _remove(self, timeout: float | None) -> _T: ...
    def _holders(self) -> list[tuple[_T, int, int, float, bool, bool, str | None, AsyncLease[_T] | None]]: ...
    def _figures(self) -> dict[str, Any]: ...
    def _next_job(self) -> Job | None: ...
    def _begin_close(self, force: bool) -> None: ...
    def _is_over(self) -> tuple[bool, bool]: ...
    def _add_closer(self) -> Any: ...
    def _looks_again(self) -> None: ...
    def _settle(self) -> None: ...
    def _has_given_others(self) -> bool: ...
    def _lends_ids(self) -> bool: ...
    def _called(self) -> str: ...
    def _no_closer(self, turn: Any) -> None: ...
    def _has_work(self) -> bool: ...
    def _seconds_to_work(self) -> float | None: ...
    def _expire(self, event_loop: Any) -> None: ...
    def _due(self) -> int | None: ...
    @property
    def _last_error(self) -> BaseException | None: ...
    @property
    def size(self) -> int:
        """How many objects there are: idle + leased."""
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
        """How many objects there are at least, once they are made. `resize` changes it."""
    @property
    def max_size(self) -> int | None:
        """How many objects there are at most; None if there is no limit. `resize` changes it."""
    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
    @property
    def fairness(self) -> Literal["adaptive", "strict"]:
        """As given at construction: "adaptive" or "strict"."""
    @property
    def timeout(self) -> float | None:
        """How many seconds `lease` and `acquire` wait by default; None is for ever."""
    def aclose(self, timeout: float | None = ..., *, force: bool = False) -> Coroutine[Any, Any, None]:
        """As `close`, for tasks: the event loop goes on meanwhile.

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
    that is dropped without either gives its object back as well. A lease that is
    over stays over: entering or releasing it again raises `LeaseError`, and never
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
            LeaseError: if the lease is over already.
        """
    def discard(self) -> None:
        """Ends the lease, and takes the object out of the pool for good.

        For an object that turned out to be broken. It is disposed of in the
        background, and the pool makes another one when it needs one.

        Raises:
            LeaseError: if the lease is over already, or was made by hand.

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

    _thread: int
    def __await__(self) -> Generator[Any, Any, Lease[_T]]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def __aenter__(self) -> Coroutine[Any, Any, _T]: ...
    def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> Coroutine[Any, Any, None]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def send(self, value: Any, /) -> Any:
        """See generators."""
    def throw(self, *exception: Any) -> Any:
        """See generators."""
    def close(self) -> None:
        """See generators."""

@disjoint_base
class Clock:
    """A time that passes only when it is told to. `opool.testing.Clock` makes pools run on it."""
    def __new__(cls) -> Self: ...
    def _nanos(self) -> int: ...
    def _set(self, nanos: int) -> None: ...

@final
class Job:
    """A piece of background work: a hook that is to be called, and told of how that ended."""
    @property
    def name(self) -> Literal["create", "check", "reset", "dispose", "report"]:
        """What is to be done: "create", "check", "reset", "dispose" or "report"."""
    @property
    def hook(self) -> Callable[..., Any] | None:
        """The hook that is to be called, if it is not a report."""
    @property
    def obj(self) -> Any:
        """The object in question, if there is one yet."""
    def run(self) -> None:
        """Calls the hook, and tells the pool how that ended."""
    def finish(self, result: Any) -> None:
        """The hook, called by somebody else, has returned `result`."""
    def fail(self, error: BaseException) -> None:
        """The hook, called by somebody else, has raised `error`."""
    def break_off(self) -> None:
        """The hook, called by somebody else, was broken off from outside. What it did to the object nobody knows."""

def _stop_background(pools: list[Pool[Any]]) -> None: ...

@disjoint_base
class ObjectMgr:
    """Hands out integers, each to one holder at a time.

    The ids are those of ``range(1, n)``: 1 to n - 1; or those of any other range. By default fresh ones come first and
    ascending, then the freed ones in the order they were freed. Whatever the size, construction takes no time and no
    memory to speak of; an id costs one bit once it was given, and 4 more bytes (8 from 2**32 on) while it sits freed.
    Any number of threads may share one manager.

    Who asks for ids that are not to be had gets None and changes nothing: `get_object`, `get_many`, `get_range`,
    `reserve` (and False: `get_into`). Who names an id that is wrong gets a `ValueError`, and changes nothing either.

    Who wants an id for a while, and waits for it if need be, leases it: `lease`, in tasks `lease_async`.

    As a collection a manager is the ids that are given out, ascending: ``in``, ``len`` and ``for`` speak of those.
    While one goes through them, ids may be given and freed; each id that is out all the time comes exactly once. Unlike
    other collections, one without ids is true. Managers are equal if they show the same and will give the same from now
    on. As whatever is equal and changes, they cannot be hashed.

    Args:
        n (int | range): the end of the range, at most 2**63; with 1 or less there are no ids. Or the range itself, with
            a step of 1 and at most 2**63 ids: ``range(8000, 9000)`` is 8000 to 8999.
        inclusive (bool): whether ``n`` itself is an id too, so that there are n of them. The greatest id there can
            be is 2**63 - 1.
        order (str): which free id goes out next: "fifo" (the fresh ones, then the one that was freed longest ago),
            "lowest", or "random" (any, each as likely as the others; not for secrets).
        seed (int | None): with the order "random", the same seed and the same calls give the same ids. None is
            another one each time.

    Raises:
        TypeError: ``n`` is neither an integer nor a range.
        OverflowError: ``n`` is too large, or the range goes below -2**63.
        ValueError: the range has a step other than 1; an option has an impossible value, or means nothing here.

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
        """Gives an id that nobody has.

        Returns:
            int | None: with the order `fifo`, the lowest id that was never given; when there is none left, the
                id that was freed longest ago. With `lowest` the lowest free id, with `random` any. None when all
                of them are out.

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
            ValueError: obj is not an id that is given out; it may have been freed already. Or a lease has it.
            TypeError: obj cannot be hashed.
            MemoryError: there is no memory to note it; it stays given out.

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
        """The ids that were never given, in the order they will be.

        Those that were reserved or excluded before it was their turn lie in it all the same. With the order "lowest" it
        is the ids beyond all that were given, and with "random" it is empty: see `freed_objects`.

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
        """The ids that are given out: a new set at each access.

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
        """All ids that there are.

        Type:
            range

        Example:
            >>> from opool import ObjectMgr
            >>> ObjectMgr(4).ids
            range(1, 4)
        """
    @property
    def order(self) -> Literal["fifo", "lowest", "random"]:
        """Which free id goes out next: "fifo", "lowest" or "random".

        Type:
            str
        """
    @property
    def available(self) -> int:
        """How many ids could be given out now.

        Type:
            int

        Example:
            >>> from opool import ObjectMgr
            >>> ObjectMgr(2**63).available == 2**63 - 1
            True
        """
    @property
    def excluded(self) -> list[range]:
        """The ids that must not be given, as ranges, ascending: a new list at each access.

        Type:
            list[range]
        """
    def get_many(self, k: SupportsIndex, /) -> list[int] | None:
        """Gives several ids at once, in the order in which `get_object` would.

        Args:
            k (int): how many.

        Returns:
            list[int] | None: the ids; None when there are not so many.

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
        """Fills a buffer with ids, in the order in which `get_object` would give them: a tenth of the time of a list.

        Args:
            buffer (array.array | numpy.ndarray | memoryview): where to write them; as many ids as it has elements. It
                is writable and contiguous, and its elements are ints which every id of the range fits.

        Returns:
            bool: whether there were so many; if not, the buffer is as it was.

        Raises:
            TypeError: it is no such buffer.
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
        """Gives neighbouring ids.

        With the order "fifo", fresh ones if there are enough beside each other, else the lowest; with "lowest" the
        lowest; with "random" the first after a place that chance chooses. Fresh ones cost next to nothing; to search
        for others takes 50 ms where 10**9 ids are given, at worst.

        Args:
            k (int): how many.

        Returns:
            range | None: the ids; None when no k neighbours are free.

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
            ValueError: one of them is not given out, or stands there twice. The message names the first of those;
                nothing was freed.
            TypeError: one of them is no int.
            MemoryError: there is no memory to note them; they stay given out.

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
        """Gives this very id, as if it had been its turn. It comes back by `free_object`.

        Args:
            id (int): the id.

        Returns:
            int | None: the id; None when it is given out already.

        Raises:
            ValueError: it does not lie in the range, or is excluded.

        Example:
            >>> from opool import ObjectMgr
            >>> ports = ObjectMgr(range(8000, 9000))
            >>> ports.reserve(8001), ports.reserve(8001), ports.get_many(2)
            (8001, None, [8000, 8002])
        """
    def exclude(self, ids: Iterable[SupportsIndex], /) -> None:
        """Takes ids out of the range for good: they are neither given nor counted as available.

        Args:
            ids (Iterable[int]): the ids; a range costs the same for any length. Those that are excluded already may be
                among them.

        Raises:
            ValueError: one of them is given out, or does not lie in the range. Nothing was excluded.

        Example:
            >>> from opool import ObjectMgr
            >>> ports = ObjectMgr(range(8000, 9000))
            >>> ports.exclude(range(8000, 8080))
            >>> ports.get_object(), ports.available, ports.excluded
            (8080, 919, [range(8000, 8080)])
        """
    def resize(self, n: SupportsIndex, *, inclusive: bool = False) -> None:
        """Moves the end of the range. Freed ids beyond a new end are forgotten; should it move back, they are fresh.

        Args:
            n (int): the end of the range, at most 2**63. Before the start, there are no ids.
            inclusive (bool): whether ``n`` itself is an id too.

        Raises:
            ValueError: an id beyond the new end is given out.
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

        If all ids are out, the thread waits its turn, in one queue with the tasks of
        `lease_async`, first come, first served. Whatever comes free goes to the first
        of them: what a lease gives back, `free_object` or `free_many` take, `resize`
        adds.

        Only the lease gives its id back: `free_object` refuses it. `discard` of the
        lease excludes it, as `exclude` does.

        Args:
            timeout (float | None): how many seconds to wait, None for ever; by default
                30.

        Returns:
            Lease[int]: use it in a `with`.

        Raises:
            PoolTimeout: no id came free in time.
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
        """As `lease`, for tasks: use it in an `async with`, or await it.

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
        """As `lease`, but never waits.

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
        """Who has which id by a lease, since when, and what they are doing: the longest first.

        Returns:
            list[Holder]: as of `Pool.holders`; what `get_object` gave is not among them.

        Example:
            >>> from opool import ObjectMgr
            >>> mgr = ObjectMgr(4)
            >>> with mgr.lease() as id:
            ...     [holder.obj for holder in mgr.holders()]
            [1]
        """
    def dump(self) -> bytes:
        """The whole state as bytes, for `load`.

        The ids that are given out stand in it as a Roaring bitmap in its portable form, which libraries of all
        languages read: ``data[80:80 + int.from_bytes(data[48:56], "little")]``. It has 32 bits if all ids of the range
        lie in 0 to 2**32 - 1, else 64; a negative id stands there as id + 2**64. ``DESIGN.md`` describes the rest.

        Returns:
            bytes: equal for equal managers.

        Raises:
            MemoryError: there is no memory for them.
        """
    @classmethod
    def load(cls, data: Buffer, /) -> Self:
        """The manager that was dumped.

        Args:
            data (bytes | bytearray | memoryview): what `dump` returned.

        Returns:
            ObjectMgr: an equal manager, of the class on which this is called; its ``__init__`` does not run.

        Raises:
            ValueError: it is something else, cut off, or contradicts itself.
            MemoryError: there is no memory for what it says: at most some hundred times its own length.

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
