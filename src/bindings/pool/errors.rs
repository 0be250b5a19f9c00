//! The errors of a pool. The classes are written in Python (`opool.errors`).
//!
//! The hot path's functions call these on their way out, perhaps without memory and perhaps while the interpreter shuts
//! down, where PyO3 would panic. So they use the C API, which reports even its own failures as exceptions.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::ffi::exception::Raised;
use crate::bindings::ffi::keywords::Keywords;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::shown::shown;
use crate::bindings::ffi::values::{Message, float};
use crate::bindings::objects::async_lease::async_lease_type;
use crate::bindings::objects::lease::lease_type;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::waited::Waited;
use crate::bindings::pool::holders::{Oldest, oldest};
use crate::pool::{Counts, Nanos, NotAcquired, Refusal};

fn describe(counts: Counts) -> String {
    let Counts { size, idle, leased, waiting, .. } = counts;
    format!("size {size}, idle {idle}, leased {leased}, waiting {waiting}")
}

/// No object became free in time: `counts` and `before`, how many were before it in the queue, are of that moment. The
/// message is made when it is read (`opool.errors`).
#[cold]
pub(crate) fn timed_out<'py>(
    pool: &Bound<'py, Pool>,
    wait: Waited,
    counts: Counts,
    before: Option<usize>,
    now: Nanos,
) -> Raised<'py> {
    Raised::made(pool.py(), timeout_error(pool, wait, counts, before, now))
}

fn timeout_error<'py>(
    pool: &Bound<'py, Pool>,
    wait: Waited,
    counts: Counts,
    before: Option<usize>,
    now: Nanos,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (pool.py(), pool.get());
    let (spent, rules) = this.with(py, |core| (core.spent(now), *core.rules()));
    let creating = to_seconds(spent.creating.saturating_sub(wait.spent.creating));
    let checking = to_seconds(spent.checking.saturating_sub(wait.spent.checking));
    let waited = to_seconds(now.saturating_sub(wait.since));
    let oldest = match oldest(this, py, now) {
        Some(Oldest { thread_id, age, exact, is_task }) => Some(
            Keywords::new(py)?
                .count(c"thread_id", thread_id)?
                .float(c"age", age)?
                .flag(c"exact", exact)?
                .flag(c"is_task", is_task)?,
        ),
        None => None,
    };
    let facts = Keywords::new(py)?
        .text(c"pool", &this.called(py))?
        .float(c"timeout", wait.deadline.seconds)?
        .float(c"queued", (waited - creating - checking).max(0.0))?
        .float(c"creating", creating)?
        .float(c"checking", checking)?
        .maybe_count(c"position", before.map(|before| before + 1))?
        .count(c"size", counts.size)?
        .count(c"idle", counts.idle)?
        .count(c"leased", counts.leased)?
        .count(c"waiting", counts.waiting)?
        .maybe_count(c"max_size", (rules.max_size < usize::MAX).then_some(rules.max_size))?
        .maybe(c"oldest", oldest.as_ref().map(Keywords::as_dict))?
        .maybe(c"cause", last_error(pool)?.as_ref())?
        .flag(c"of_ids", this.id_source().is_some())?
        .flag(c"blocks_loop", wait.blocks_loop)?;
    python_side::TIMEOUT_ERROR.call_by_name(py, &facts)
}

/// Every holder waits for this pool.
#[cold]
pub(crate) fn deadlock<'py>(pool: &Bound<'py, Pool>) -> Raised<'py> {
    Raised::made(pool.py(), python_side::DEADLOCK_ERROR.call(pool.py(), &[pool.as_any()]))
}

/// The caller is not to wait.
#[cold]
pub(crate) fn refused<'py>(pool: &Bound<'py, Pool>, refusal: Refusal) -> Raised<'py> {
    let (py, this) = (pool.py(), pool.get());
    match refusal {
        Refusal::Closed => closed(this, py),
        // Those that have a deadline say more (`timed_out`), and the others never get it.
        Refusal::TimedOut(_) => python_side::POOL_TIMEOUT.raise(py, format!("{}: timed out", this.called(py))),
        Refusal::TooMany => {
            let (counts, limit) = this.with(py, |core| (core.counts(), core.rules().max_waiting));
            let advice = "Try again later, or raise max_waiting or max_size.";
            let what = match limit {
                0 => "nothing is free, and with max_waiting=0 nobody may wait".to_owned(),
                _ => format!("max_waiting={limit} wait already"),
            };
            let message = format!("{}: {what} ({}). {advice}", this.called(py), describe(counts));
            python_side::TOO_MANY_WAITERS.raise(py, message)
        }
        Refusal::Failed => Raised::made(py, factory_error(pool)),
    }
}

fn factory_error<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyAny>> {
    let (py, this) = (pool.py(), pool.get());
    let now = this.now();
    let failing = this.with(py, |core| core.failing(now));
    let (in_a_row, pause) = failing.map_or((0, 0), |failing| (failing.in_a_row, failing.pause));
    let facts = Keywords::new(py)?
        .text(c"pool", &this.called(py))?
        .maybe(c"cause", last_error(pool)?.as_ref())?
        .count(c"failures", in_a_row as usize)?
        .float(c"pause", to_seconds(pause))?;
    python_side::FACTORY_ERROR.call_by_name(py, &facts)
}

