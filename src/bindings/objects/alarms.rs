//! When event loops send those away whose time is up.
//!
//! Each event loop that somebody waits in has an alarm of its own: another one might end, or stand still. When it rings,
//! whoever is late is sent away, in whatever event loop it waits.

use pyo3::PyTraverseError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::background::call_python;
use crate::pool::Nanos;
use crate::sync::{Attached, Guarded};

struct Alarm {
    event_loop: Py<PyAny>,
    at: Nanos,
    /// What cancels it.
    timer: Py<PyAny>,
}

/// The alarms of one pool.
pub(crate) struct Alarms(Guarded<Vec<Alarm>>);

impl Default for Alarms {
    fn default() -> Self {
        Alarms(Guarded::new(Vec::new()))
    }
}

impl Alarms {
    fn with<R>(&self, critical: impl FnOnce(&mut Vec<Alarm>) -> R) -> R {
        // SAFETY: the callers are methods, which are attached.
        self.0.with(unsafe { Attached::assume() }, critical)
    }

    /// Sees to it that the event loop, which this thread runs, sends those away whose time is up then.
    pub(crate) fn set(pool: &Bound<'_, Pool>, event_loop: &Bound<'_, PyAny>, at: Nanos) -> PyResult<()> {
        let (this, py) = (pool.get(), pool.py());
        // On a clock of a test, time passes there.
        if at == Nanos::MAX || this.clock().is_some() {
            return Ok(());
        }
        let ours = |alarm: &Alarm| alarm.event_loop.as_ptr() == event_loop.as_ptr();
        let before = this.alarms.with(|alarms| alarms.iter().find(|alarm| ours(alarm)).map(|alarm| alarm.at));
        if before.is_some_and(|before| before <= at) {
            return Ok(());
        }
        if before.is_none() {
            this.alarms.forget_closed(py)?;
        }
        let left = at.saturating_sub(this.now()) as f64 / 1e9;
        // SAFETY: attached. PyO3's own panics without memory.
        let left = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyFloat_FromDouble(left))? };
        let timer = call_python(py, c"opool._event_loops", c"start_timer", &[pool.as_any(), event_loop, &left])?;
        let alarm = Alarm { event_loop: event_loop.clone().unbind(), at, timer: timer.unbind() };
        let replaced = this.alarms.with(|alarms| {
            let index = alarms.iter().position(ours);
            let replaced = index.map(|index| alarms.swap_remove(index));
            alarms.push(alarm);
            replaced
        });
        match replaced {
            Some(replaced) => replaced.end(py).call_method0(intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }

    /// The alarm of this event loop has rung.
    pub(crate) fn rang(&self, event_loop: &Bound<'_, PyAny>) {
        let rung = self.take(|alarm| alarm.event_loop.as_ptr() == event_loop.as_ptr());
        drop(rung.map(|alarm| alarm.end(event_loop.py())));
    }

    fn take(&self, which: impl Fn(&Alarm) -> bool) -> Option<Alarm> {
        self.with(|alarms| alarms.iter().position(which).map(|index| alarms.swap_remove(index)))
    }

    fn forget_closed(&self, py: Python<'_>) -> PyResult<()> {
        let all = self.with(|alarms| alarms.iter().map(|alarm| alarm.event_loop.clone_ref(py)).collect::<Vec<_>>());
        for event_loop in all {
            let event_loop = event_loop.into_bound(py);
            if event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()? {
                self.rang(&event_loop);
            }
        }
        Ok(())
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.with(|alarms| {
            alarms.iter().try_for_each(|alarm| {
                visit.call(&alarm.event_loop)?;
                visit.call(&alarm.timer)
            })
        })
    }

    pub(crate) fn clear(&self) {
        drop(self.with(std::mem::take));
    }
}

impl Alarm {
    /// Its timer. The rest is not dropped as it is: PyO3 might not know that this thread is attached.
    fn end(self, py: Python<'_>) -> Bound<'_, PyAny> {
        drop(self.event_loop.into_bound(py));
        self.timer.into_bound(py)
    }
}
