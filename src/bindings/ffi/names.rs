//! Names that are looked up again and again, as `str`: made when the extension is imported. `pyo3::intern!` makes them
//! at their first use, and panics if there is no memory then.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A `str` of Python's.
pub(crate) struct Name {
    text: &'static CStr,
    /// Owned for as long as the process lives. Changes once, during the import.
    made: AtomicPtr<PyObject>,
}

macro_rules! names {
    ($($constant:ident = $text:literal),+ $(,)?) => {
        $(pub(crate) static $constant: Name = Name { text: $text, made: AtomicPtr::new(ptr::null_mut()) };)+

        static ALL: &[&Name] = &[$(&$constant),+];
    };
}

names! {
    CALL_SOON = c"call_soon",
    CALL_SOON_THREADSAFE = c"call_soon_threadsafe",
    CANCEL = c"cancel",
    EVENTLET = c"eventlet",
    GEVENT = c"gevent",
    IS_CLOSED = c"is_closed",
    IS_RUNNING = c"is_running",
    SEND = c"send",
    TRIO = c"trio",
}

impl Name {
    /// The `str`.
    pub(crate) fn get<'a, 'py>(&'a self, _: Python<'py>) -> &'a Bound<'py, PyString> {
        // SAFETY: attached. It was made during the import, before anything could ask for it, and does not change.
        unsafe { &*self.made.as_ptr().cast::<Bound<'py, PyString>>() }
    }
}

/// Makes all of them.
pub(crate) fn make(py: Python<'_>) -> PyResult<()> {
    for name in ALL.iter().filter(|name| name.made.load(Relaxed).is_null()) {
        // SAFETY: attached; a C string. The reference is new, or null with an exception set.
        let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_InternFromString(name.text.as_ptr())) }?;
        name.made.store(made.into_ptr(), Relaxed);
    }
    Ok(())
}
