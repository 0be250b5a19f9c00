//! The result of an `await`, where the interpreter takes it from an exception: before CPython 3.10, and since 3.12.

use std::ptr;
#[cfg(Py_3_12)]
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::ffi::{self, PyObject};

#[cfg(Py_3_12)]
use crate::bindings::ffi::refcount::is_unique;

/// Raises `StopIteration(value)`.
pub(crate) unsafe fn raise_new(value: *mut PyObject) {
    // SAFETY: the caller's value is alive. An exception or a tuple as the value would be taken apart.
    unsafe {
        let made = ffi::PyObject_CallFunctionObjArgs(ffi::PyExc_StopIteration, value, ptr::null_mut::<PyObject>());
        if !made.is_null() {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, made);
            ffi::Py_DECREF(made);
        }
    }
}

#[cfg(not(Py_3_12))]
pub(crate) use raise_new as raise;

#[cfg(Py_3_12)]
static SPARE: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// Puts another one there, and takes the one that was.
#[cfg(Py_3_12)]
#[inline(always)]
fn exchange(made: *mut PyObject) -> *mut PyObject {
    if cfg!(not(opool_gil)) {
        return SPARE.swap(made, Relaxed);
    }
    // One thread at a time, and plain loads and stores cost less.
    let before = SPARE.load(Relaxed);
    SPARE.store(made, Relaxed);
    before
}

/// As `raise_new`, with one and the same exception again and again, which keeps the value until `forget`.
#[cfg(Py_3_12)]
pub(crate) unsafe fn raise(value: *mut PyObject) {
    // SAFETY: attached. The caller that takes the spare one has its only reference, unless somebody else has kept it.
    unsafe {
        let mut made = exchange(ptr::null_mut());
        if !made.is_null() && !is_unique(made) {
            ffi::Py_DECREF(made);
            made = ptr::null_mut();
        }
        if made.is_null() {
            // Without the value among its arguments, which would stay.
            made = ffi::PyObject_CallFunctionObjArgs(ffi::PyExc_StopIteration, ptr::null_mut::<PyObject>());
            if made.is_null() {
                return;
            }
        }
        set_value(made, value);
        ffi::Py_INCREF(made);
        ffi::PyErr_SetRaisedException(made);
        ffi::Py_XDECREF(exchange(made));
    }
}

/// Drops the value, which the awaiting coroutine has by now: the object may be about to leave the pool.
#[cfg(Py_3_12)]
#[inline(always)]
pub(crate) unsafe fn forget() {
    // SAFETY: as above.
    unsafe {
        let made = exchange(ptr::null_mut());
        if made.is_null() {
            return;
        }
        if is_unique(made) {
            set_value(made, ffi::Py_None());
            ffi::Py_XDECREF(exchange(made));
        } else {
            ffi::Py_DECREF(made);
        }
    }
}

#[cfg(Py_3_12)]
unsafe fn set_value(made: *mut PyObject, value: *mut PyObject) {
    // SAFETY: as the caller's, who has the only reference.
    unsafe {
        let exception: *mut ffi::PyStopIterationObject = made.cast();
        ffi::Py_INCREF(value);
        ffi::Py_XDECREF(ptr::replace(&raw mut (*exception).value, value));
    }
}

#[cfg(not(Py_3_12))]
#[inline(always)]
pub(crate) unsafe fn forget() {}
