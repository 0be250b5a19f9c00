//! Which greenlet runs in the calling thread, where the program uses gevent.
//!
//! A thread that has a hub runs many greenlets, which take turns wherever Python code runs. So a wait, a nested wait, a
//! time slice and an object that is out belong to a greenlet, which is known by its address, as the thread is by its
//! number. In a program that does not use gevent, to ask costs one load.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::ffi::exception::keeping_exception;
use crate::bindings::ffi::names;
use crate::bindings::ffi::python_side;

/// `greenlet.getcurrent`, once a hub of gevent was seen. Never dropped.
static GET_CURRENT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    /// Whether this thread has a hub.
    static HAS_HUB: Cell<bool> = const { Cell::new(false) };
}

/// Whether any thread has a hub.
pub(crate) fn any() -> bool {
    !GET_CURRENT.load(Acquire).is_null()
}

/// The address of the greenlet that runs in this thread; 0 if the thread has no hub, or there is no memory.
pub(crate) fn current(py: Python<'_>) -> usize {
    let get = GET_CURRENT.load(Acquire);
    if get.is_null() || !HAS_HUB.get() {
        return 0;
    }
    keeping_exception(py, || {
        // SAFETY: attached, and no exception is set. The greenlet is kept alive by running; only its address is used.
        unsafe {
            let greenlet = ffi::PyObject_CallNoArgs(get);
            if greenlet.is_null() {
                ffi::PyErr_Clear();
                return 0;
            }
            ffi::Py_DECREF(greenlet);
            greenlet as usize
        }
    })
}

/// The hub in which the calling greenlet may wait, as an event loop; None in a plain thread.
///
/// # Errors
/// If the caller must not wait: it is the hub itself, or a green thread of eventlet.
pub(crate) fn hub_to_wait_in(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    if !(python_side::is_loaded(py, names::GEVENT.get(py)) || python_side::is_loaded(py, names::EVENTLET.get(py))) {
        return Ok(None);
    }
    let hub = python_side::HUB_TO_WAIT_IN.call(py, &[])?;
    if hub.is_none() {
        HAS_HUB.set(false);
        return Ok(None);
    }
    note(py)?;
    Ok(Some(hub))
}

/// Whether the calling thread runs greenlets.
pub(crate) fn look(py: Python<'_>) -> PyResult<bool> {
    if !HAS_HUB.get()
        && python_side::is_loaded(py, names::GEVENT.get(py))
        && python_side::USES_GEVENT.call(py, &[])?.is_truthy()?
    {
        note(py)?;
    }
    Ok(HAS_HUB.get())
}

fn note(py: Python<'_>) -> PyResult<()> {
    if !any() {
        let get = python_side::GET_CURRENT_GREENLET.call(py, &[])?.into_ptr();
        if GET_CURRENT.compare_exchange(ptr::null_mut(), get, Release, Acquire).is_err() {
            // SAFETY: attached. Another thread was first, and its reference is kept.
            unsafe { ffi::Py_DECREF(get) };
        }
    }
    HAS_HUB.set(true);
    Ok(())
}
