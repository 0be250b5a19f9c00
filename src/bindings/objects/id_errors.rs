//! The errors of the id manager, as exceptions.

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::ffi::exception::Raised;
use crate::bindings::ffi::values::Message;
use crate::ids::{Error, Refusal};

/// Sets the exception for an error of the core.
///
/// By the C API, for the methods that PyO3 does not know about: a `PyErr` dropped there would be kept until somebody
/// calls something of PyO3's.
#[cold]
pub(crate) fn raise(py: Python<'_>, error: Error) -> Raised<'_> {
    // SAFETY: attached; the exception types are there as long as the interpreter is.
    unsafe {
        match error {
            Error::NotAllocated => {
                ffi::PyErr_SetString(ffi::PyExc_ValueError, c"Object is not currently allocated.".as_ptr());
            }
            Error::Lent => {
                let text = c"a lease has the id, which only the lease gives back";
                ffi::PyErr_SetString(ffi::PyExc_ValueError, text.as_ptr());
            }
            Error::OutOfMemory => {
                ffi::PyErr_NoMemory();
            }
            Error::OutOfReach => {
                ffi::PyErr_SetString(
                    ffi::PyExc_OverflowError,
                    c"ids reach from -2**63 to 2**63 - 1, and a range has at most 2**63 of them".as_ptr(),
                );
            }
        }
    }
    Raised::is_set(py)
}

/// The exception for an error of the core.
pub(crate) fn raised(py: Python<'_>, error: Error) -> PyErr {
    raise(py, error).into()
}

/// The same for one that may name an id.
pub(crate) fn refused(py: Python<'_>, refusal: Refusal) -> PyErr {
    match refusal {
        Refusal::Other(error) => raised(py, error),
        named => PyValueError::new_err(Message::of(named.to_string())),
    }
}
