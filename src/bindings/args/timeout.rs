//! The `timeout` of a call, and the moment at which it is up.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::bindings::args::options::to_nanos;
use crate::bindings::pool::errors;
use crate::pool::Nanos;

/// The `timeout` of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    /// What the pool was made with.
    Default,
    /// Until it comes.
    Forever,
    /// Not negative, not NaN; may be infinite.
    Seconds(f64),
    /// An int that is not negative, not looked at further: most calls find an object and never need it. It is an
    /// argument of the call under way, which keeps it alive.
    Int(*mut PyObject),
}

/// The one argument, `timeout`, of a vectorcall; with the exception set, `None`.
#[inline(always)]
pub(crate) unsafe fn parse(args: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> Option<Wait> {
    // SAFETY: there are `count` + len(names) arguments, alive for the call; the thread is attached.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        if count + named != 1 || (named == 1 && !is_timeout(ffi::PyTuple_GET_ITEM(names, 0))) {
            errors::wrong_arguments(count, names);
            return None;
        }
        Wait::read(*args, "timeout")
    }
}

/// An interned string, set when the module is made and never freed.
static TIMEOUT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn register(module: &Bound<'_, PyModule>) {
    TIMEOUT.store(PyString::intern(module.py(), "timeout").into_ptr(), Relaxed);
}

#[inline(always)]
unsafe fn is_timeout(name: *mut PyObject) -> bool {
    let timeout = TIMEOUT.load(Relaxed);
    // SAFETY: attached, and both are strings. Keywords are interned as a rule, but nothing enforces it.
    name == timeout || unsafe { ffi::PyUnicode_Compare(name, timeout) == 0 }
}

/// The `timeout` of a pool: seconds, or none for ever.
#[derive(Clone, Copy)]
pub(crate) struct Timeout(pub(crate) Option<f64>);

impl<'a, 'py> FromPyObject<'a, 'py> for Timeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Timeout> {
        // SAFETY: the value is alive, and its lifetime says attached.
        let wait = unsafe { Wait::read(value.as_ptr(), "timeout") };
        wait.map(|wait| Timeout(wait.seconds(None))).ok_or_else(|| PyErr::fetch(value.py()))
    }
}

impl From<Timeout> for Wait {
    fn from(Timeout(seconds): Timeout) -> Wait {
        seconds.map_or(Wait::Forever, Wait::Seconds)
    }
}

impl Timeout {
    /// Reads an option that means seconds, and is called `option` in messages.
    pub(crate) fn named(option: &str, value: &Bound<'_, PyAny>) -> PyResult<Timeout> {
        let wait = match value.is(value.py().Ellipsis()) {
            true => {
                // SAFETY: as below. There is no other default that this could stand for.
                unsafe { errors::seconds_type(option, value.as_ptr()) };
                None
            }
            // SAFETY: the value is alive, and its lifetime says attached.
            false => unsafe { Wait::read(value.as_ptr(), option) },
        };
        wait.map(|wait| Timeout(wait.seconds(None))).ok_or_else(|| PyErr::fetch(value.py()))
    }
}

impl Wait {
    /// Reads seconds, or `None` for no limit; with the exception set, nothing.
    ///
    /// A plain number passes without further ado.
    #[inline(always)]
    unsafe fn read(value: *mut PyObject, option: &str) -> Option<Wait> {
        // SAFETY: the caller's argument is alive; the thread is attached.
        unsafe {
            if ffi::PyLong_CheckExact(value) != 0 && !has_minus_sign(value) {
                return Some(Wait::Int(value));
            }
            if ffi::PyFloat_CheckExact(value) != 0 {
                let seconds = ffi::PyFloat_AS_DOUBLE(value);
                if seconds >= 0.0 {
                    return Some(Wait::Seconds(seconds));
                }
            }
            Wait::read_any(value, option)
        }
    }

    /// In seconds; none is for ever.
    pub(crate) fn seconds(self, default: Option<f64>) -> Option<f64> {
        match self {
            Wait::Default => default,
            Wait::Forever => None,
            Wait::Seconds(seconds) => seconds.is_finite().then_some(seconds),
            // SAFETY: called during the call that has the argument, attached.
            Wait::Int(value) => unsafe {
                let seconds = ffi::PyLong_AsDouble(value);
                // -1 is an error here: the int fits no double, which is as good as for ever.
                ffi::PyErr_Clear();
                (seconds >= 0.0).then_some(seconds)
            },
        }
    }

    #[cold]
    unsafe fn read_any(value: *mut PyObject, option: &str) -> Option<Wait> {
        // SAFETY: as in `read`. Each call that fails sets an exception, which is dealt with before the next.
        unsafe {
            if value == ffi::Py_None() {
                return Some(Wait::Forever);
            }
            // What the signature shows as the default.
            if value == ffi::Py_Ellipsis() {
                return Some(Wait::Default);
            }
            let mut seconds = ffi::PyFloat_AsDouble(value);
            if seconds == -1.0 && !ffi::PyErr_Occurred().is_null() {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_TypeError) != 0 {
                    ffi::PyErr_Clear();
                    errors::seconds_type(option, value);
                    return None;
                }
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_OverflowError) == 0 {
                    return None;
                }
                // An int beyond the floats: as good as for ever, unless it is negative.
                ffi::PyErr_Clear();
                seconds = match is_negative(value) {
                    -1 => return None,
                    0 => f64::INFINITY,
                    _ => f64::NEG_INFINITY,
                };
            }
            if seconds.is_nan() || seconds < 0.0 {
                errors::seconds_value(option, value);
                return None;
            }
            Some(Wait::Seconds(seconds))
        }
    }
}

/// Whether an exact int is negative, from its own header.
#[inline(always)]
unsafe fn has_minus_sign(int: *mut PyObject) -> bool {
    // SAFETY: the caller has checked the type. Up to CPython 3.11 the sign is that of the number of digits; then the two
    // lowest bits of the tag in the same place: 0 is positive, 1 zero, 2 negative (PEP 757 describes both).
    unsafe {
        #[cfg(not(Py_3_12))]
        return ffi::Py_SIZE(int) < 0;
        #[cfg(Py_3_12)]
        return *int.cast::<u8>().add(size_of::<PyObject>()).cast::<usize>() & 3 == 2;
    }
}

/// 1, 0, or -1 with the exception set.
unsafe fn is_negative(value: *mut PyObject) -> c_int {
    // SAFETY: as in `Wait::read`.
    unsafe {
        let zero = ffi::PyLong_FromLong(0);
        if zero.is_null() {
            return -1;
        }
        let result = ffi::PyObject_RichCompareBool(value, zero, ffi::Py_LT);
        ffi::Py_DECREF(zero);
        result
    }
}

/// When to give up. A time too far away to be represented is no limit.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) seconds: f64,
    at: Option<Nanos>,
}

impl Deadline {
    pub(crate) fn after(seconds: Option<f64>, now: Nanos) -> Self {
        let at = to_nanos(seconds).and_then(|limit| now.checked_add(limit));
        Deadline { seconds: seconds.unwrap_or(f64::INFINITY), at }
    }

    /// When it is, if ever.
    pub(crate) fn at(self) -> Option<Nanos> {
        self.at
    }

    /// How many nanoseconds are left.
    pub(crate) fn left(self, now: Nanos) -> Option<Nanos> {
        self.at.map(|at| at.saturating_sub(now))
    }
}
