//! How messages show a user's objects.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::ffi::exception::{OrRaised, Raised, Raises, forget};
use crate::bindings::ffi::interrupt::failure;

/// How much of a `repr` a message shows.
const SHOWN: usize = 200;

/// The object as `repr` shows it, or a stand-in where `repr` fails. What struck from outside, such as Ctrl-C, comes
/// out.
pub(crate) fn shown<'py>(object: &Bound<'py, PyAny>) -> Raises<'py, String> {
    let py = object.py();
    // SAFETY: attached, and the object is alive; no exception is set.
    unsafe {
        let repr = ffi::PyObject_Repr(object.as_ptr());
        let mut length = 0;
        let text = if repr.is_null() { ptr::null() } else { ffi::PyUnicode_AsUTF8AndSize(repr, &raw mut length) };
        let shown = if text.is_null() {
            let failed = failure(py, PyErr::fetch(py)).or_raised(py);
            failed.ok().map(|error| {
                forget(py, error);
                format!("an object of type {}", type_name(object))
            })
        } else {
            let text = String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length as usize));
            let cut = text.char_indices().nth(SHOWN).map(|(end, _)| end);
            Some(cut.map_or_else(|| text.to_string(), |end| format!("{}...", &text[..end])))
        };
        ffi::Py_XDECREF(repr);
        shown.ok_or(Raised::is_set(py))
    }
}

/// The name of the object's type, as the type was defined.
pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    // SAFETY: a living object has a type, and a type a name.
    unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(object.as_ptr())).tp_name).to_string_lossy().into_owned() }
}
