//! What a waiting task yields to its event loop: an object that acts as an `asyncio.Future`.
//!
//! A real future would do. But it resumes its task with a callback of its own, which the event loop schedules; the
//! futures of a pool that are done in one step of the event loop share one callback (`ready.rs`).

use std::ptr::NonNull;

use pyo3::PyTraverseError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::values::Message;
use crate::pool::Ticket;
use crate::sync::{Attached, Guarded, this_thread};

/// What resumes a waiter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// An event loop of asyncio, which takes a [`PoolFuture`] for a future.
    Asyncio,
    /// A run of trio.
    Trio,
    /// A hub of gevent: the waiter is a greenlet of its thread.
    Gevent,
}

/// How far a wait has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    /// Woken: the task is to look what it was given.
    Woken,
    /// The task was cancelled.
    Cancelled,
}

struct FutureState {
    progress: Progress,
    /// What resumes the task, and the context to do it in.
    resume: Option<(Py<PyAny>, Py<PyAny>)>,
    /// Here and not with the task: a thread that finds the event loop dead has to end the wait.
    ticket: Option<Ticket>,
    message: Option<Py<PyAny>>,
    /// The protocol of `asyncio.Future`: set when a task is about to wait for this.
    blocking: bool,
}

/// The place in the queue of a task or a greenlet, as its event loop or hub sees it.
#[pyclass(frozen, module = "opool._opool", name = "_PoolFuture")]
pub(crate) struct PoolFuture {
    /// The pool that it waits for; None if it is a background worker's, which keeps no pool alive.
    pool: Py<PyAny>,
    event_loop: Py<PyAny>,
    host: Host,
    thread: usize,
    state: Guarded<FutureState>,
}