/// Why the latest attempt to create an object failed, if it did.
pub(crate) fn last_error<'py>(pool: &Bound<'py, Pool>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (py, this) = (pool.py(), pool.get());
    let now = this.now();
    let (failing, limit) = this.with(py, |core| (core.failing(now), core.rules().make_limit));
    if failing.is_some_and(|failing| failing.gave_up) {
        // Nothing was raised: the attempt took too long.
        return create_timeout(py, limit).map(Some);
    }
    Ok(this.last_error(py))
}

/// The error for a factory that has not returned in time.
pub(crate) fn create_timeout(py: Python<'_>, limit: Option<Nanos>) -> PyResult<Bound<'_, PyAny>> {
    python_side::CREATE_TIMEOUT_ERROR.call(py, &[&float(py, to_seconds(limit.unwrap_or(0)))?])
}

/// "factory and dispose are coroutine functions".
fn async_hooks(pool: &Pool) -> String {
    let hooks = pool.async_hooks();
    let what = if hooks.len() == 1 { "is a coroutine function" } else { "are coroutine functions" };
    format!("{} {what}", hooks.join(" and "))
}

/// A thread asks a pool whose hooks need an event loop.
#[cold]
pub(crate) fn only_for_tasks<'py>(pool: &Pool, py: Python<'py>) -> Raised<'py> {
    let (name, hooks) = (pool.called(py), async_hooks(pool));
    let message = format!("{name}: {hooks}, and a thread has no event loop to run that in: use lease_async");
    python_side::POOL_ERROR.raise(py, message)
}

/// A pool whose hooks need an event loop is in a `with`.
#[cold]
pub(crate) fn only_async_with<'py>(pool: &Pool, py: Python<'py>) -> Raised<'py> {
    let (name, hooks) = (pool.called(py), async_hooks(pool));
    python_side::POOL_ERROR.raise(py, format!("{name}: {hooks}, which a plain with could not end: use async with"))
}

/// The thread of an event loop is about to wait for what happens in that event loop.
#[cold]
pub(crate) fn only_aclose<'py>(pool: &Pool, py: Python<'py>) -> Raised<'py> {
    let what = "close would stop the event loop that this thread runs, and wait for its tasks for ever";
    let message = format!("{}: {what}: use await pool.aclose(), or async with", pool.called(py));
    python_side::POOL_ERROR.raise(py, message)
}

/// A closed pool hands out nothing, and takes nothing.
#[cold]
pub(crate) fn closed<'py>(pool: &Pool, py: Python<'py>) -> Raised<'py> {
    python_side::POOL_CLOSED.raise(py, format!("{}: it is closed", pool.called(py)))
}

/// The pool does not take this object.
#[cold]
pub(crate) fn not_added<'py>(pool: &Pool, object: &Bound<'py, PyAny>, refusal: Refusal) -> Raised<'py> {
    let py = object.py();
    if refusal == Refusal::Closed {
        return closed(pool, py);
    }
    let (counts, limit) = pool.with(py, |core| (core.counts(), core.rules().max_size));
    let shown = match shown(object) {
        Ok(shown) => shown,
        Err(raised) => return raised,
    };
    let (name, counts) = (pool.called(py), describe(counts));
    let message = format!("{name}: cannot add {shown}: it has max_size={limit} objects already ({counts})");
    // SAFETY: a class of the interpreter's.
    unsafe { Raised::builtin(py, ffi::PyExc_ValueError, message) }
}

/// The interpreter is shutting down, so nothing will ever become free.
#[cold]
pub(crate) fn shutting_down<'py>(pool: &Pool, py: Python<'py>, counts: Counts) -> Raised<'py> {
    let (name, counts) = (pool.called(py), describe(counts));
    let message = format!("{name}: the interpreter is shutting down, so no object will come free ({counts})");
    python_side::POOL_TIMEOUT.raise(py, message)
}

/// `release` of what is not out by `acquire`.
#[cold]
pub(crate) fn not_acquired<'py>(pool: &Pool, object: &Bound<'py, PyAny>, why: NotAcquired) -> Raised<'py> {
    // SAFETY: attached, and alive.
    let is_lease = unsafe { [lease_type(), async_lease_type()].contains(&ffi::Py_TYPE(object.as_ptr())) };
    let why = match why {
        NotAcquired::Foreign if is_lease => {
            "is a lease, and release is for what acquire returned: call lease.release(), or leave its `with`"
        }
        NotAcquired::Foreign => {
            "is not an object of this pool: give it back to the one that it came from; add_obj adds new ones"
        }
        NotAcquired::Idle => "is back already: it was released twice, or was never acquired",
        NotAcquired::Leased => "is held by a lease, which gives it back itself: leave its `with`, or release the lease",
    };
    match shown(object) {
        Ok(shown) => {
            let name = pool.called(object.py());
            python_side::LEASE_ERROR.raise(object.py(), format!("{name}: cannot release {shown}: it {why}"))
        }
        Err(raised) => raised,
    }
}

/// An `await` where no event loop runs that we know.
#[cold]
pub(crate) fn no_event_loop() -> PyErr {
    PyRuntimeError::new_err(Message::of(
        "lease_async needs a running event loop, of asyncio or trio; in plain threads use lease()",
    ))
}
