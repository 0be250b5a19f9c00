//! The extension module `opool._opool`: parses, converts, raises, wakes. It decides nothing.
//!
//! Its rooms, each of which uses only those below it (`tests/python/project/test_rooms.py` holds it):
//!
//! | room | what |
//! |---|---|
//! | `classes` | what Python sees: methods, docstrings, type slots |
//! | `ids` | the id manager |
//! | `async_lease` | the lease of a task |
//! | `lease` | the lease of a thread, and its fast path |
//! | `pool` | wait, wake, give back, background work, close, fork |
//! | `objects` | what each thing holds |
//! | `args` | the arguments of calls and constructors |
//! | `algorithms` | beside them, uses `ffi` only |
//! | `ffi` | CPython; knows nothing of pools |
#![allow(unsafe_code)]

mod algorithms;
mod args;
mod async_lease;
mod classes;
mod ffi;
mod ids;
mod lease;
mod objects;
mod pool;

use pyo3::exceptions::PyImportError;
use pyo3::ffi as cpython;
use pyo3::prelude::*;

/// Raises in any interpreter but the main one, before anything is made there.
///
/// The types of this module are made once and shared by all who import it. Interpreters number the versions of types
/// each for itself, so a second one would find cached methods of ours on classes that are not ours.
fn refuse_subinterpreters() -> PyResult<()> {
    // SAFETY: attached; the interpreter of an attached thread is alive.
    let id = unsafe { cpython::PyInterpreterState_GetID(cpython::PyInterpreterState_Get()) };
    if id == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(ffi::values::Message::of(format!(
        "opool works in the main interpreter only, and this is subinterpreter {id}. Under mod_wsgi, set \
         WSGIApplicationGroup %{{GLOBAL}}; under uWSGI, set single-interpreter = true"
    ))))
}

#[pymodule(gil_used = false)]
mod _opool {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        refuse_subinterpreters()?;
        #[cfg(not(Py_3_14))]
        ffi::exit_guard::install();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        ffi::names::make(module.py())?;
        ffi::python_side::resolve_at_import(module.py())?;
        pool::fork::register()?;
        args::timeout::register(module)?;
        classes::private::register(module)?;
        classes::pool::register(module)?;
        classes::lease::register(module)?;
        classes::async_lease::register(module)?;
        classes::objectmgr::register(module)?;
        algorithms::palindrome::register(module)?;
        algorithms::triplets::register(module)
    }
}
