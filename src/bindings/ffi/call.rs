//! Calls that may run Python code, from frames of ours.
//!
//! Up to CPython 3.13 a thread that comes back to the interpreter after its end is stopped by `pthread_exit`, which
//! unwinds the stack; and a frame of ours that had called a function which "cannot unwind" would end the process with
//! SIGABRT. So the calls that may take long go through here: they may unwind, and whoever is unwound stays where it is
//! until the process is over, which is what CPython 3.14 does by itself (and PyO3 where a thread attaches).

use std::ffi::c_int;
use std::time::Duration;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

mod unwinding {
    use super::{PyObject, c_int};

    unsafe extern "C-unwind" {
        pub(crate) fn PyObject_Call(
            callable: *mut PyObject,
            args: *mut PyObject,
            kwargs: *mut PyObject,
        ) -> *mut PyObject;
        pub(crate) fn PyObject_IsTrue(object: *mut PyObject) -> c_int;
        pub(crate) fn Py_DecRef(object: *mut PyObject);
        pub(crate) fn PyErr_CheckSignals() -> c_int;
    }
}

/// Where a thread stays that is unwound.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        loop {
            std::thread::sleep(Duration::from_secs(1_000_000));
        }
    }
}

#[inline(always)]
fn or_stay<R>(call: impl FnOnce() -> R) -> R {
    let stay = Stay;
    let result = call();
    std::mem::forget(stay);
    result
}

/// `callable(*arguments)`. Without memory this raises; most of PyO3 would panic.
pub(crate) fn call<'py>(callable: &Bound<'py, PyAny>, arguments: &[&Bound<'py, PyAny>]) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    // SAFETY: attached. The tuple is ours alone while it is filled, each item with a reference of its own.
    unsafe {
        let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(arguments.len() as ffi::Py_ssize_t))?;
        for (index, &argument) in arguments.iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as ffi::Py_ssize_t, argument.clone().into_ptr());
        }
        let (callable, tuple) = (callable.as_ptr(), tuple.as_ptr());
        let result = or_stay(|| unwinding::PyObject_Call(callable, tuple, std::ptr::null_mut()));
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// What `bool(object)` says.
pub(crate) fn is_true(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: attached, and the object is alive.
    match unsafe { or_stay(|| unwinding::PyObject_IsTrue(object.as_ptr())) } {
        -1 => Err(PyErr::fetch(object.py())),
        answer => Ok(answer != 0),
    }
}

/// Drops a reference, which may be the last.
///
/// # Safety
/// The thread is attached, and owns the reference. Null is nothing.
pub(crate) unsafe fn drop_reference(object: *mut PyObject) {
    // SAFETY: as promised.
    unsafe { or_stay(|| unwinding::Py_DecRef(object)) }
}

/// Runs the handlers of signals that have come. False with the exception set if one raised.
pub(crate) fn check_signals(_: Python<'_>) -> bool {
    // SAFETY: attached.
    unsafe { or_stay(|| unwinding::PyErr_CheckSignals()) == 0 }
}
