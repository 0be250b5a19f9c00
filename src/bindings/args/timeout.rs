//! The `timeout` of a call, and the moment at which it is up.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use crate::bindings::ffi::exception::{Raised, Raises};
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::shown::{shown, type_name};
use crate::pool::Nanos;

/// The `timeout` of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    /// The pool's own timeout.
    Default,
    /// No limit.
    Forever,
    /// Not negative, not NaN; may be infinite.
    Seconds(f64),
    /// An int that is not negative, not looked at further: most calls find an object and never need it. It is an
    /// argument of the call under way, which keeps it alive.
    Int(*mut PyObject),
}

/// The one argument, `timeout`, of a vectorcall.
///
/// # Safety
/// There are `count` + len(names) arguments, alive for the call.
#[inline(always)]
pub(crate) unsafe fn parse<'py>(
    py: Python<'py>,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> Raises<'py, Wait> {
    // SAFETY: as promised; the thread is attached.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        if count + named != 1 || (named == 1 && !is_timeout(ffi::PyTuple_GET_ITEM(names, 0))) {
            return Err(wrong_arguments(py, count, names));
        }
        Wait::read(py, *args, "timeout")
    }
}

/// An interned string, set when the module is made and never freed.
static TIMEOUT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // SAFETY: attached; a C string.
    let name =
        unsafe { Bound::from_owned_ptr_or_err(module.py(), ffi::PyUnicode_InternFromString(c"timeout".as_ptr()))? };
    TIMEOUT.store(name.into_ptr(), Relaxed);
    Ok(())
}

#[inline(always)]
unsafe fn is_timeout(name: *mut PyObject) -> bool {
    let timeout = TIMEOUT.load(Relaxed);
    // SAFETY: attached, and both are strings. Keywords are interned as a rule, but nothing enforces it.
    name == timeout || unsafe { ffi::PyUnicode_Compare(name, timeout) == 0 }
}

/// Not exactly one argument, `timeout`.
#[cold]
unsafe fn wrong_arguments(py: Python<'_>, count: Py_ssize_t, names: *mut PyObject) -> Raised<'_> {
    // SAFETY: `names` is null or the call's tuple of keywords.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        let message = match named {
            0 => format!("expected at most one argument, timeout (seconds or None), got {count}"),
            _ => match shown(Bound::ref_from_ptr(py, &names)) {
                Ok(names) => {
                    format!(
                        "the only argument is timeout (seconds or None), got {count} positional and {names} by name"
                    )
                }
                Err(raised) => return raised,
            },
        };
        Raised::builtin(py, ffi::PyExc_TypeError, message)
    }
}

/// Seconds, or None for no limit.
#[derive(Clone, Copy)]
pub(crate) struct Timeout(pub(crate) Option<f64>);

impl<'a, 'py> FromPyObject<'a, 'py> for Timeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Timeout> {
        // SAFETY: the value is alive.
        let wait = unsafe { Wait::read(value.py(), value.as_ptr(), "timeout")? };
        Ok(Timeout(wait.seconds(value.py(), None)))
    }
}

impl From<Timeout> for Wait {
    fn from(Timeout(seconds): Timeout) -> Wait {
        seconds.map_or(Wait::Forever, Wait::Seconds)
    }
}

impl Timeout {
    /// Reads an option that means seconds, and is called `option` in messages. There is no other default that `...`
    /// could stand for.
    pub(crate) fn named(option: &str, value: &Bound<'_, PyAny>) -> PyResult<Timeout> {
        if is_default(value) {
            return Err(wrong_type(option, value).into());
        }
        // SAFETY: the value is alive.
        let wait = unsafe { Wait::read(value.py(), value.as_ptr(), option)? };
        Ok(Timeout(wait.seconds(value.py(), None)))
    }
}

/// The `timeout` of `close`, if it is given.
pub(crate) struct CloseTimeout(Option<Timeout>);

impl CloseTimeout {
    /// The pool's own.
    pub(crate) const DEFAULT: CloseTimeout = CloseTimeout(None);

    /// How many seconds; None is no limit.
    pub(crate) fn seconds(&self, default: Option<f64>) -> Option<f64> {
        self.0.as_ref().map_or(default, |timeout| timeout.0)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for CloseTimeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if is_default(&value) {
            return Ok(CloseTimeout(None));
        }
        Timeout::named("timeout", &value).map(|timeout| CloseTimeout(Some(timeout)))
    }
}

/// Whether it is what signatures show as the default, or `...`, which stubs write for it.
fn is_default(value: &Bound<'_, PyAny>) -> bool {
    value.is(value.py().Ellipsis()) || python_side::DEFAULT.is(value.as_ptr())
}

