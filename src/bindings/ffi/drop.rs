//! Dropping references in destructors.

use std::cell::{Cell, RefCell};

use pyo3::ffi::PyObject;

use crate::bindings::ffi::call::drop_reference;

/// How deep destructors may call each other before the next one has to wait, as in CPython's own trashcan.
const DEPTH_LIMIT: u32 = 50;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// What waits for the outermost `discard` of this thread.
    static LATER: RefCell<Vec<*mut PyObject>> = const { RefCell::new(Vec::new()) };
}

/// Drops a reference, for destructors: a long chain of pools in pools does not use up the stack.
///
/// # Safety
/// The thread is attached, and owns the reference. Null is nothing.
pub(crate) unsafe fn discard(object: *mut PyObject) {
    let depth = DEPTH.get();
    if depth == DEPTH_LIMIT {
        LATER.with_borrow_mut(|later| later.push(object));
        return;
    }
    DEPTH.set(depth + 1);
    // SAFETY: as promised. What this runs may come back here, one level deeper; nothing is borrowed meanwhile.
    unsafe {
        drop_reference(object);
        while depth == 0
            && let Some(object) = LATER.with_borrow_mut(Vec::pop)
        {
            drop_reference(object);
        }
    }
    DEPTH.set(depth);
}
