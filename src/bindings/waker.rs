//! What wakes those who wait: a thread in its bed, or a task in its event loop.

use std::ptr::NonNull;
use std::sync::Arc;

use pyo3::exceptions::PyException;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;

use super::pool::Pool;
use super::raw::Exception;
use super::waiting;
use crate::pool::Ticket;
use crate::sync::{Attached, Guarded, Parker, this_thread};

/// Wakes one waiter. Cloned and dropped by attached threads only, and dropped outside of critical sections.
#[derive(Clone)]
pub(super) enum Waker {
    Thread(Arc<Parker>),
    Task(Arc<TaskWaker>),
}

impl Waker {
    /// Wakes a thread. False for a task, which takes Python: `wake`.
    pub(super) fn unpark(&self) -> bool {
        match self {
            Waker::Thread(parker) => parker.unpark(),
            Waker::Task(_) => return false,
        }
        true
    }

    /// Wakes whoever it is. What it was given goes to the next one, should its event loop be dead.
    pub(super) fn wake(&self, pool: &Bound<'_, Pool>) {
        if let Waker::Task(task) = self
            && !self.unpark()
        {
            // SAFETY: attached; the exception is put back before anybody looks.
            let in_flight = unsafe { Exception::take() };
            task.wake(pool);
            // SAFETY: as above.
            unsafe { in_flight.put_back() };
        }
    }

    /// Whether it wakes this thread.
    pub(super) fn is(&self, parker: &Arc<Parker>) -> bool {
        matches!(self, Waker::Thread(mine) if Arc::ptr_eq(mine, parker))
    }

    /// Whether it wakes something that runs in this thread.
    pub(super) fn runs_in(&self, thread: usize) -> bool {
        matches!(self, Waker::Task(task) if task.thread == thread)
    }
}

/// A task that waits for a future of its event loop.
///
/// The ticket is here, and not with the task, because whoever finds the event loop dead has to end the wait for it.
pub(super) struct TaskWaker {
    event_loop: NonNull<PyObject>,
    future: Guarded<NonNull<PyObject>>,
    thread: usize,
    ticket: Guarded<Option<Ticket>>,
}

// SAFETY: the pointers are used by attached threads only; the objects behind them bring their own protection.
unsafe impl Send for TaskWaker {}
// SAFETY: as above.
unsafe impl Sync for TaskWaker {}

impl TaskWaker {
    /// For a task of `event_loop`, which runs in this thread, that will wait for `future`.
    pub(super) fn new(event_loop: Bound<'_, PyAny>, future: Bound<'_, PyAny>) -> Option<Arc<Self>> {
        Some(Arc::new(TaskWaker {
            event_loop: NonNull::new(event_loop.into_ptr())?,
            future: Guarded::new(NonNull::new(future.into_ptr())?),
            thread: this_thread(),
            ticket: Guarded::new(None),
        }))
    }

    /// The place in the queue, for whoever ends the wait now.
    pub(super) fn take_ticket(&self) -> Option<Ticket> {
        // SAFETY: the callers are attached.
        self.ticket.with(unsafe { Attached::assume() }, Option::take)
    }

    pub(super) fn keep_ticket(&self, ticket: Ticket) {
        // SAFETY: as above.
        self.ticket.with(unsafe { Attached::assume() }, |place| *place = Some(ticket));
    }

    /// The future that it waits for now.
    pub(super) fn future<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: attached, and owned by `self` while the reference is taken.
        self.future
            .with(unsafe { Attached::assume() }, |future| unsafe { Bound::from_borrowed_ptr(py, future.as_ptr()) })
    }

    /// Another one, because it has been woken and still waits.
    pub(super) fn renew_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let new = self.event_loop(py).call_method0(intern!(py, "create_future"))?;
        if let Some(fresh) = NonNull::new(new.clone().into_ptr()) {
            // SAFETY: attached. The old one is dropped outside of the section.
            let old = self.future.with(unsafe { Attached::assume() }, |future| std::mem::replace(future, fresh));
            // SAFETY: it was owned by `self`.
            drop(unsafe { Bound::from_owned_ptr(py, old.as_ptr()) });
        }
        Ok(new)
    }

    fn event_loop<'a, 'py>(&'a self, _: Python<'py>) -> &'a Bound<'py, PyAny> {
        // SAFETY: as above.
        unsafe { bound(&self.event_loop) }
    }

    fn wake(self: &Arc<Self>, pool: &Bound<'_, Pool>) {
        let py = pool.py();
        if this_thread() == self.thread && is_running_here(self.event_loop(py)) {
            finish(&self.future(py));
            return;
        }
        let alive = self.event_loop(py).call_method0(intern!(py, "is_running")).and_then(|alive| alive.is_truthy());
        let wakeup = Bound::new(py, Wakeup { task: Arc::clone(self) });
        let called = wakeup.and_then(|wakeup| {
            self.event_loop(py).call_method1(intern!(py, "call_soon_threadsafe"), (wakeup,)).map(drop)
        });
        if alive.unwrap_or(false) && called.is_ok() {
            return;
        }
        // Nobody runs that loop. Should somebody do so later, the task finds itself without a ticket, and queues again.
        let this = pool.get();
        let now = this.now();
        if let Some(ticket) = self.take_ticket()
            && let (Some(slot), _waker) = this.with(|core| core.cancel(ticket, now))
        {
            waiting::give_back(pool, slot);
        }
    }
}

impl Drop for TaskWaker {
    fn drop(&mut self) {
        // SAFETY: attached, outside of critical sections, as `Waker` demands.
        unsafe {
            let future = self.future.with(Attached::assume(), |future| *future);
            ffi::Py_DECREF(future.as_ptr());
            ffi::Py_DECREF(self.event_loop.as_ptr());
        }
    }
}

/// # Safety
/// The thread is attached.
unsafe fn bound<'a, 'py>(object: &'a NonNull<PyObject>) -> &'a Bound<'py, PyAny> {
    // SAFETY: both are a pointer to an object that is alive and not null.
    unsafe { &*std::ptr::from_ref(object).cast::<Bound<'py, PyAny>>() }
}

/// Wakes a task from within its event loop.
#[pyclass(frozen, module = "opool._opool")]
struct Wakeup {
    task: Arc<TaskWaker>,
}

#[pymethods]
impl Wakeup {
    fn __call__(&self, py: Python<'_>) {
        finish(&self.task.future(py));
    }
}

/// Ends the wait for a future. It may have been cancelled: then its task comes to know of that by itself.
fn finish(future: &Bound<'_, PyAny>) {
    let py = future.py();
    match future.call_method1(intern!(py, "set_result"), (py.None(),)) {
        Err(error) if !error.is_instance_of::<PyException>(py) => error.write_unraisable(py, Some(future)),
        _ => {}
    }
}

/// Whether this thread runs this event loop just now.
fn is_running_here(event_loop: &Bound<'_, PyAny>) -> bool {
    running_loop(event_loop.py()).is_ok_and(|running| running.is(event_loop))
}

/// The event loop that this thread runs, or None.
pub(super) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    use pyo3::sync::PyOnceLock;
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let get =
        GET.get_or_try_init(py, || Ok::<_, PyErr>(py.import("asyncio")?.getattr("_get_running_loop")?.unbind()))?;
    get.bind(py).call0()
}
