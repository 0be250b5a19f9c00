//! What a pool writes to the log, by functions of the Python side.

use pyo3::prelude::*;

use crate::bindings::ffi::interrupt::{failure, raise_later};
use crate::bindings::ffi::python_side::{self, PythonName};
use crate::bindings::ffi::values::text;
use crate::bindings::objects::pool::Pool;
use crate::pool::Maintenance;

/// Calls a function that writes to the log. What it raises is reported as unraisable: no caller could handle it.
///
/// # Errors
/// If a signal handler raised meanwhile.
pub(crate) fn tell(pool: &Bound<'_, Pool>, function: &PythonName, more: &[&Bound<'_, PyAny>]) -> PyResult<()> {
    let mut arguments = vec![pool.as_any()];
    arguments.extend(more);
    told(pool, function.call(pool.py(), &arguments))
}

fn told(pool: &Bound<'_, Pool>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
    let py = pool.py();
    match result {
        Ok(_) => Ok(()),
        Err(error) => failure(py, error).map(|error| error.write_unraisable(py, Some(pool.as_any()))),
    }
}

/// As `tell`, where nothing can be raised.
pub(crate) fn tell_quietly(pool: &Bound<'_, Pool>, function: &PythonName, more: &[&Bound<'_, PyAny>]) {
    raise_later(pool.as_any(), tell(pool, function, more));
}

/// Writes to the log that an object did not pass its check or its reset.
///
/// # Errors
/// As `tell`.
pub(crate) fn tell_rejected(pool: &Bound<'_, Pool>, kind: Maintenance, why: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = pool.py();
    let hook = text(py, if kind == Maintenance::Check { "check" } else { "reset" });
    told(pool, hook.and_then(|hook| python_side::LOG_OBJECT_REJECTED.call(py, &[pool.as_any(), &hook, why])))
}
