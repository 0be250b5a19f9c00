//! The hot methods of `opool.Pool`, which take their arguments as CPython passes them: what they say, and how they get
//! into the class.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::async_lease::step as async_lease;
use crate::bindings::ffi::raw::{add_methods, method};
use crate::bindings::lease::hot as lease;
use crate::bindings::objects::pool::Pool;

const LEASE_DOC: &CStr = c"lease($self, timeout=...)
--

Takes an object, and returns the lease that gives it back.

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
    >>> pool = opool.Pool([\"a\"])
    >>> with pool.lease(timeout=2.5) as obj:
    ...     obj
    'a'
";

const TRY_LEASE_DOC: &CStr = c"try_lease($self, /)
--

As `lease`, but never waits: returns None if nothing is there at once.

If an idle object has to be checked first, or one could be created, that begins
in the background, so that the next one who asks may find it.

Raises:
    PoolClosed: if the pool is closed.

Example:
    >>> import opool
    >>> opool.Pool([]).try_lease() is None
    True
";

const LEASE_ASYNC_DOC: &CStr = c"lease_async($self, timeout=...)
--

As `lease`, for tasks: use it in an `async with`, or await it.

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

const ACQUIRE_DOC: &CStr = c"acquire($self, timeout=...)
--

Takes an object without a lease around it; `release` gives it back.

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
    >>> pool = opool.Pool([\"a\"])
    >>> obj = pool.acquire()
    >>> pool.release(obj)
";

const RELEASE_DOC: &CStr = c"release($self, obj, /)
--

Gives back an object that `acquire` took. It is recognised by identity.

Args:
    obj: the object.

Raises:
    LeaseError: if the object is not out by `acquire`: released twice, held by
        a lease, or never in this pool. Nothing changes.
";

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<Pool>();
    let with_timeout = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    add_methods(
        &class,
        [
            method(
                c"lease",
                ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease::lease },
                with_timeout,
                LEASE_DOC,
            ),
            method(
                c"lease_async",
                ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: async_lease::lease_async },
                with_timeout,
                LEASE_ASYNC_DOC,
            ),
            method(
                c"try_lease",
                ffi::PyMethodDefPointer { PyCFunction: lease::try_lease },
                ffi::METH_NOARGS,
                TRY_LEASE_DOC,
            ),
            method(
                c"acquire",
                ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease::acquire },
                with_timeout,
                ACQUIRE_DOC,
            ),
            method(c"release", ffi::PyMethodDefPointer { PyCFunction: lease::release }, ffi::METH_O, RELEASE_DOC),
        ],
    )?;
    module.add("Pool", class)
}
