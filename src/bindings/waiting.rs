//! What happens when nothing is idle, or somebody waits: the slow half of `lease.rs`.

use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::errors;
use super::pool::Pool;
use crate::pool::{SlotId, Ticket};
use crate::sync::{Attached, Parker, this_thread};

/// How often the main thread looks for signals although nothing woke it.
///
/// A signal that arrives after the last look and just before the system call that sleeps does not interrupt it; this
/// bounds how late it is seen. CPython's own locks have the same gap, and no bound.
const SIGNAL_BACKSTOP: Duration = Duration::from_millis(20);

// ---------------------------------------------------------------------------------------------------------------------
// How long

/// The `timeout` of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wait {
    /// What the pool was made with.
    Default,
    /// Until it comes.
    Forever,
    /// Not negative, not NaN; may be infinite.
    Seconds(f64),
}

/// The one argument, `timeout`, of a vectorcall; with the exception set, `None`.
///
/// A plain number of the usual size passes without further ado: most calls find an object and never look at it again.
pub(super) unsafe fn parse(args: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> Option<Wait> {
    // SAFETY: there are `count` + len(names) arguments, alive for the call; the thread is attached.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        if count + named != 1 || (named == 1 && !is_timeout(ffi::PyTuple_GET_ITEM(names, 0))) {
            errors::raise(|py| wrong_arguments(py, count, names));
            return None;
        }
        let value = *args;
        let seconds = if ffi::PyFloat_CheckExact(value) != 0 {
            ffi::PyFloat_AS_DOUBLE(value)
        } else if ffi::PyLong_CheckExact(value) != 0 {
            let mut overflow = 0;
            let seconds = ffi::PyLong_AsLongAndOverflow(value, &raw mut overflow);
            if overflow == 0 { seconds as f64 } else { -1.0 }
        } else {
            -1.0
        };
        if seconds >= 0.0 {
            return Some(Wait::Seconds(seconds));
        }
        Python::attach(|py| {
            Bound::from_borrowed_ptr(py, value).extract().map_err(|error: PyErr| error.restore(py)).ok()
        })
    }
}

/// An interned string, set when the module is made and never freed.
static TIMEOUT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

pub(super) fn register(module: &Bound<'_, PyModule>) {
    TIMEOUT.store(PyString::intern(module.py(), "timeout").into_ptr(), Relaxed);
}

#[inline(always)]
unsafe fn is_timeout(name: *mut PyObject) -> bool {
    let timeout = TIMEOUT.load(Relaxed);
    // SAFETY: attached, and both are strings. Keywords are interned as a rule, but nothing enforces it.
    name == timeout || unsafe { ffi::PyUnicode_Compare(name, timeout) == 0 }
}

#[cold]
fn wrong_arguments(py: Python<'_>, count: Py_ssize_t, names: *mut PyObject) -> PyErr {
    // SAFETY: null or the call's tuple of keywords.
    let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
    let names = names.and_then(|names| names.repr().ok()).map_or_else(|| "()".to_owned(), |names| names.to_string());
    PyTypeError::new_err(format!(
        "expected at most one argument, timeout (seconds or None), got {count} positional and the keywords {names}"
    ))
}

impl<'a, 'py> FromPyObject<'a, 'py> for Wait {
    type Error = PyErr;

    /// Reads seconds, or `None` for no limit.
    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Wait> {
        if value.is_none() {
            return Ok(Wait::Forever);
        }
        let seconds = match value.extract::<f64>() {
            Ok(seconds) => seconds,
            // An int beyond the floats.
            Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
                if value.lt(0)? {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => {
                let (kind, shown) = (errors::type_name(&value), value.repr()?);
                return Err(PyTypeError::new_err(format!("timeout must be seconds or None, not {kind} ({shown})")));
            }
            Err(error) => return Err(error),
        };
        if seconds.is_nan() || seconds < 0.0 {
            return Err(PyValueError::new_err(format!("timeout must be seconds >= 0 or None, not {}", value.repr()?)));
        }
        Ok(Wait::Seconds(seconds))
    }
}

impl Wait {
    pub(super) fn seconds(self) -> Option<f64> {
        match self {
            Wait::Seconds(seconds) if seconds.is_finite() => Some(seconds),
            _ => None,
        }
    }
}

/// When to give up. A time too far away to be represented is no limit.
#[derive(Clone, Copy)]
struct Deadline {
    seconds: f64,
    at: Option<Instant>,
}

impl Deadline {
    fn after(wait: Wait) -> Self {
        let seconds = wait.seconds().unwrap_or(f64::INFINITY);
        let at = Duration::try_from_secs_f64(seconds).ok().and_then(|limit| Instant::now().checked_add(limit));
        Deadline { seconds, at }
    }

