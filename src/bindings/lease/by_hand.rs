//! Leases made by hand: `Lease(obj, pool)`, for anything with `add_obj` or `put`.

use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::exception::forget;
use crate::bindings::ffi::interrupt::failure;
use crate::bindings::ffi::refcount::none;
use crate::bindings::lease::errors;
use crate::bindings::lease::hot;
use crate::bindings::lease::shell::allocate;
use crate::bindings::objects::lease::{Lease, RELEASED};
use crate::pool::SlotId;

/// `Lease(obj, pool)`: the `tp_new` of the type.
pub(crate) unsafe extern "C" fn new(
    _: *mut ffi::PyTypeObject,
    args: *mut PyObject,
    names: *mut PyObject,
) -> *mut PyObject {
    const KEYWORDS: [*const std::ffi::c_char; 3] = [c"obj".as_ptr(), c"pool".as_ptr(), ptr::null()];
    let (mut object, mut pool) = (ptr::null_mut::<PyObject>(), ptr::null_mut::<PyObject>());
    // SAFETY: the format asks for two objects, and two places follow.
    unsafe {
        if ffi::PyArg_ParseTupleAndKeywords(
            args,
            names,
            c"OO:Lease".as_ptr(),
            KEYWORDS.as_ptr().cast_mut().cast(),
            &raw mut object,
            &raw mut pool,
        ) == 0
        {
            return ptr::null_mut();
        }
        allocate(object, pool, ptr::null_mut(), SlotId::NONE, ptr::null_mut(), call).cast()
    }
}

/// Calling a lease that was made by hand.
unsafe extern "C" fn call(
    this: *mut PyObject,
    _args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as `hot::call`.
    unsafe { hot::dispatch(this.cast(), count, names, leave_by_hand) }
}

/// Ends a lease of either kind: what `Lease.release()` does, and `__exit__` where it is called as a method.
///
/// # Safety
/// The lease is alive for the call, and the thread is attached.
pub(crate) unsafe fn leave(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as promised.
    unsafe { if (*lease).slot == SlotId::NONE { leave_by_hand(lease) } else { hot::leave(lease) } }
}

/// Leaving: to the pool's `add_obj`, or to a queue's `put`. If that fails, the lease still holds the object.
#[cold]
unsafe fn leave_by_hand(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: attached, as every slot; a lease made by hand owns its pool for good.
    unsafe {
        let py = Python::assume_attached();
        let before = (*lease).phase.replace(attached(py), RELEASED);
        if before >= RELEASED {
            return errors::released_twice(py, lease, before).null();
        }
        let mut put = ffi::PyObject_GetAttrString((*lease).pool, c"add_obj".as_ptr());
        if put.is_null() && ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) != 0 {
            match failure(py, PyErr::fetch(py)) {
                Ok(error) => {
                    forget(py, error);
                    put = ffi::PyObject_GetAttrString((*lease).pool, c"put".as_ptr());
                }
                Err(interrupt) => interrupt.restore(py),
            }
        }
        let result = match put.is_null() {
            true => ptr::null_mut(),
            false => ffi::PyObject_CallFunctionObjArgs(put, (*lease).object, ptr::null_mut::<PyObject>()),
        };
        ffi::Py_XDECREF(put);
        if result.is_null() {
            (*lease).phase.reset(before);
            return ptr::null_mut();
        }
        ffi::Py_DECREF(result);
        none()
    }
}
