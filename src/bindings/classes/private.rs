//! What the Python half of the package asks of the extension: functions, so that the classes show only what users may
//! use.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::bindings::args::clock::Clock;
use crate::bindings::args::timeout::{Timeout, to_seconds};
use crate::bindings::async_lease::wait::new_future;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::values::{Message, Value, int, list, tuple};
use crate::bindings::ids::dump::Given;
use crate::bindings::objects::async_lease::{AsyncLease, async_lease_type};
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::pool_future::{FutureRef, PoolFuture};
use crate::bindings::objects::ready::Ready;
use crate::bindings::objects::waker::Waker;
use crate::bindings::pool::background::{self, Worker, follow_up, follow_up_if_managed};
use crate::bindings::pool::job::Job;
use crate::bindings::pool::{add, close, errors, expire, fork, holders, stats};

/// Takes an object out for good. For the queue that `design.opool.Pool` shows.
#[pyfunction]
fn _remove(pool: &Bound<'_, Pool>, timeout: Timeout) -> PyResult<Py<PyAny>> {
    add::remove(pool, timeout)
}

/// The first half of `aclose`: nothing is leased any more.
#[pyfunction]
fn _begin_close(pool: &Bound<'_, Pool>, force: bool) -> PyResult<()> {
    close::begin(pool, force);
    follow_up(pool)
}

/// Whether everything is back; and whether all background work is done, too.
#[pyfunction]
fn _is_over<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyAny>> {
    let py = pool.py();
    let (back, over) = pool.get().with(py, |core| core.is_over());
    tuple(py, &[PyBool::new(py, back).as_any(), PyBool::new(py, over).as_any()])
}

/// A future that is woken at each step towards the end of the pool.
#[pyfunction]
fn _add_closer<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PoolFuture>> {
    let future = new_future(pool)?;
    let closer = Waker::Task(FutureRef::new(&future));
    pool.get().with(pool.py(), |core| core.add_closer(closer));
    Ok(future)
}

/// Takes back the future of `_add_closer`.
#[pyfunction]
fn _remove_closer(pool: &Bound<'_, Pool>, future: &Bound<'_, PoolFuture>) {
    drop(pool.get().with(pool.py(), |core| core.remove_closers(|closer| closer.is_future(future))));
}

/// Whether ids are given that no lease gives back.
#[pyfunction]
fn _has_given_others(pool: &Bound<'_, Pool>) -> bool {
    pool.get().id_source().is_some_and(|ids| ids.has_given_others(pool.py()))
}

/// Whether its objects are the ids of a manager.
#[pyfunction]
fn _lends_ids(pool: &Bound<'_, Pool>) -> bool {
    pool.get().id_source().is_some()
}

/// What messages call it.
#[pyfunction]
fn _called(pool: &Bound<'_, Pool>) -> Value {
    pool.get().called(pool.py()).into()
}

/// Does what an earlier change may have left to do.
#[pyfunction]
fn _settle(pool: &Bound<'_, Pool>) -> PyResult<()> {
    follow_up_if_managed(pool)
}

/// Notes that somebody is going to look for a deadlock.
#[pyfunction]
fn _note_deadlock_watch(pool: &Bound<'_, Pool>) {
    pool.get().note_deadlock_watch();
}

/// In how many seconds there is something to do in the background. The caller is going to look then.
#[pyfunction]
fn _seconds_to_work(pool: &Bound<'_, Pool>) -> Option<Value> {
    background::until_work(pool.get(), pool.py()).map(|left| to_seconds(left).into())
}

/// Whether there is something to do in the background now.
#[pyfunction]
fn _has_work(pool: &Bound<'_, Pool>) -> bool {
    let now = pool.get().now();
    pool.get().with(pool.py(), |core| core.has_work(now))
}

/// What is out, and who holds it.
#[pyfunction]
fn _holders<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyAny>> {
    holders::held(pool)
}

/// What is out, and the leases of it.
#[pyfunction]
fn _out<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyAny>> {
    holders::out(pool)
}

/// The leases that this thread has of any pool, each with the number of references to it besides this one.
#[pyfunction]
fn _leases_here(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let leases = fork::leases_of_this_thread(py).into_iter();
    list(py, leases.map(|(lease, references)| tuple(py, &[&lease, &int(py, references as i64)?])))
}

/// Before a fork: the leases that suspended tasks of this thread hold. In the child what they hold is free.
#[pyfunction]
fn _note_suspended(py: Python<'_>, leases: Vec<Bound<'_, PyAny>>) {
    fork::note_suspended(py, &leases);
}

