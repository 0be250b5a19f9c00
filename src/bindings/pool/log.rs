//! What a pool writes to the log, by functions of the Python side.

use pyo3::prelude::*;

use crate::bindings::ffi::python_side::{self, PythonName};
use crate::bindings::ffi::values::text;
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
fn hook_name(py: Python<'_>, kind: Maintenance) -> PyResult<Bound<'_, PyAny>> {
    text(py, if kind == Maintenance::Check { "check" } else { "reset" })
}

/// Writes to the log that an object did not pass its check or its reset.
pub(crate) fn tell_rejected(pool: &Bound<'_, Pool>, kind: Maintenance, why: &Bound<'_, PyAny>) {
    match hook_name(pool.py(), kind) {
        Ok(hook) => tell(pool, &python_side::LOG_OBJECT_REJECTED, &[&hook, why]),
        Err(error) => error.write_unraisable(pool.py(), Some(pool.as_any())),
    }
}
