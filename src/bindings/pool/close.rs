//! The end of a pool: `close`, and what `aclose` shares with it.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::args::timeout::Deadline;
use crate::bindings::ffi::exception::{Raised, forget};
use crate::bindings::ffi::interrupt::failure;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::values::float;
use crate::bindings::objects::item::Item;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::ready::runs_event_loop;
use crate::bindings::pool::asker::who;
use crate::bindings::pool::background::follow_up;
use crate::bindings::pool::errors;
use crate::bindings::pool::log::tell;
use crate::bindings::pool::sleep::{Sleeper, Stop, reason_to_stop};
use crate::pool::{Hold, Nanos};

/// How long `close` waits for background threads when everything is back.
const GRACE: Nanos = 1_000_000_000;

/// Nothing goes out any more.
pub(crate) fn begin(pool: &Bound<'_, Pool>, force: bool) {
    let (this, py) = (pool.get(), pool.py());
    this.manage();
    this.join_registry(py);
    this.with(py, |core| {
        let mut copy = |item: &Item| {
            // SAFETY: the slot owns the object, and the thread is attached.
            unsafe { ffi::Py_INCREF(item.object.as_ptr()) };
            Item::new(item.object)
        };
        core.close(if force { Some(&mut copy) } else { None });
    });
}

/// `Pool.close`.
pub(crate) fn close(pool: &Bound<'_, Pool>, seconds: Option<f64>, force: bool) -> PyResult<()> {
    let (this, py) = (pool.get(), pool.py());
    if !force && needs_this_event_loop(pool)? {
        return Err(errors::only_aclose(this, py).into());
    }
    let deadline = Deadline::after(seconds, this.now());
    let sleeper = Sleeper::here(pool)?;
    begin(pool, force);
    let closer = sleeper.waker();
    this.with(py, |core| core.add_closer(closer));
    let result = follow_up(pool).and_then(|()| wait_until_over(pool, deadline, &sleeper));
    drop(this.with(py, |core| core.remove_closers(|closer| sleeper.is_of(closer))));
    result
}

/// The end of a `with pool` whose body has raised: closes the pool, and that exception goes on. Why the pool could not
/// be closed goes to the log.
///
/// # Errors
/// If something struck from outside meanwhile, such as a second Ctrl-C.
pub(crate) fn close_after_error(pool: &Bound<'_, Pool>) -> PyResult<()> {
    let (this, py) = (pool.get(), pool.py());
    let Err(error) = close(pool, this.default_timeout(), false) else { return Ok(()) };
    let error = failure(py, error)?;
    let told = tell(pool, &python_side::LOG_NOT_CLOSED, &[error.value(py).as_any()]);
    forget(py, error);
    told
}

fn wait_until_over<'py>(pool: &Bound<'py, Pool>, deadline: Deadline, sleeper: &Sleeper<'py>) -> PyResult<()> {
    let (this, py) = (pool.get(), pool.py());
    if let Some(error) = held_by_caller(pool, deadline)? {
        return Err(Raised::made(py, Ok(error)).into());
    }
    let mut back_since = None;
    loop {
        sleeper.begin(py);
        let now = this.now();
        let (back, over) = this.with(py, |core| core.is_over());
        if over {
            return Ok(());
        }
        if back && has_no_hook_loop(pool)? {
            return tell(pool, &python_side::LOG_CLOSED_WITHOUT_LOOP, &[]);
        }
        // The deadline is for what is out.
        let left = match back {
            true => Some(GRACE.saturating_sub(now.saturating_sub(*back_since.get_or_insert(now)))),
            false => deadline.left(now),
        };
        match reason_to_stop(py, left) {
            Some(Stop::TimedOut) if back => {
                return tell(pool, &python_side::LOG_HOOK_STILL_RUNNING, &[]);
            }
            Some(Stop::Raised(raised)) => return Err(raised.into()),
            Some(_) => {
                let arguments = [pool.as_any(), &float(py, deadline.seconds)?];
                // Raised here: there it would be in a cycle with its traceback, and keep the objects alive.
                return Err(Raised::made(py, python_side::CLOSE_TIMEOUT_ERROR.call(py, &arguments)).into());
            }
            None => {}
        }
        sleeper.sleep(pool, left)?;
        follow_up(pool)?;
    }
}

/// The error for a thread that is inside the `with` of a lease, and would wait for it here; if that is certain.
fn held_by_caller<'py>(pool: &Bound<'py, Pool>, deadline: Deadline) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (this, py) = (pool.get(), pool.py());
    if !has_something(this, py) || this.with(py, |core| core.is_over().0) {
        return Ok(None);
    }
    // On a test's clock nothing waits for ever.
    let limit = float(py, if this.clock().is_some() { 0.0 } else { deadline.seconds })?;
    let found = python_side::CLOSED_BY_HOLDER.call(py, &[pool.as_any(), &limit])?;
    Ok(Some(found).filter(|error| !error.is_none()))
}

/// Whether the calling thread or greenlet has something of the pool, as far as that knows.
fn has_something(pool: &Pool, py: Python<'_>) -> bool {
    let (me, out) = (who(pool, py), |hold: Hold| matches!(hold, Hold::Leased | Hold::Acquired));
    pool.with(py, |core| core.values().any(|(_, item, hold, _)| out(hold) && item.who(py, hold) == me))
}

/// Whether what has to happen before everything is over happens in the event loop that this thread runs, or never.
fn needs_this_event_loop(pool: &Bound<'_, Pool>) -> PyResult<bool> {
    let (this, py) = (pool.get(), pool.py());
    if this.clock().is_some() || !(this.works_in_tasks() || has_something(this, py)) {
        return Ok(false);
    }
    runs_event_loop(py)
}

/// Whether there is something to do for coroutine functions, and no event loop that runs them.
fn has_no_hook_loop(pool: &Bound<'_, Pool>) -> PyResult<bool> {
    if !pool.get().works_in_tasks() {
        return Ok(false);
    }
    python_side::HAS_NO_HOOK_LOOP.call(pool.py(), &[pool.as_any()])?.is_truthy()
}
