//! The end of a pool: `close`, and what `aclose` shares with it.

use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use super::background::{self, follow_up};
use super::errors;
use super::pool::{Item, Pool};
use super::timeouts::{Deadline, Timeout};
use super::waiting::{self, Stop};
use super::waker::Waker;
use super::watch;
use crate::pool::{Hold, Nanos};
use crate::sync::{Parker, this_thread};

/// The `timeout` of `close`, if it is given.
pub(super) struct CloseTimeout(Option<Timeout>);

impl CloseTimeout {
    /// The pool's own.
    pub(super) const DEFAULT: CloseTimeout = CloseTimeout(None);

    /// How many seconds; None is for ever.
    pub(super) fn seconds(&self, pool: &Pool) -> Option<f64> {
        self.0.as_ref().map_or(pool.default_timeout(), |timeout| timeout.0)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for CloseTimeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if value.is(value.py().Ellipsis()) {
            return Ok(CloseTimeout(None));
        }
        Timeout::named("timeout", &value).map(|timeout| CloseTimeout(Some(timeout)))
    }
}

/// How long `close` waits for background threads when everything is back.
const GRACE: Nanos = 1_000_000_000;

/// Nothing goes out any more.
pub(super) fn begin(slf: &Bound<'_, Pool>, force: bool) {
    let this = slf.get();
    this.manage();
    this.membership.join(this);
    this.with(|core| {
        let mut copy = |item: &Item| {
            // SAFETY: the slot owns the object, and the thread is attached.
            unsafe { ffi::Py_INCREF(item.object.as_ptr()) };
            Item { object: item.object, shell: ptr::null_mut(), holder: 0 }
        };
        core.close(if force { Some(&mut copy) } else { None });
    });
}

/// `close`: see there.
pub(super) fn end(slf: &Bound<'_, Pool>, seconds: Option<f64>, force: bool) -> PyResult<()> {
    let (this, py) = (slf.get(), slf.py());
    if !force && needs_this_event_loop(slf)? {
        return Err(errors::only_aclose(this));
    }
    let deadline = Deadline::after(seconds, this.now());
    let parker = Arc::new(Parker::new());
    begin(slf, force);
    this.with(|core| core.add_closer(Waker::Thread(Arc::clone(&parker))));
    let mut back_since = None;
    let result = follow_up(slf).and_then(|()| {
        loop {
            let now = this.now();
            let (back, over) = this.with(|core| core.is_over());
            if over {
                return Ok(());
            }
            if back && nobody_is_at_work(slf)? {
                background::tell(slf, c"not_all_disposed", &[]);
                return Ok(());
            }
            // The deadline is for what is out.
            let left = match back {
                true => Some(GRACE.saturating_sub(now.saturating_sub(*back_since.get_or_insert(now)))),
                false => deadline.left(now),
            };
            match waiting::reason_to_stop(left) {
                Some(Stop::TimedOut) if back => {
                    background::tell(slf, c"still_busy", &[]);
                    return Ok(());
                }
                Some(Stop::Raised) => return Err(PyErr::fetch(py)),
                Some(_) => {
                    let seconds = PyFloat::new(py, deadline.seconds);
                    let arguments = [slf.as_any(), seconds.as_any()];
                    // Raised here: there it would be in a cycle with its traceback, and keep the objects alive.
                    let error = background::call_python(py, c"opool._watch", c"close_timeout", &arguments)?;
                    return Err(PyErr::from_value(error));
                }
                None => {}
            }
            if !this.sleep(slf, &parker, left) {
                return Err(PyErr::fetch(py));
            }
            follow_up(slf)?;
        }
    });
    drop(this.with(|core| core.remove_closers(|closer| closer.is(&parker))));
    result
}

/// Whether what has to happen before everything is over happens in the event loop that this thread runs, or never.
fn needs_this_event_loop(slf: &Bound<'_, Pool>) -> PyResult<bool> {
    let (this, me) = (slf.get(), this_thread());
    let out = |hold: Hold| matches!(hold, Hold::Leased | Hold::Acquired);
    let mine =
        || this.with(|core| core.values().any(|(_, item, hold, _)| out(hold) && watch::holder(item, hold) == me));
    if this.clock().is_some() || !(this.works_in_tasks() || mine()) {
        return Ok(false);
    }
    background::call_python(slf.py(), c"opool._event_loops", c"is_here", &[])?.is_truthy()
}

/// Whether there is something to do for coroutine functions, and no event loop that runs them.
fn nobody_is_at_work(slf: &Bound<'_, Pool>) -> PyResult<bool> {
    if !slf.get().works_in_tasks() {
        return Ok(false);
    }
    background::call_python(slf.py(), c"opool._crew", c"is_idle", &[slf.as_any()])?.is_truthy()
}