impl PoolFuture {
    /// For a task of the event loop that this thread runs.
    pub(crate) fn new<'py>(
        pool: &Bound<'py, PyAny>,
        event_loop: Bound<'py, PyAny>,
        host: Host,
    ) -> PyResult<Bound<'py, PoolFuture>> {
        let py = event_loop.py();
        let state =
            FutureState { progress: Progress::Pending, resume: None, ticket: None, message: None, blocking: false };
        let (event_loop, thread, state) = (event_loop.unbind(), this_thread(), Guarded::new(state));
        Bound::new(py, PoolFuture { pool: pool.clone().unbind(), event_loop, host, thread, state })
    }

    pub(crate) fn host(&self) -> Host {
        self.host
    }

    pub(crate) fn pool<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.pool.bind(py)
    }

    pub(crate) fn event_loop<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.event_loop.bind(py)
    }

    /// The thread that runs the event loop.
    pub(crate) fn thread(&self) -> usize {
        self.thread
    }

    fn with<R>(&self, py: Python<'_>, critical: impl FnOnce(&mut FutureState) -> R) -> R {
        self.state.with(attached(py), critical)
    }

    /// The place in the queue, for the caller to end the wait.
    pub(crate) fn take_ticket(&self, py: Python<'_>) -> Option<Ticket> {
        self.with(py, |state| state.ticket.take())
    }

    /// As `take_ticket`, in a fork's child. `None` too if a thread that does not exist there has the lock.
    pub(crate) fn try_take_ticket(&self, attached: Attached<'_>) -> Option<Ticket> {
        self.state.try_with(attached, |state| state.ticket.take()).flatten()
    }

    /// The task is about to wait for its place in the queue.
    pub(crate) fn begin(&self, py: Python<'_>, ticket: Ticket) {
        self.with(py, |state| state.ticket = Some(ticket));
        self.wait_again(py);
    }

    /// The task is about to wait.
    pub(crate) fn wait_again(&self, py: Python<'_>) {
        self.with(py, |state| {
            state.blocking = true;
            if state.progress == Progress::Woken {
                state.progress = Progress::Pending;
            }
        });
    }

    pub(crate) fn is_blocking(&self, py: Python<'_>) -> bool {
        self.with(py, |state| state.blocking)
    }

    pub(crate) fn set_blocking(&self, py: Python<'_>, blocking: bool) {
        self.with(py, |state| state.blocking = blocking);
    }

    pub(crate) fn progress(&self, py: Python<'_>) -> Progress {
        self.with(py, |state| state.progress)
    }

    /// Notes what resumes the task. Returns how far the wait has come.
    pub(crate) fn set_callback<'py>(
        slf: &Bound<'py, Self>,
        callback: Py<PyAny>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Progress> {
        let py = slf.py();
        let context = match context {
            Some(context) => context,
            // SAFETY: attached; the reference is new.
            None => unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? },
        };
        // SAFETY: attached.
        if unsafe { ffi::PyContext_CheckExact(context.as_ptr()) } == 0 {
            return Err(PyRuntimeError::new_err(Message::of("expected a contextvars.Context")));
        }
        let resume = Some((callback, context.unbind()));
        let (progress, before) =
            slf.get().with(py, |state| (state.progress, std::mem::replace(&mut state.resume, resume)));
        drop(before);
        Ok(progress)
    }

    /// Something else resumes the task.
    pub(crate) fn forget_callback(&self, py: Python<'_>) {
        drop(self.with(py, |state| state.resume.take()));
    }

    /// Cancels the wait. False if it is over already.
    pub(crate) fn cancel(&self, py: Python<'_>, mut message: Option<Py<PyAny>>) -> bool {
        let cancelled = self.with(py, |state| {
            let first = state.progress == Progress::Pending;
            if first {
                state.progress = Progress::Cancelled;
                std::mem::swap(&mut state.message, &mut message);
            }
            first
        });
        drop(message);
        cancelled
    }

    /// What the wait was cancelled with.
    pub(crate) fn take_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.with(py, |state| state.message.take())
    }

    /// Resumes the task, in its event loop.
    pub(crate) fn resume(slf: &Bound<'_, PoolFuture>) -> PyResult<()> {
        let py = slf.py();
        let resume = slf.get().with(py, |state| {
            if state.progress == Progress::Pending {
                state.progress = Progress::Woken;
            }
            state.resume.take()
        });
        let Some((callback, context)) = resume else { return Ok(()) };
        // SAFETY: attached, and it is a context: `set_callback` has checked it.
        unsafe {
            if ffi::PyContext_Enter(context.as_ptr()) != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        let result = callback.bind(py).call1((slf,)).map(drop);
        // SAFETY: as above; an exception is kept.
        unsafe {
            if ffi::PyContext_Exit(context.as_ptr()) != 0 && result.is_ok() {
                return Err(PyErr::fetch(py));
            }
        }
        result
    }

    pub(crate) fn traverse(&self, attached: Attached<'_>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.pool)?;
        visit.call(&self.event_loop)?;
        self.state.with(attached, |state| {
            visit.call(&state.message)?;
            state.resume.iter().try_for_each(|(callback, context)| {
                visit.call(callback)?;
                visit.call(context)
            })
        })
    }

    pub(crate) fn clear(&self, attached: Attached<'_>) {
        drop(self.state.with(attached, |state| (state.resume.take(), state.message.take())));
    }
}

/// A reference to a [`PoolFuture`]. Unlike a `Py` it counts without asking whether the thread is attached: its owners
/// are attached, and clone and drop it outside of critical sections.
pub(crate) struct FutureRef(NonNull<PyObject>);

// SAFETY: used by attached threads only; a `PoolFuture` brings its own protection.
unsafe impl Send for FutureRef {}
// SAFETY: as above.
unsafe impl Sync for FutureRef {}

impl FutureRef {
    pub(crate) fn new(future: &Bound<'_, PoolFuture>) -> Self {
        // SAFETY: a `Bound` is never null, and the new reference is ours.
        unsafe {
            ffi::Py_INCREF(future.as_ptr());
            FutureRef(NonNull::new_unchecked(future.as_ptr()))
        }
    }

    pub(crate) fn get<'py>(&self, _: Python<'py>) -> &Bound<'py, PoolFuture> {
        // SAFETY: both are a pointer to a living `PoolFuture`.
        unsafe { &*(&raw const self.0).cast::<Bound<'py, PoolFuture>>() }
    }

    pub(crate) fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ptr()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: a `Py` is a pointer that is not null; it is only looked at.
        visit.call(unsafe { &*(&raw const self.0).cast::<Py<PyAny>>() })
    }
}

impl Clone for FutureRef {
    fn clone(&self) -> Self {
        // SAFETY: attached, and alive.
        unsafe { ffi::Py_INCREF(self.0.as_ptr()) };
        FutureRef(self.0)
    }
}

impl Drop for FutureRef {
    fn drop(&mut self) {
        // SAFETY: attached, outside of critical sections, as promised above.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) };
    }
}
