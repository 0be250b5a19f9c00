//! Exceptions that strike from outside: a signal handler raises in the middle of a call of ours.
//!
//! Such an exception is for the caller, and must not be lost; but what was begun must be finished first, and others may
//! wait for it. So it is kept ([`Kept`]), and raised in the end; where nothing can be raised, it strikes the main thread
//! as soon as that runs Python again ([`raise_later`]).

use std::ffi::{c_int, c_void};

use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::ffi::call::{finalizing, is_true};
use crate::bindings::ffi::exception::forget;
use crate::bindings::ffi::python_side;

/// How often at most something is begun again that a signal handler has interrupted.
const ATTEMPTS: u32 = 100;

/// Whether the calling thread is the one that runs signal handlers.
pub(crate) fn sees_signals() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: both have no preconditions.
    return unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    #[cfg(not(target_os = "linux"))]
    true
}

/// Tells what an exception that was raised below us means: `Ok` if it is a failure of what was called, for us to deal
/// with; `Err` if it struck from outside, and has to come out. What is no `Exception` always comes out.
pub(crate) fn failure(py: Python<'_>, error: PyErr) -> PyResult<PyErr> {
    if error.is_instance_of::<PyException>(py) { background_failure(py, error) } else { Err(error) }
}

/// As `failure`, of what runs in the background mostly, where a hook that raises `SystemExit` just fails.
pub(crate) fn background_failure(py: Python<'_>, error: PyErr) -> PyResult<PyErr> {
    if !sees_signals() {
        return Ok(error);
    }
    if let Some(traceback) = error.traceback(py) {
        // Before CPython 3.12 it is beside the exception only.
        // SAFETY: attached; an exception and a traceback.
        unsafe { ffi::PyException_SetTraceback(error.value(py).as_ptr(), traceback.as_ptr()) };
    }
    match python_side::HAS_STRUCK.call(py, &[error.value(py).as_any()]).and_then(|answer| is_true(&answer)) {
        Ok(true) => Err(error),
        Ok(false) => Ok(error),
        Err(second) if second.is_instance_of::<PyMemoryError>(py) => {
            forget(py, second);
            Ok(error)
        }
        // Another signal, meanwhile.
        Err(second) => Err(followed_by(py, error, second)),
    }
}

/// The exception before it.
fn context<'py>(error: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: attached; it is an exception. The reference is new.
    unsafe { Bound::from_owned_ptr_or_opt(error.py(), ffi::PyException_GetContext(error.as_ptr())) }
}

/// `second`, with `first` at the end of the exceptions before it, as if it had been raised while `first` was handled.
fn followed_by(py: Python<'_>, first: PyErr, second: PyErr) -> PyErr {
    let [first, second] = [first, second].map(|error| error.into_value(py).into_bound(py).into_any());
    // Both were raised while the caller handled the same exception, or none.
    let (common, mut last) = (context(&first), second.clone());
    while let Some(before) = context(&last) {
        if before.is(&first) {
            return PyErr::from_value(second);
        }
        if common.as_ref().is_some_and(|common| before.is(common)) {
            break;
        }
        last = before;
    }
    if !last.is(&first) {
        // SAFETY: attached; both are exceptions, and the reference is given away.
        unsafe { ffi::PyException_SetContext(last.as_ptr(), first.into_ptr()) };
    }
    PyErr::from_value(second)
}

/// The exceptions that came while something had to be finished.
#[derive(Default)]
pub(crate) struct Kept(Option<PyErr>);

impl Kept {
    /// Keeps an exception, after those that are here.
    pub(crate) fn add(&mut self, py: Python<'_>, error: PyErr) {
        self.0 = Some(match self.0.take() {
            Some(before) => followed_by(py, before, error),
            None => error,
        });
    }

    /// Keeps the exception, if there is one.
    pub(crate) fn keep<T>(&mut self, py: Python<'_>, result: PyResult<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(py, error);
                None
            }
        }
    }

    /// Calls what has to happen, and begins again whenever a signal handler interrupts it. An error is a failure of
    /// what was called.
    pub(crate) fn insist<T>(&mut self, py: Python<'_>, call: impl Fn() -> PyResult<T>) -> PyResult<T> {
        for _ in 1..ATTEMPTS {
            match call() {
                Ok(value) => return Ok(value),
                Err(error) => match failure(py, error) {
                    Ok(error) => return Err(error),
                    Err(interrupt) => self.add(py, interrupt),
                },
            }
        }
        call()
    }

    /// To be called in the end, by what can raise.
    pub(crate) fn raise(self) -> PyResult<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// For destructors, and where another exception is set already. What struck from outside is raised in the main thread,
/// between two of its next bytecodes; anything else, or in another thread, is reported as unraisable.
pub(crate) fn raise_later<T>(place: &Bound<'_, PyAny>, result: PyResult<T>) {
    let Err(error) = result else { return };
    let py = place.py();
    let error = match failure(py, error) {
        Err(interrupt) if sees_signals() && !finalizing() => {
            let interrupt = interrupt.into_value(py).into_ptr();
            // SAFETY: `strike` takes one exception, whose reference is given away.
            if unsafe { ffi::Py_AddPendingCall(Some(strike), interrupt.cast()) } == 0 {
                return;
            }
            // SAFETY: the reference is still ours.
            PyErr::from_value(unsafe { Bound::from_owned_ptr(py, interrupt) })
        }
        Ok(error) | Err(error) => error,
    };
    error.write_unraisable(py, Some(place));
}

/// Raises an exception that was kept. If another one is being handled where it strikes, that comes before it.
extern "C" fn strike(interrupt: *mut c_void) -> c_int {
    // SAFETY: the interpreter calls it attached, in its main thread, once; the reference is ours. Of the three new
    // references of what is being handled, only the second counts since CPython 3.11.
    unsafe {
        let py = Python::assume_attached();
        let interrupt = PyErr::from_value(Bound::from_owned_ptr(py, interrupt.cast()));
        let [mut kind, mut handled, mut traceback] = [std::ptr::null_mut(); 3];
        ffi::PyErr_GetExcInfo(&raw mut kind, &raw mut handled, &raw mut traceback);
        ffi::Py_XDECREF(kind);
        ffi::Py_XDECREF(traceback);
        let interrupt = match Bound::from_owned_ptr_or_opt(py, handled) {
            Some(handled) if !handled.is_none() => followed_by(py, PyErr::from_value(handled), interrupt),
            _ => interrupt,
        };
        interrupt.restore(py);
    }
    -1
}