/// The log is about to tell of a deadlock. False if it has told already and nothing has been leased since.
#[pyfunction]
fn _note_deadlock_told(pool: &Bound<'_, Pool>) -> bool {
    pool.get().note_deadlock_told(pool.py())
}

/// The statistics of one moment.
#[pyfunction]
fn _figures<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyAny>> {
    stats::read(pool).map(|read| read.as_dict().clone())
}

/// The next piece of background work.
#[pyfunction]
fn _next_job(pool: &Bound<'_, Pool>) -> PyResult<Option<Job>> {
    background::next_job(pool)
}

/// When there is background work by time alone, or a task's time is up, in nanoseconds of the pool's clock.
#[pyfunction]
fn _due(pool: &Bound<'_, Pool>) -> Option<Value> {
    let due = pool.get().with(pool.py(), |core| core.due().into_iter().chain(core.next_deadline()).min());
    due.map(Value::from)
}

/// Ends the waits whose time is up. Called by the timer of an event loop, which this thread runs.
#[pyfunction]
fn _expire(pool: &Bound<'_, Pool>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    expire::expire(pool, event_loop)
}

/// Why the latest attempt to create an object failed, if it did.
#[pyfunction]
fn _last_error<'py>(pool: &Bound<'py, Pool>) -> PyResult<Option<Bound<'py, PyAny>>> {
    errors::last_error(pool)
}

/// Before the interpreter shuts down: stops the worker threads. One that is inside a hook stays there.
#[pyfunction]
fn _stop_background(py: Python<'_>, pools: Vec<Bound<'_, Pool>>) {
    background::stop(py, &pools);
}

/// The number of the thread that asked for an async lease.
#[pyfunction]
fn _thread(lease: &Bound<'_, PyAny>) -> PyResult<Value> {
    // SAFETY: it is an async lease, and alive.
    Ok(unsafe { (*async_lease(lease)?).thread }.into())
}

/// The pool of an async lease; None once that is over.
#[pyfunction]
fn _pool<'py>(lease: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: it is an async lease, and alive, and has a reference to its pool.
    Ok(unsafe { Bound::from_borrowed_ptr_or_opt(lease.py(), (*async_lease(lease)?).pool) })
}

fn async_lease(lease: &Bound<'_, PyAny>) -> PyResult<*mut AsyncLease> {
    if lease.get_type_ptr() != async_lease_type() {
        return Err(PyTypeError::new_err(Message::of(format!(
            "expected an opool.AsyncLease, got {}",
            lease.get_type()
        ))));
    }
    Ok(lease.as_ptr().cast())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Clock>()?;
    module.add_class::<holders::Held>()?;
    module.add_class::<Job>()?;
    // Nobody sees these. PyO3 makes a type at its first use, and panics if there is no memory for it then.
    let _made = (py.get_type::<PoolFuture>(), py.get_type::<Ready>(), py.get_type::<Worker>(), py.get_type::<Given>());
    for function in [
        wrap_pyfunction!(_add_closer, module)?,
        wrap_pyfunction!(_begin_close, module)?,
        wrap_pyfunction!(_called, module)?,
        wrap_pyfunction!(_due, module)?,
        wrap_pyfunction!(_expire, module)?,
        wrap_pyfunction!(_figures, module)?,
        wrap_pyfunction!(_has_given_others, module)?,
        wrap_pyfunction!(_has_work, module)?,
        wrap_pyfunction!(_holders, module)?,
        wrap_pyfunction!(_is_over, module)?,
        wrap_pyfunction!(_last_error, module)?,
        wrap_pyfunction!(_leases_here, module)?,
        wrap_pyfunction!(_lends_ids, module)?,
        wrap_pyfunction!(_note_deadlock_watch, module)?,
        wrap_pyfunction!(_next_job, module)?,
        wrap_pyfunction!(_remove_closer, module)?,
        wrap_pyfunction!(_note_deadlock_told, module)?,
        wrap_pyfunction!(_note_suspended, module)?,
        wrap_pyfunction!(_out, module)?,
        wrap_pyfunction!(_pool, module)?,
        wrap_pyfunction!(_remove, module)?,
        wrap_pyfunction!(_seconds_to_work, module)?,
        wrap_pyfunction!(_settle, module)?,
        wrap_pyfunction!(_stop_background, module)?,
        wrap_pyfunction!(_thread, module)?,
        wrap_pyfunction!(python_side::rows, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
