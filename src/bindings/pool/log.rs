//! What a pool writes to the log, by functions of the Python side.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::bindings::ffi::python_side::PythonName;
use crate::bindings::objects::pool::Pool;
use crate::pool::Maintenance;

/// Calls a function that writes to the log. What it raises is reported as unraisable: no caller could handle it.
pub(crate) fn tell(pool: &Bound<'_, Pool>, function: &PythonName, more: &[&Bound<'_, PyAny>]) {
    let mut arguments = vec![pool.as_any()];
    arguments.extend(more);
    if let Err(error) = function.call(pool.py(), &arguments) {
        error.write_unraisable(pool.py(), Some(pool.as_any()));
    }
}

/// What the log calls the hook of this kind of maintenance.
pub(crate) fn hook_name(py: Python<'_>, kind: Maintenance) -> Bound<'_, PyAny> {
    PyString::intern(py, if kind == Maintenance::Check { "check" } else { "reset" }).into_any()
}
