//! What wakes a waiter: a parked thread, a task in its event loop, or a greenlet in its hub.

use std::sync::Arc;

use pyo3::PyTraverseError;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::ffi::call::unpark_without_gil;
use crate::bindings::ffi::exception::keeping_exception;
use crate::bindings::ffi::interrupt::{Kept, raise_later};
use crate::bindings::objects::pool_future::{FutureRef, PoolFuture};
use crate::bindings::objects::ready::resume_soon;
use crate::pool::Ticket;
use crate::sync::{Attached, Parker};

/// Wakes one waiter. Cloned and dropped by attached threads only, and dropped outside of critical sections.
///
/// There are two kinds, and no other room looks inside. A parked thread is woken without Python, by `unpark`. What
/// shares its thread with others, a task or a greenlet, is resumed by `call`, in the event loop or hub of that thread,
/// and keeps its ticket where `take_ticket` finds it.
#[derive(Clone)]
pub(crate) enum Waker {
    Thread(Arc<Parker>),
    /// A task or a greenlet.
    Task(FutureRef),
}

impl Waker {
    /// Wakes a waiter for which that takes no Python. False for the others: `call`.
    pub(crate) fn unpark(&self) -> bool {
        match self {
            Waker::Thread(parker) => {
                parker.unpark();
                true
            }
            Waker::Task(_) => false,
        }
    }

    /// As `unpark`, for a waiter that needs the GIL at once: the caller lets go of it for the moment of the wake. False
    /// where that would not help.
    pub(crate) fn unpark_without_gil(&self, py: Python<'_>) -> bool {
        match self {
            Waker::Thread(parker) if cfg!(opool_gil) => {
                unpark_without_gil(py, parker);
                true
            }
            _ => false,
        }
    }

    /// Wakes a waiter for which that takes Python. False if it will never run: then the caller ends its wait
    /// (`take_ticket`). May run any code; what signal handlers raise is kept for the caller.
    pub(crate) fn call(&self, py: Python<'_>, kept: &mut Kept) -> bool {
        match self {
            Waker::Thread(_) => self.unpark(),
            Waker::Task(future) => resume_soon(future.get(py), kept),
        }
    }

    /// As `unpark`, and for a waiter that takes Python as `call`. For background workers, whose wait nobody has to end.
    pub(crate) fn wake_worker(&self, py: Python<'_>) {
        if !self.unpark() {
            keeping_exception(py, || {
                let mut kept = Kept::default();
                self.call(py, &mut kept);
                raise_later(py.None().bind(py), kept.raise());
            });
        }
    }

    /// Whether it wakes a background worker that is a greenlet.
    pub(crate) fn is_worker_greenlet(&self, py: Python<'_>) -> bool {
        matches!(self, Waker::Task(future) if future.get(py).get().pool(py).is_none())
    }

    /// The place in the queue of a waiter that will never run, for the caller to end the wait.
    pub(crate) fn take_ticket(&self, py: Python<'_>) -> Option<Ticket> {
        match self {
            Waker::Thread(_) => None,
            Waker::Task(future) => future.get(py).get().take_ticket(py),
        }
    }

    /// In a fork's child: the place in the queue is gone. Never waits for a lock.
    pub(crate) fn forget_ticket(&self, py: Python<'_>, attached: Attached<'_>) {
        if let Waker::Task(future) = self {
            // A ticket of another process, which has nothing to end here.
            let (Some(_) | None) = future.get(py).get().try_take_ticket(attached);
        }
    }

    /// Whether it wakes this thread.
    pub(crate) fn is(&self, parker: &Arc<Parker>) -> bool {
        matches!(self, Waker::Thread(mine) if Arc::ptr_eq(mine, parker))
    }

    /// Whether it wakes the task of this future.
    pub(crate) fn is_future(&self, future: &Bound<'_, PoolFuture>) -> bool {
        matches!(self, Waker::Task(mine) if mine.as_ptr() == future.as_ptr())
    }

    /// Whether its waiter goes on in the child of a fork although it is not the forking thread itself. A task never
    /// does: an event loop cannot be used on both sides of a fork, and asyncio's ends with it.
    pub(crate) fn survives_fork(&self) -> bool {
        match self {
            Waker::Thread(_) | Waker::Task(_) => false,
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Waker::Thread(_) => Ok(()),
            Waker::Task(future) => future.traverse(visit),
        }
    }
}
