//! Objects that are added to a pool, or taken out of it, by its user.

use std::ptr::NonNull;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::args::timeout::Timeout;
use crate::bindings::ffi::values::Message;
use crate::bindings::objects::item::Item;
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::errors;
use crate::bindings::pool::wait::wait_for_slot;
use crate::bindings::pool::wake::wake;

/// Adds an object. The caller follows up.
///
/// # Errors
/// If the pool does not take it, or a signal handler raised while a waiter was woken, which has the object then.
pub(crate) fn add(pool: &Bound<'_, Pool>, object: Bound<'_, PyAny>) -> PyResult<()> {
    let (this, py) = (pool.get(), pool.py());
    this.join_registry(py);
    let Some(object) = NonNull::new(object.into_ptr()) else { return Ok(()) };
    let now = this.now();
    match this.with(py, |core| core.add(Item::new(object), now)) {
        Ok(Some(waker)) => wake(pool, waker)?,
        Ok(None) => {}
        Err((item, refusal)) => {
            // SAFETY: the reference that was to be the slot's.
            let object = unsafe { Bound::from_owned_ptr(py, item.object.as_ptr()) };
            return Err(errors::not_added(this, &object, refusal).into());
        }
    }
    Ok(())
}

/// Takes an object out for good, and waits for one if need be.
pub(crate) fn remove(pool: &Bound<'_, Pool>, timeout: Timeout) -> PyResult<Py<PyAny>> {
    let (this, py) = (pool.get(), pool.py());
    let slot = wait_for_slot(pool, timeout.into())?;
    let now = this.now();
    let item = this.with(py, |core| core.retire(slot, now));
    let item =
        item.ok_or_else(|| PyRuntimeError::new_err(Message::of("a leased slot without an object: a bug in opool")))?;
    // SAFETY: the slot owned both, and is vacant now.
    unsafe {
        ffi::Py_XDECREF(item.shell.cast());
        Ok(Bound::from_owned_ptr(py, item.object.as_ptr()).unbind())
    }
}
