//! Keyword arguments for the Python side. Without memory these raise; PyO3's own conversions would panic.

use std::ffi::CStr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

/// The keyword arguments of one call.
pub(crate) struct Keywords<'py>(Bound<'py, PyAny>);

impl<'py> Keywords<'py> {
    pub(crate) fn new(py: Python<'py>) -> PyResult<Self> {
        // SAFETY: attached; the reference is new, or null with an exception set.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDict_New()).map(Keywords) }
    }

    pub(crate) fn as_dict(&self) -> &Bound<'py, PyAny> {
        &self.0
    }

    pub(crate) fn object(self, name: &CStr, value: &Bound<'py, PyAny>) -> PyResult<Self> {
        // SAFETY: attached; a dict, a C string and a living object.
        match unsafe { ffi::PyDict_SetItemString(self.0.as_ptr(), name.as_ptr(), value.as_ptr()) } {
            0 => Ok(self),
            _ => Err(PyErr::fetch(self.0.py())),
        }
    }

    /// `None` as None.
    pub(crate) fn maybe(self, name: &CStr, value: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        let none = self.0.py().None().into_bound(self.0.py());
        self.object(name, value.unwrap_or(&none))
    }

    pub(crate) fn float(self, name: &CStr, value: f64) -> PyResult<Self> {
        // SAFETY: attached.
        unsafe { self.owned(name, ffi::PyFloat_FromDouble(value)) }
    }

    pub(crate) fn count(self, name: &CStr, value: usize) -> PyResult<Self> {
        // SAFETY: attached.
        unsafe { self.owned(name, ffi::PyLong_FromSize_t(value)) }
    }

    pub(crate) fn maybe_count(self, name: &CStr, value: Option<usize>) -> PyResult<Self> {
        match value {
            Some(value) => self.count(name, value),
            None => self.maybe(name, None),
        }
    }

    pub(crate) fn flag(self, name: &CStr, value: bool) -> PyResult<Self> {
        // SAFETY: attached.
        unsafe { self.owned(name, ffi::PyBool_FromLong(value.into())) }
    }

    pub(crate) fn text(self, name: &CStr, value: &str) -> PyResult<Self> {
        // SAFETY: attached; the text is as long as it says.
        unsafe { self.owned(name, ffi::PyUnicode_FromStringAndSize(value.as_ptr().cast(), value.len() as Py_ssize_t)) }
    }

    /// # Safety
    /// The reference is new, or null with an exception set.
    unsafe fn owned(self, name: &CStr, value: *mut PyObject) -> PyResult<Self> {
        // SAFETY: as promised.
        let value = unsafe { Bound::from_owned_ptr_or_err(self.0.py(), value)? };
        self.object(name, &value)
    }
}
