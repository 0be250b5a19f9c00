//! What a pool writes to the log, by functions of the Python side.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::bindings::ffi::interrupt::{failure, raise_later};
use crate::bindings::ffi::python_side::PythonName;
use crate::bindings::objects::pool::Pool;
use crate::pool::Maintenance;

/// Calls a function that writes to the log. What it raises is reported as unraisable: no caller could handle it.
///
/// # Errors
/// If a signal handler raised meanwhile.
pub(crate) fn tell(pool: &Bound<'_, Pool>, function: &PythonName, more: &[&Bound<'_, PyAny>]) -> PyResult<()> {
    let py = pool.py();
    let mut arguments = vec![pool.as_any()];
    arguments.extend(more);
    match function.call(py, &arguments) {
        Ok(_) => Ok(()),
        Err(error) => failure(py, error).map(|error| error.write_unraisable(py, Some(pool.as_any()))),
    }
}

/// As `tell`, where nothing can be raised.
pub(crate) fn tell_quietly(pool: &Bound<'_, Pool>, function: &PythonName, more: &[&Bound<'_, PyAny>]) {
    raise_later(pool.as_any(), tell(pool, function, more));
}

/// What the log calls the hook of this kind of maintenance.
pub(crate) fn hook_name(py: Python<'_>, kind: Maintenance) -> Bound<'_, PyAny> {
    PyString::intern(py, if kind == Maintenance::Check { "check" } else { "reset" }).into_any()
}
