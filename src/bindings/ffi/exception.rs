//! Exceptions as the C API has them: set in the thread, and reported by a null or a -1.
//!
//! Two ways to fail, and no third. Where PyO3 calls us or an error is looked at, it is a `PyResult`. In the functions
//! that CPython calls itself, on their way out perhaps without memory and perhaps while the interpreter shuts down,
//! where PyO3 would panic, it is [`Raises`]: the exception stays where the C API has put it.

use std::ffi::CString;
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

/// An exception is set in this thread, and has to come out.
#[derive(Clone, Copy)]
pub(crate) struct Raised<'py>(Python<'py>);

/// What a function returns that may have set an exception.
pub(crate) type Raises<'py, T = ()> = Result<T, Raised<'py>>;

impl<'py> Raised<'py> {
    /// The C API has just reported that it set one.
    pub(crate) fn is_set(py: Python<'py>) -> Self {
        Raised(py)
    }

    /// Sets an exception of this class. Without memory that is a `MemoryError`.
    pub(crate) fn new(py: Python<'py>, class: &Bound<'py, PyAny>, message: String) -> Self {
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: attached; it is a class.
        unsafe { ffi::PyErr_SetString(class.as_ptr(), message.as_ptr()) };
        Raised(py)
    }

    /// As `new`, for a class that is always there: `ffi::PyExc_ValueError`.
    ///
    /// # Safety
    /// It is a class, and alive.
    pub(crate) unsafe fn builtin(py: Python<'py>, class: *mut PyObject, message: String) -> Self {
        // SAFETY: as promised.
        Raised::new(py, unsafe { Bound::ref_from_ptr(py, &class) }, message)
    }

    /// Sets this one.
    pub(crate) fn from_error(py: Python<'py>, error: PyErr) -> Self {
        error.restore(py);
        Raised(py)
    }

    /// Raises an exception that the Python side has made, or the one that it raised instead.
    ///
    /// As by a `raise` statement, the exception that is being handled becomes its context; PyO3 would leave that out.
    pub(crate) fn made(py: Python<'py>, made: PyResult<Bound<'py, PyAny>>) -> Self {
        match made {
            Ok(made) => {
                // SAFETY: attached, and the exception is alive.
                unsafe { ffi::PyErr_SetObject(made.get_type_ptr().cast(), made.as_ptr()) };
                Raised(py)
            }
            Err(error) => Raised::from_error(py, error),
        }
    }

    /// What a function of the C API returns then.
    pub(crate) fn null<T>(self) -> *mut T {
        ptr::null_mut()
    }
}

/// Takes the exception, for PyO3.
impl From<Raised<'_>> for PyErr {
    fn from(Raised(py): Raised<'_>) -> PyErr {
        PyErr::fetch(py)
    }
}

/// Puts the exception of a `PyResult` where the C API looks for it.
pub(crate) trait OrRaised<'py, T> {
    fn or_raised(self, py: Python<'py>) -> Raises<'py, T>;
}

impl<'py, T> OrRaised<'py, T> for PyResult<T> {
    fn or_raised(self, py: Python<'py>) -> Raises<'py, T> {
        self.map_err(|error| Raised::from_error(py, error))
    }
}

/// Drops an error. PyO3 does not know that this thread is attached, and would keep what the error refers to.
pub(crate) fn forget(py: Python<'_>, error: PyErr) {
    error.restore(py);
    // SAFETY: attached; it is the one that was just set.
    unsafe { ffi::PyErr_Clear() };
}

/// What a function of the C API returns: the reference, or null.
pub(crate) fn or_null<T>(result: Raises<'_, *mut T>) -> *mut T {
    result.unwrap_or_else(Raised::null)
}

/// Runs something that may run Python, and keeps the exception that is set meanwhile, if one is.
pub(crate) fn keeping_exception<R>(_: Python<'_>, act: impl FnOnce() -> R) -> R {
    #[allow(deprecated)]
    // SAFETY: attached; three places for three references, which are put back.
    unsafe {
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        ffi::PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut traceback);
        let result = act();
        ffi::PyErr_Restore(kind, value, traceback);
        result
    }
}
