//! How a thread sleeps that waits for a pool, and what makes it stop.

use std::time::Duration;

use pyo3::prelude::*;

use crate::bindings::ffi::call::{check_signals, finalizing, park_detached};
use crate::bindings::ffi::exception::{OrRaised, Raised, Raises};
use crate::bindings::ffi::interrupt::sees_signals;
use crate::bindings::ffi::python_side;
use crate::bindings::objects::pool::Pool;
use crate::pool::Nanos;
use crate::sync::Parker;

/// How often the main thread looks for signals although nothing woke it.
///
/// A signal that arrives after the last look and just before the system call that sleeps does not interrupt it; this
/// bounds how late it is seen. CPython's own locks have the same gap, and no bound.
const SIGNAL_BACKSTOP: Duration = Duration::from_millis(20);

/// How often a waiting thread runs Python without a GIL.
///
/// There an object counts in the thread that made it. If another thread drops the last reference, the object dies when
/// its own thread runs Python next: a lease that was dropped would not come back as long as that thread waits here.
const MERGE_INTERVAL: Duration = Duration::from_millis(50);

/// Sleeps until the parker is unparked, or for `limit` nanoseconds; in the main thread for a moment only, because of
/// signals. On a clock of a test, time passes instead.
pub(crate) fn sleep<'py>(pool: &Bound<'py, Pool>, parker: &Parker, limit: Option<Nanos>) -> Raises<'py> {
    let (this, py) = (pool.get(), pool.py());
    if let Some(clock) = this.clock() {
        let until = limit.map(|limit| this.now().saturating_add(limit));
        return clock.bind(py).call_method1("_advance_until", (pool, until)).map(drop).or_raised(py);
    }
    let limit = limit.map(Duration::from_nanos);
    let most = if sees_signals() {
        Some(SIGNAL_BACKSTOP)
    } else if cfg!(opool_gil) {
        None
    } else {
        Some(MERGE_INTERVAL)
    };
    park_detached(py, parker, [limit, most].into_iter().flatten().min());
    if cfg!(opool_gil) { Ok(()) } else { python_side::RUN_PENDING.call(py, &[]).map(drop).or_raised(py) }
}

/// Why a thread stops waiting.
#[derive(Clone, Copy)]
pub(crate) enum Stop<'py> {
    /// The exception must come out even if the slot has just been handed over.
    Raised(Raised<'py>),
    /// The interpreter is shutting down.
    Finalizing,
    /// The time is up.
    TimedOut,
    /// A deadlock: every holder waits for this pool.
    Deadlock,
}

/// What makes a waiting thread stop, if anything does.
pub(crate) fn reason_to_stop(py: Python<'_>, left: Option<Nanos>) -> Option<Stop<'_>> {
    if let Err(raised) = check_signals(py) {
        return Some(Stop::Raised(raised));
    }
    if finalizing() {
        return Some(Stop::Finalizing);
    }
    (left == Some(0)).then_some(Stop::TimedOut)
}
