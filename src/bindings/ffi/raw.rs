//! Small helpers for type slots and methods that bypass PyO3's wrappers.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::bindings::ffi::call::drop_reference;

pub(crate) const fn method(
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: c_int,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth: function, ml_flags: flags, ml_doc: doc.as_ptr() }
}

pub(crate) fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

/// Adds methods to a class of PyO3's. Each is called with an instance of the class, and only with one.
pub(crate) fn add_methods<const N: usize>(class: &Bound<'_, PyType>, methods: [ffi::PyMethodDef; N]) -> PyResult<()> {
    for definition in Box::leak(Box::new(methods)) {
        // SAFETY: the definition is never freed, and the descriptor checks the type of what it is called on.
        let (name, descriptor) = unsafe {
            let name = CStr::from_ptr(definition.ml_name);
            let descriptor = ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition);
            (name, Bound::from_owned_ptr_or_err(class.py(), descriptor)?)
        };
        class.setattr(name.to_string_lossy(), descriptor)?;
    }
    Ok(())
}

/// How deep destructors may call each other before the next one has to wait, as in CPython's own trashcan.
const DEPTH_LIMIT: u32 = 50;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// What waits for the outermost `discard` of this thread.
    static LATER: RefCell<Vec<*mut PyObject>> = const { RefCell::new(Vec::new()) };
}

/// Drops a reference, for destructors: however long a chain of pools in pools is, it does not use up the stack.
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

/// An exception that was being raised when the interpreter called us.
pub(crate) struct Exception([*mut PyObject; 3]);

impl Exception {
    #[allow(deprecated)]
    pub(crate) unsafe fn take() -> Self {
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        // SAFETY: three places for three references.
        unsafe { ffi::PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut traceback) };
        Exception([kind, value, traceback])
    }

    #[allow(deprecated)]
    pub(crate) unsafe fn put_back(self) {
        let [kind, value, traceback] = self.0;
        // SAFETY: they are what `take` took.
        unsafe { ffi::PyErr_Restore(kind, value, traceback) }
    }
}
