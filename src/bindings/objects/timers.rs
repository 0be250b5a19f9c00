//! The timers of event loops that end the waits whose deadline has passed.
//!
//! Each event loop in which a task waits has a timer of its own: another one might end, or be blocked. When it goes
//! off, every wait that is late ends, in whatever event loop.

use pyo3::PyTraverseError;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::names;
use crate::pool::Nanos;
use crate::sync::{Attached, Guarded};

/// The timer of one event loop.
pub(crate) struct Timer {
    pub(crate) event_loop: Py<PyAny>,
    pub(crate) at: Nanos,
    /// What cancels it.
    pub(crate) handle: Py<PyAny>,
}

impl Timer {
    /// Its handle. The rest is not dropped as it is: PyO3 might not know that this thread is attached.
    pub(crate) fn into_handle(self, py: Python<'_>) -> Bound<'_, PyAny> {
        drop(self.event_loop.into_bound(py));
        self.handle.into_bound(py)
    }

    fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop.as_ptr() == event_loop.as_ptr()
    }
}

/// The timers of one pool.
pub(crate) struct Timers(Guarded<Vec<Timer>>);

impl Default for Timers {
    fn default() -> Self {
        Timers(Guarded::new(Vec::new()))
    }
}

impl Timers {
    /// When the timer of this event loop goes off, if it has one.
    pub(crate) fn time_of(&self, event_loop: &Bound<'_, PyAny>) -> Option<Nanos> {
        self.0.with(attached(event_loop.py()), |timers| {
            timers.iter().find(|timer| timer.is_of(event_loop)).map(|timer| timer.at)
        })
    }

    /// Keeps the timer. Returns the one that it replaces, which is to be cancelled.
    pub(crate) fn put(&self, event_loop: &Bound<'_, PyAny>, timer: Timer) -> Option<Timer> {
        self.0.with(attached(event_loop.py()), |timers| {
            let index = timers.iter().position(|timer| timer.is_of(event_loop));
            let replaced = index.map(|index| timers.swap_remove(index));
            timers.push(timer);
            replaced
        })
    }

    /// The timer of this event loop has gone off, or never will.
    pub(crate) fn remove(&self, event_loop: &Bound<'_, PyAny>) {
        let py = event_loop.py();
        let removed = self.0.with(attached(py), |timers| {
            timers.iter().position(|timer| timer.is_of(event_loop)).map(|index| timers.swap_remove(index))
        });
        drop(removed.map(|timer| timer.into_handle(py)));
    }

    /// Forgets the timers of event loops that are closed.
    pub(crate) fn remove_closed(&self, py: Python<'_>) -> PyResult<()> {
        let clone = |timer: &Timer| timer.event_loop.clone_ref(py);
        for event_loop in self.0.with(attached(py), |timers| timers.iter().map(clone).collect::<Vec<_>>()) {
            let event_loop = event_loop.into_bound(py);
            if event_loop.call_method0(names::IS_CLOSED.get(py))?.is_truthy()? {
                self.remove(&event_loop);
            }
        }
        Ok(())
    }

    pub(crate) fn traverse(&self, attached: Attached<'_>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.with(attached, |timers| {
            timers.iter().try_for_each(|timer| {
                visit.call(&timer.event_loop)?;
                visit.call(&timer.handle)
            })
        })
    }

    pub(crate) fn clear(&self, attached: Attached<'_>) {
        drop(self.0.with(attached, std::mem::take));
    }
}
