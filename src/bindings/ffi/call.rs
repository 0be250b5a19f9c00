//! Calls into the interpreter that may run Python code, from frames of ours.
//!
//! Up to CPython 3.13 a thread that comes back to the interpreter after its end is stopped by `pthread_exit`, which
//! unwinds the stack; and a frame of ours that had called a function which "cannot unwind" would end the process with
//! SIGABRT. So calls that may take long go through here: they may unwind, and a thread that is unwound sleeps until the
//! process ends, which is what CPython 3.14 does by itself (and PyO3 where a thread attaches).

use std::ffi::c_int;
use std::time::Duration;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::ffi::exception::{Raised, Raises};
use crate::sync::{Attached, Parker};

mod unwinding {
    use super::{PyObject, c_int};

    unsafe extern "C-unwind" {
        pub(super) fn PyObject_Call(
            callable: *mut PyObject,
            args: *mut PyObject,
            kwargs: *mut PyObject,
        ) -> *mut PyObject;
        pub(super) fn PyObject_IsTrue(object: *mut PyObject) -> c_int;
        pub(super) fn Py_DecRef(object: *mut PyObject);
        pub(super) fn PyErr_CheckSignals() -> c_int;
    }
}

/// Stops the unwinding of a thread: it sleeps here until the process ends.
struct SleepForever;

impl Drop for SleepForever {
    fn drop(&mut self) {
        loop {
            std::thread::sleep(Duration::from_secs(1_000_000));
        }
    }
}

#[inline(always)]
fn without_unwinding<R>(call: impl FnOnce() -> R) -> R {
    let guard = SleepForever;
    let result = call();
    std::mem::forget(guard);
    result
}

/// The core's proof that the thread is attached, made from PyO3's.
#[inline(always)]
pub(crate) fn attached(_: Python<'_>) -> Attached<'_> {
    // SAFETY: `Python` proves that the thread is attached. A critical section never detaches it (`crate::sync`).
    unsafe { Attached::assume() }
}

/// `callable(*arguments)`. Without memory this raises; most of PyO3 would panic.
pub(crate) fn call<'py>(callable: &Bound<'py, PyAny>, arguments: &[&Bound<'py, PyAny>]) -> PyResult<Bound<'py, PyAny>> {
    call_with(callable, arguments, None)
}

/// `callable(*arguments, **keywords)`; `keywords` is a dict.
pub(crate) fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &[&Bound<'py, PyAny>],
    keywords: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    // SAFETY: attached. The tuple is ours alone while it is filled, each item with a reference of its own.
    unsafe {
        let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(arguments.len() as ffi::Py_ssize_t))?;
        for (index, &argument) in arguments.iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as ffi::Py_ssize_t, argument.clone().into_ptr());
        }
        let (callable, tuple) = (callable.as_ptr(), tuple.as_ptr());
        let keywords = keywords.map_or(std::ptr::null_mut(), |keywords| keywords.as_ptr());
        let result = without_unwinding(|| unwinding::PyObject_Call(callable, tuple, keywords));
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// `bool(object)`.
pub(crate) fn is_true(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: attached, and the object is alive.
    match unsafe { without_unwinding(|| unwinding::PyObject_IsTrue(object.as_ptr())) } {
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
    unsafe { without_unwinding(|| unwinding::Py_DecRef(object)) }
}

/// Runs the handlers of signals that have arrived, which may raise.
pub(crate) fn check_signals(py: Python<'_>) -> Raises<'_> {
    // SAFETY: attached.
    if unsafe { without_unwinding(|| unwinding::PyErr_CheckSignals()) } == 0 { Ok(()) } else { Err(Raised::is_set(py)) }
}

/// Unparks a thread, and lets go of the GIL for the moment of the wake.
///
/// The woken thread needs the GIL. Were the caller to keep it, the other would wake, find it taken and sleep again:
/// two changes of threads more than it takes.
pub(crate) fn unpark_without_gil(_: Python<'_>, parker: &Parker) {
    // SAFETY: attached before and after, and nothing borrowed from the interpreter is used in between.
    unsafe {
        let thread = ffi::PyEval_SaveThread();
        parker.unpark();
        ffi::PyEval_RestoreThread(thread);
    }
}

/// Parks the thread, detached from the interpreter, until it is unparked or `limit` has passed.
///
/// A thread that comes back while the interpreter shuts down never returns from here.
pub(crate) fn park_detached(_: Python<'_>, parker: &Parker, limit: Option<Duration>) {
    // SAFETY: attached before and after, and nothing borrowed from the interpreter is used in between.
    unsafe {
        let thread = ffi::PyEval_SaveThread();
        parker.park(limit);
        ffi::PyEval_RestoreThread(thread);
    }
}

/// Whether the interpreter is shutting down.
pub(crate) fn finalizing() -> bool {
    #[cfg(not(Py_3_13))]
    unsafe extern "C" {
        #[link_name = "_Py_IsFinalizing"]
        fn is_finalizing() -> c_int;
    }
    #[cfg(Py_3_13)]
    use pyo3::ffi::Py_IsFinalizing as is_finalizing;
    // SAFETY: both read a flag. Late in the shutdown the first is cleared again, but then nothing is initialised any
    // more.
    let flags: [c_int; 2] = unsafe { [is_finalizing(), ffi::Py_IsInitialized()] };
    flags[0] != 0 || flags[1] == 0
}
