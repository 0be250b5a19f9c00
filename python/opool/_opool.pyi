# Docstrings are copied from the extension by scripts/stub_docstrings.py; the rest is written by hand.

from collections import deque
from collections.abc import Iterable
from types import GenericAlias, TracebackType
from typing import Any, Generic, Literal, NoReturn, SupportsIndex, TypeVar, final

from typing_extensions import Self, disjoint_base

__all__ = ["Lease", "ObjectMgr", "Pool", "__version__", "is_palindrome", "zero_triplets"]

_T = TypeVar("_T")

__version__: str

@disjoint_base
class Pool(Generic[_T]):
    """Hands out each of its objects to one holder at a time.

    Threads that find no object idle wait in the order in which they came, with the GIL released; the first of them gets
    the next object that is given back or added. Any method may be called from any thread.

    Args:
        objects: what to hand out, in this order. Kept by reference; the same object may stand here several times.
        timeout: how many seconds `lease` and `acquire` wait unless they are told otherwise; None is for ever.
        name: shows up in messages.
        order: which idle object goes out next: "fifo" (the one that has been idle longest) or "lifo" (the one that
            came back last).
        fairness: what a thread gets that gives back while others wait, and asks again at once. With "strict", the end
            of the queue. With "adaptive", the same object for another while, up to half a millisecond in all, provided
            that it keeps each lease for less than ten microseconds: then a change of threads costs more than the lease.
            Those who wait keep their order in either case.

    Raises:
        TypeError: if `objects` cannot be iterated over, or an option has the wrong type.
        ValueError: if `timeout` is negative, or `order` or `fairness` is unknown.

    Example:
        >>> import opool
        >>> pool = opool.Pool(["a", "b"], name="letters")
        >>> with pool.lease() as letter:
        ...     letter
        'a'
        >>> pool
        <opool.Pool 'letters': size 2, idle 2, leased 0, waiting 0>
    """
    def __new__(cls, *_args: Any, **_options: Any) -> Self: ...
    def __init__(
        self,
        objects: Iterable[_T] = (),
        *,
        timeout: float | None = 30.0,
        name: str | None = None,
        order: Literal["fifo", "lifo"] = "fifo",
        fairness: Literal["adaptive", "strict"] = "adaptive",
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
    def try_lease(self) -> Lease[_T] | None:
        """As `lease`, but never waits: returns None if no object is idle.

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
        """
    def _remove(self, timeout: float | None) -> _T: ...
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
    def fairness(self) -> Literal["adaptive", "strict"]:
        """As given at construction: "adaptive" or "strict"."""
    @property
    def timeout(self) -> float | None:
        """How many seconds `lease` and `acquire` wait by default; None is for ever."""
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
        """The pool it came from; None if the lease is over and the pool is gone."""
    @property
    def released(self) -> bool:
        """Whether the lease is over."""
    def release(self) -> None:
        """Gives the object back, as leaving the `with` does.

        Raises:
            LeaseError: if the lease is over already.
        """
    def __enter__(self) -> _T: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __class_getitem__(cls, key: Any, /) -> GenericAlias: ...

@disjoint_base
class ObjectMgr:
    """Hands out integers, each to one holder at a time.

    The ids are those of ``range(1, n)``: 1 to n - 1. Fresh ones come first and ascending, then the freed ones in the
    order they were freed. Whatever the size, construction takes no time and no memory to speak of; an id costs one bit
    once it was given, and 4 more bytes (8 from 2**32 on) while it sits freed. Any number of threads may share one
    manager.

    Args:
        n (int): the end of the range, at most 2**63. With 1 or less there are no ids.
        inclusive (bool): whether ``n`` itself is an id too, so that there are n of them. The greatest id there can
            be is 2**63 - 1.

    Raises:
        TypeError: ``n`` is not an integer.
        OverflowError: ``n`` is too large.

    Example:
        >>> from opool import ObjectMgr
        >>> seats = ObjectMgr(2, inclusive=True)
        >>> seats.get_object(), seats.get_object(), seats.get_object()
        (1, 2, None)
        >>> seats.free_object(1)
        1
        >>> seats.get_object()
        1
    """
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def __init__(self, n: SupportsIndex, *, inclusive: bool = False) -> None: ...
    def get_object(self) -> int | None:
        """Gives an id that nobody has.

        Returns:
            int | None: the lowest id that was never given; when there is none left, the id that was freed longest ago;
                None when all of them are out.

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
            ValueError: obj is not an id that is given out; it may have been freed already.
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
