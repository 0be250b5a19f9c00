//! Ending the waits of tasks whose deadline has passed.

use pyo3::prelude::*;

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::ffi::interrupt::Kept;
use crate::bindings::ffi::names;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::values::float;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::timers::Timer;
use crate::bindings::pool::background::follow_up;
use crate::pool::Nanos;

/// Has the event loop, which this thread runs, end the waits that are late then.
pub(crate) fn set_timer(pool: &Bound<'_, Pool>, event_loop: &Bound<'_, PyAny>, at: Nanos) -> PyResult<()> {
    let (this, py) = (pool.get(), pool.py());
    // On a clock of a test, time passes there.
    if at == Nanos::MAX || this.clock().is_some() {
        return Ok(());
    }
    let before = this.timers.time_of(event_loop);
    if before.is_some_and(|before| before <= at) {
        return Ok(());
    }
    if before.is_none() {
        this.timers.remove_closed(py)?;
    }
    let left = float(py, to_seconds(at.saturating_sub(this.now())))?;
    let handle = python_side::START_TIMER.call(py, &[pool.as_any(), event_loop, &left])?;
    let timer = Timer { event_loop: event_loop.clone().unbind(), at, handle: handle.unbind() };
    match this.timers.put(event_loop, timer) {
        Some(replaced) => replaced.into_handle(py).call_method0(names::CANCEL.get(py)).map(drop),
        None => Ok(()),
    }
}

/// The timer of the event loop, which this thread runs, has gone off: ends the waits that are late.
pub(crate) fn expire(pool: &Bound<'_, Pool>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let (this, py, mut kept) = (pool.get(), pool.py(), Kept::default());
    this.timers.remove(event_loop);
    let now = this.now();
    let next = this.with(py, |core| core.expire(now));
    let set = kept.insist(py, || set_timer(pool, event_loop, next.unwrap_or(Nanos::MAX)));
    kept.keep(py, set);
    kept.keep(py, follow_up(pool));
    kept.raise()
}
