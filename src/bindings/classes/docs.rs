//! The docstrings of what does not go through PyO3: a signature, two dashes, the text. Those of PyO3's methods stand at
//! the methods, those of its classes in `docs/`.

use std::ffi::CStr;

// ---------------------------------------------------------------------------------------------------------------------
// Pool

pub(crate) const POOL_INIT: &CStr = c"__init__($self, objects=(), *, factory=None, min_size=0, max_size=None, \
name=None, timeout=30.0, max_waiting=None, order='fifo', fairness='adaptive', check=None, check_after=1.0, \
check_timeout=5.0, reset=None, dispose=None, create_timeout=30.0, max_idle=None, max_lifetime=None, jitter=0.1, \
leak_after=None, track=False, timing=False, clock=None)
--

Sets the pool up, once. The class says what the arguments mean.

Raises:
    RuntimeError: if the pool is set up already.
";

pub(crate) const POOL_LEASE: &CStr = c"lease($self, timeout=opool._default.DEFAULT)
--

Takes an object, and returns the lease that gives it back.

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
    >>> pool = opool.Pool([\"a\"])
    >>> with pool.lease(timeout=2.5) as obj:
    ...     obj
    'a'
";

pub(crate) const POOL_TRY_LEASE: &CStr = c"try_lease($self, /)
--

Takes an object if one can be had at once: as `lease`, but never waits.

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
";

pub(crate) const POOL_LEASE_ASYNC: &CStr = c"lease_async($self, timeout=opool._default.DEFAULT)
--

Takes an object for a task: use it in an `async with`, or await it.

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
    >>> pool = opool.Pool([\"a\"])
    >>> async def main():
    ...     async with pool.lease_async(timeout=2.5) as obj:
    ...         print(obj)
    ...     lease = await pool.lease_async()
    ...     print(lease.obj)
    ...     lease.release()
    >>> asyncio.run(main())
    a
    a
";

pub(crate) const POOL_ACQUIRE: &CStr = c"acquire($self, timeout=opool._default.DEFAULT)
--

Takes an object without a lease around it; `release` gives it back.

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
    >>> pool = opool.Pool([\"a\"])
    >>> obj = pool.acquire()
    >>> pool.release(obj)
";

pub(crate) const POOL_RELEASE: &CStr = c"release($self, obj, /)
--

Gives back an object that `acquire` took. It is recognised by identity.

Args:
    obj: the object.

Raises:
    LeaseError: if the object is not out by `acquire`: released twice, held by
        a lease, or never in this pool. Nothing changes.
";

// ---------------------------------------------------------------------------------------------------------------------
// Lease

pub(crate) const LEASE: &CStr = c"Lease(obj, pool)
--

One object of a pool, yours until you give it back.

`Pool.lease` makes it. Use it in a `with`, or call `release` yourself. A lease
that is dropped without either gives its object back as well. A released lease
stays released: entering or releasing it again raises `LeaseError`, and never
touches the object's next holder. (`obj` still names the object; do not use it.)

A lease made by hand, `Lease(obj, pool)`, calls `pool.add_obj(obj)` when it is
left or released, or `pool.put(obj)` if that is what the pool has.

Example:
    >>> import opool
    >>> pool = opool.Pool([\"a\"])
    >>> with pool.lease() as obj:
    ...     obj
    'a'
";

pub(crate) const LEASE_RELEASE: &CStr = c"release($self, /)
--

Gives the object back, as leaving the `with` does.

Raises:
    LeaseError: if the lease is released already.
";

pub(crate) const LEASE_DISCARD: &CStr = c"discard($self, /)
--

Ends the lease, and takes the object out of the pool for good.

For an object that turned out to be broken. It is disposed of in the
background, and the pool creates another one when it needs one.

Raises:
    LeaseError: if the lease is released already, or was made by hand.

Example:
    >>> import opool
    >>> pool = opool.Pool([\"broken\", \"sound\"])
    >>> pool.lease().discard()
    >>> pool
    <opool.Pool: size 1, idle 1, leased 0, waiting 0>
";

pub(crate) const LEASE_ENTER: &CStr = c"__enter__($self, /)
--

Returns the object.

Raises:
    LeaseError: if the lease was entered before, or is released.
";

pub(crate) const LEASE_EXIT: &CStr = c"__exit__($self, type, value, traceback, /)
--

Gives the object back. An exception of the body passes through.

Raises:
    LeaseError: if the lease is released already.
";

pub(crate) const LEASE_OBJ: &CStr = c"The leased object.";
pub(crate) const LEASE_POOL: &CStr = c"The pool or manager it came from; None if that is gone.";
pub(crate) const LEASE_RELEASED: &CStr = c"Whether the lease is over.";
pub(crate) const CLASS_GETITEM: &CStr = c"See PEP 585.";

// ---------------------------------------------------------------------------------------------------------------------
// AsyncLease

pub(crate) const ASYNC_LEASE: &CStr = c"What `Pool.lease_async` and `ObjectMgr.lease_async` return.

In an `async with` it is the object, from the moment that there is one until the
block is left. Awaited, it is a `Lease`, which is yours to release. It can be
used once, in one of the two ways.

Example:
    >>> import asyncio, opool
    >>> pool = opool.Pool([\"a\"])
    >>> async def main():
    ...     async with pool.lease_async() as obj:
    ...         print(obj)
    >>> asyncio.run(main())
    a
";

pub(crate) const ASYNC_LEASE_ENTER: &CStr = c"__aenter__($self, /)
--

Waits for an object, and returns it.";

pub(crate) const ASYNC_LEASE_EXIT: &CStr = c"__aexit__($self, type, value, traceback, /)
--

Gives the object back. An exception of the body passes through.";

pub(crate) const ASYNC_LEASE_SEND: &CStr = c"send($self, value, /)
--

Resumes the wait, as an event loop does; see `collections.abc.Coroutine.send`.";

pub(crate) const ASYNC_LEASE_THROW: &CStr = c"throw($self, type, value=None, traceback=None, /)
--

Ends the wait with an exception; see `collections.abc.Coroutine.throw`.";

pub(crate) const ASYNC_LEASE_CLOSE: &CStr = c"close($self, /)
--

Ends the wait; see `collections.abc.Coroutine.close`.";

// ---------------------------------------------------------------------------------------------------------------------
// ObjectMgr

pub(crate) const OBJECTMGR_INIT: &CStr = c"__init__($self, n, *, inclusive=False, order='fifo', seed=None)
--

Sets the manager up; a second call starts again. The class says what the arguments mean.

Raises:
    RuntimeError: the manager is in use: ids are leased, or somebody waits.
";

pub(crate) const OBJECTMGR_GET_OBJECT: &CStr = c"get_object($self, /)
--

Gives a free id.

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
";

pub(crate) const OBJECTMGR_FREE_OBJECT: &CStr = c"free_object($self, obj, /)
--

Takes an id back, so that it can be given again.

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
";

pub(crate) const OBJECTMGR_LEASE: &CStr = c"lease($self, timeout=opool._default.DEFAULT)
--

Gives an id for a while: the lease takes it back. `Pool.lease`, for ids.

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
";

pub(crate) const OBJECTMGR_TRY_LEASE: &CStr = c"try_lease($self, /)
--

Gives an id if one is free: as `lease`, but never waits.

Returns:
    Lease[int] | None: None when no id is free, or others wait for one.

Example:
    >>> from opool import ObjectMgr
    >>> ObjectMgr(1).try_lease() is None
    True
";

pub(crate) const OBJECTMGR_LEASE_ASYNC: &CStr = c"lease_async($self, timeout=opool._default.DEFAULT)
--

Gives an id to a task for a while: use it in an `async with`, or await it.

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
";