    fn left(self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Waiting

/// Takes an idle slot if there is one.
#[cold]
pub(super) fn take_now(pool: &Pool) -> Option<SlotId> {
    // SAFETY: called by methods of the pool only, which are attached.
    pool.core.with(unsafe { Attached::assume() }, |core| core.lease(this_thread()))
}

/// Waits for the turn of the calling thread; `None` with the exception set when there is nothing to wait for any more.
///
/// However it ends, the place in the queue is given up exactly once, and a slot that was handed over in the meantime
/// is returned, or passed on before the exception is raised.
#[cold]
pub(super) fn wait_for_slot(pool: &Pool, wait: Wait) -> Option<SlotId> {
    pool.membership.join(pool);
    Python::attach(|py| queue(py, pool, Deadline::after(pool.wait(wait))).map_err(|error| error.restore(py)).ok())
}

fn queue(py: Python<'_>, pool: &Pool, deadline: Deadline) -> PyResult<SlotId> {
    // SAFETY: `py` says so; the thread detaches only inside `park`, between the critical sections.
    let attached = unsafe { Attached::assume() };
    let me = this_thread();
    let parker = Arc::new(Parker::new());
    let mut ticket = match pool.core.with(attached, |core| core.lease_or_queue(me, Arc::clone(&parker))) {
        Ok(slot) => return Ok(slot),
        Err(ticket) => ticket,
    };
    loop {
        let left = deadline.left();
        if let Some(error) = reason_to_stop(py, pool, deadline, left) {
            return stop(pool, ticket, error);
        }
        let nap =
            if sees_signals() { Some(left.map_or(SIGNAL_BACKSTOP, |left| left.min(SIGNAL_BACKSTOP))) } else { left };
        py.detach(|| parker.park(nap));
        ticket = match pool.core.with(attached, |core| core.collect(ticket, me)) {
            Ok(slot) => return Ok(slot),
            Err(ticket) => ticket,
        };
    }
}

enum Stop {
    /// An exception that must come out even if the slot has just been handed over.
    Raise(PyErr),
    /// Only if there is no slot.
    GiveUp(PyErr),
}

fn reason_to_stop(py: Python<'_>, pool: &Pool, deadline: Deadline, left: Option<Duration>) -> Option<Stop> {
    if let Err(error) = py.check_signals() {
        return Some(Stop::Raise(error));
    }
    if errors::finalizing() {
        return Some(Stop::GiveUp(errors::shutting_down(pool, pool.counts())));
    }
    if left.is_some_and(|left| left.is_zero()) {
        return Some(Stop::GiveUp(errors::timed_out(pool, deadline.seconds, pool.counts())));
    }
    None
}

fn stop(pool: &Pool, ticket: Ticket, reason: Stop) -> PyResult<SlotId> {
    // SAFETY: as in `queue`.
    let attached = unsafe { Attached::assume() };
    match (pool.core.with(attached, |core| core.cancel(ticket, this_thread())), reason) {
        (Ok(_parker), Stop::Raise(error) | Stop::GiveUp(error)) => Err(error),
        (Err(slot), Stop::GiveUp(_)) => Ok(slot),
        (Err(slot), Stop::Raise(error)) => {
            give_back(pool, slot);
            Err(error)
        }
    }
}

/// Whether the calling thread is the one that runs signal handlers.
fn sees_signals() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: neither call has preconditions.
    return unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    #[cfg(not(target_os = "linux"))]
    true
}

/// Gives a leased slot back when somebody may be waiting: to them, or to the ring.
#[cold]
pub(super) fn give_back(pool: &Pool, slot: SlotId) {
    // SAFETY: called by methods of the pool and of its leases, which are attached.
    if let Some(parker) = pool.core.with(unsafe { Attached::assume() }, |core| core.give_back(slot)) {
        parker.unpark();
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "pool '{name}'"),
            None => f.write_str("pool"),
        }
    }
}