impl Wait {
    /// Reads seconds, or None for no limit. A plain number passes without further ado.
    #[inline(always)]
    unsafe fn read<'py>(py: Python<'py>, value: *mut PyObject, option: &str) -> Raises<'py, Wait> {
        // SAFETY: the caller's argument is alive; the thread is attached.
        unsafe {
            if ffi::PyLong_CheckExact(value) != 0 && !has_minus_sign(value) {
                return Ok(Wait::Int(value));
            }
            if ffi::PyFloat_CheckExact(value) != 0 {
                let seconds = ffi::PyFloat_AS_DOUBLE(value);
                if seconds >= 0.0 {
                    return Ok(Wait::Seconds(seconds));
                }
            }
            Wait::read_any(Bound::ref_from_ptr(py, &value), option)
        }
    }

    /// In seconds; none is no limit.
    pub(crate) fn seconds(self, _: Python<'_>, default: Option<f64>) -> Option<f64> {
        match self {
            Wait::Default => default,
            Wait::Forever => None,
            Wait::Seconds(seconds) => seconds.is_finite().then_some(seconds),
            // SAFETY: called during the call that has the argument, attached.
            Wait::Int(value) => unsafe {
                let seconds = ffi::PyLong_AsDouble(value);
                // -1 is an error here: the int fits no double, which is as good as no limit.
                ffi::PyErr_Clear();
                (seconds >= 0.0).then_some(seconds)
            },
        }
    }

    #[cold]
    fn read_any<'py>(value: &Bound<'py, PyAny>, option: &str) -> Raises<'py, Wait> {
        let py = value.py();
        if value.is_none() {
            return Ok(Wait::Forever);
        }
        if is_default(value) {
            return Ok(Wait::Default);
        }
        // SAFETY: attached, and the value is alive. Each call that fails sets an exception, which is dealt with before
        // the next.
        unsafe {
            let mut seconds = ffi::PyFloat_AsDouble(value.as_ptr());
            if seconds == -1.0 && !ffi::PyErr_Occurred().is_null() {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_TypeError) != 0 {
                    ffi::PyErr_Clear();
                    return Err(wrong_type(option, value));
                }
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_OverflowError) == 0 {
                    return Err(Raised::is_set(py));
                }
                // An int beyond the floats: as good as no limit, unless it is negative.
                ffi::PyErr_Clear();
                seconds = if is_negative(value)? { f64::NEG_INFINITY } else { f64::INFINITY };
            }
            if seconds.is_nan() || seconds < 0.0 {
                return Err(wrong_value(option, value));
            }
            Ok(Wait::Seconds(seconds))
        }
    }
}

/// A timeout that is no number.
fn wrong_type<'py>(option: &str, value: &Bound<'py, PyAny>) -> Raised<'py> {
    shown(value).map_or_else(
        |raised| raised,
        |shown| {
            let message = format!("{option} must be seconds or None, not {} ({shown})", type_name(value));
            // SAFETY: a class of the interpreter's.
            unsafe { Raised::builtin(value.py(), ffi::PyExc_TypeError, message) }
        },
    )
}

/// A timeout below zero, or NaN.
fn wrong_value<'py>(option: &str, value: &Bound<'py, PyAny>) -> Raised<'py> {
    shown(value).map_or_else(
        |raised| raised,
        |shown| {
            let message = format!("{option} must be seconds >= 0 or None, not {shown}");
            // SAFETY: as above.
            unsafe { Raised::builtin(value.py(), ffi::PyExc_ValueError, message) }
        },
    )
}

/// Whether an exact int is negative, from its own header.
#[inline(always)]
unsafe fn has_minus_sign(int: *mut PyObject) -> bool {
    // SAFETY: the caller has checked the type. Up to CPython 3.11 the sign is that of the number of digits; then the
    // two lowest bits of the tag in the same place: 0 is positive, 1 zero, 2 negative (PEP 757 describes both).
    unsafe {
        #[cfg(not(Py_3_12))]
        return ffi::Py_SIZE(int) < 0;
        #[cfg(Py_3_12)]
        return *int.cast::<u8>().add(size_of::<PyObject>()).cast::<usize>() & 3 == 2;
    }
}

fn is_negative<'py>(value: &Bound<'py, PyAny>) -> Raises<'py, bool> {
    // SAFETY: attached; zero is ours until the decref.
    unsafe {
        let zero = ffi::PyLong_FromLong(0);
        if zero.is_null() {
            return Err(Raised::is_set(value.py()));
        }
        let result = ffi::PyObject_RichCompareBool(value.as_ptr(), zero, ffi::Py_LT);
        ffi::Py_DECREF(zero);
        if result < 0 { Err(Raised::is_set(value.py())) } else { Ok(result != 0) }
    }
}

/// Seconds, or None for no limit, in nanoseconds.
pub(crate) fn to_nanos(seconds: Option<f64>) -> Option<Nanos> {
    seconds.map(|seconds| (seconds * 1e9) as Nanos).filter(|&nanos| nanos < Nanos::MAX)
}

/// Nanoseconds in seconds.
pub(crate) fn to_seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
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
