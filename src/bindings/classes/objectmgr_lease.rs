//! `ObjectMgr`: ids by a lease, for threads and tasks. What they do is the pool's (`lender.rs`).

use std::ffi::CStr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::bindings::async_lease::step as async_lease;
use crate::bindings::ffi::raw::{add_methods, method};
use crate::bindings::ids::object::ObjectMgr;
use crate::bindings::lease::hot as lease;
use crate::bindings::objects::pool::Pool;

const LEASE: &CStr = c"lease($self, timeout=...)
--

Gives an id for a while: the lease takes it back. `Pool.lease`, for ids.

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
";

const TRY_LEASE: &CStr = c"try_lease($self, /)
--

As `lease`, but never waits.

Returns:
    Lease[int] | None: None when no id is free, or others wait for one.

Example:
    >>> from opool import ObjectMgr
    >>> ObjectMgr(1).try_lease() is None
    True
";

const LEASE_ASYNC: &CStr = c"lease_async($self, timeout=...)
--

As `lease`, for tasks: use it in an `async with`, or await it.

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

/// Puts the methods on the type.
pub(crate) fn add_to(class: &Bound<'_, PyType>) -> PyResult<()> {
    let with_timeout = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    let lease = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease };
    let lease_async = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease_async };
    add_methods(
        class,
        [
            method(c"lease", lease, with_timeout, LEASE),
            method(c"try_lease", ffi::PyMethodDefPointer { PyCFunction: try_lease }, ffi::METH_NOARGS, TRY_LEASE),
            method(c"lease_async", lease_async, with_timeout, LEASE_ASYNC),
        ],
    )
}

/// Does something with the pool of those who wait; null with the exception set if there can be none.
///
/// # Safety
/// `slf` is an `ObjectMgr` or of a subclass, it is alive for the call, and the thread is attached.
unsafe fn with_desk(slf: *mut PyObject, ask: impl FnOnce(*mut PyObject) -> *mut PyObject) -> *mut PyObject {
    // SAFETY: as promised.
    let (py, slf) = unsafe { (Python::assume_attached(), Bound::ref_from_ptr(Python::assume_attached(), &slf)) };
    // SAFETY: as promised.
    match ObjectMgr::desk(unsafe { slf.cast_unchecked() }) {
        Ok(pool) => ask(Bound::<Pool>::as_ptr(&pool)),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// CPython calls it, through the method descriptor, which has checked the type of `slf`. So are the others.
unsafe extern "C" fn lease(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called attached, and the caller holds everything.
    unsafe { with_desk(slf, |pool| lease::lease(pool, args, count, names)) }
}

unsafe extern "C" fn lease_async(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as above.
    unsafe { with_desk(slf, |pool| async_lease::lease_async(pool, args, count, names)) }
}

unsafe extern "C" fn try_lease(slf: *mut PyObject, unused: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    unsafe { with_desk(slf, |pool| lease::try_lease(pool, unused)) }
}
