//! The callback by which an event loop resumes the tasks whose wait is over.

use std::cell::RefCell;
use std::sync::Arc;

use pyo3::PyTraverseError;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::PyString;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::interrupt::Kept;
use crate::bindings::ffi::names;
use crate::bindings::ffi::python_side;
use crate::bindings::objects::pool_future::{FutureRef, Host, PoolFuture};
use crate::sync::{Attached, Guarded, this_thread};

/// Resumes tasks in the next step of an event loop: all of them that this thread wakes until then.
///
/// A closed event loop drops it uncalled. Then what the tasks were given goes on to other waiters: its `Drop`, which
/// needs the pool, is in `pool/give_back.rs`.
#[pyclass(frozen, module = "opool._opool", name = "_Ready")]
pub(crate) struct Ready(Arc<Futures>);

/// Nothing once they are resumed, or never will be.
type Futures = Guarded<Option<Vec<FutureRef>>>;

thread_local! {
    /// For each event loop that this thread runs: the futures of its next step. Mostly it is one; with two that take
    /// turns, two. The futures die with their [`Ready`], so nothing of Python's is left when the thread ends.
    static READY: RefCell<Vec<(LoopAddress, Arc<Futures>)>> = const { RefCell::new(Vec::new()) };
}

/// The address of an event loop. Only compared: as long as there are futures, they keep it alive.
#[derive(Clone, Copy, PartialEq, Eq)]
struct LoopAddress(*mut PyObject);

impl Ready {
    /// Resumes the task soon, in the event loop that this thread runs: by the callback that is scheduled already, or by
    /// a new one.
    pub(crate) fn push(future: &Bound<'_, PoolFuture>) -> PyResult<()> {
        let py = future.py();
        let here = LoopAddress(future.get().event_loop(py).as_ptr());
        let scheduled = READY.with_borrow(|ready| {
            let (_, futures) = ready.iter().find(|(event_loop, _)| *event_loop == here)?;
            futures.with(attached(py), |futures| futures.as_mut().map(|futures| futures.push(FutureRef::new(future))))
        });
        if scheduled.is_some() {
            return Ok(());
        }
        let futures = Ready::schedule(future, names::CALL_SOON.get(py))?;
        READY.with_borrow_mut(|ready| {
            ready.retain(|(_, futures)| futures.with(attached(py), |futures| futures.is_some()));
            ready.push((here, futures));
        });
        Ok(())
    }

    /// Schedules a callback in the event loop of `future`, by the method of that name.
    fn schedule(future: &Bound<'_, PoolFuture>, method: &Bound<'_, PyString>) -> PyResult<Arc<Futures>> {
        let py = future.py();
        let futures = Arc::new(Guarded::new(Some(vec![FutureRef::new(future)])));
        let ready = Bound::new(py, Ready(Arc::clone(&futures)))?;
        let called = future.get().event_loop(py).call_method1(method, (&ready,));
        if called.is_err() {
            // The caller deals with the future.
            drop(ready.get().take(attached(py)));
        }
        called.map(|_| futures)
    }

    pub(crate) fn take(&self, attached: Attached<'_>) -> Vec<FutureRef> {
        self.0.with(attached, Option::take).unwrap_or_default()
    }
}

#[pymethods]
impl Ready {
    /// Resumes the tasks that are there now. Those that come meanwhile wait for the next step, so that the event loop
    /// gets on.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let mut futures = self.take(attached(py)).into_iter();
        while let Some(future) = futures.next() {
            if let Err(error) = PoolFuture::resume(future.get(py)) {
                // Ctrl-C, or the like: the others are resumed all the same.
                let mut kept = Kept::default();
                kept.add(py, error);
                for future in futures {
                    resume_soon(future.get(py), &mut kept);
                }
                return kept.raise();
            }
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached, and nobody is in a critical section then.
        let attached = unsafe { Attached::assume() };
        self.0.with(attached, |futures| futures.iter().flatten().try_for_each(|future| future.traverse(&visit)))
    }
}

/// Has the event loop of the task resume it, whatever signal handlers raise meanwhile: that is kept for the caller.
/// False if nobody runs that event loop.
pub(crate) fn resume_soon(future: &Bound<'_, PoolFuture>, kept: &mut Kept) -> bool {
    let py = future.py();
    let event_loop = future.get().event_loop(py);
    let here = this_thread() == future.get().thread() && kept.insist(py, || runs_here(future)).unwrap_or(false);
    if here {
        return twice(future, kept, || Ready::push(future));
    }
    let is_running = || event_loop.call_method0(names::IS_RUNNING.get(py)).and_then(|alive| alive.is_truthy());
    let alive = kept.insist(py, is_running);
    // Scheduled in any case: should somebody run that loop later, the task finds itself without a ticket, and queues
    // again.
    let scheduled = twice(future, kept, || Ready::schedule(future, names::CALL_SOON_THREADSAFE.get(py)).map(drop));
    alive.unwrap_or(false) && scheduled
}

/// Calls an event loop, and once more if that fails: there may have been no memory, and nobody else would ever resume
/// the task. False if both fail.
fn twice(future: &Bound<'_, PoolFuture>, kept: &mut Kept, call: impl Fn() -> PyResult<()>) -> bool {
    let py = future.py();
    let Err(error) = kept.insist(py, &call) else { return true };
    let well = kept.insist(py, &call).is_ok();
    if well && !error.is_instance_of::<PyMemoryError>(py) {
        error.write_unraisable(py, Some(future.get().pool(py)));
    }
    well
}

/// Whether its own thread, which is the calling one, runs its event loop now.
fn runs_here(future: &Bound<'_, PoolFuture>) -> PyResult<bool> {
    let (this, py) = (future.get(), future.py());
    let running = match this.host() {
        Host::Asyncio => running_loop(py)?,
        Host::Trio => python_side::RUNNING_TRIO_LOOP.call(py, &[])?,
        // A hub is a greenlet of that thread, whoever runs there now.
        Host::Gevent => return Ok(true),
    };
    Ok(running.is(this.event_loop(py)))
}

/// The event loop of asyncio that this thread runs, or None.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    match python_side::ASYNCIO_RUNNING_LOOP.get_if_loaded(py)? {
        Some(get) => get.call0(),
        // Without its module no event loop can run.
        None => Ok(py.None().into_bound(py)),
    }
}

/// Whether this thread runs an event loop.
pub(crate) fn runs_event_loop(py: Python<'_>) -> PyResult<bool> {
    if python_side::is_loaded(py, names::TRIO.get(py)) && !python_side::RUNNING_TRIO_LOOP.call(py, &[])?.is_none() {
        return Ok(true);
    }
    Ok(!running_loop(py)?.is_none())
}
