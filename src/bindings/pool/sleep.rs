//! How a thread or a greenlet sleeps that waits for a pool, and what makes it stop.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::ffi::call::{check_signals, finalizing, park_detached};
use crate::bindings::ffi::exception::{OrRaised, Raised, Raises};
use crate::bindings::ffi::interrupt::sees_signals;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::values::{call_method, count, float};
use crate::bindings::objects::greenlet;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::pool_future::{FutureRef, Host, PoolFuture};
use crate::bindings::objects::waker::Waker;
use crate::pool::{Nanos, Ticket};
use crate::sync::Parker;

/// How often the main thread looks for signals although nothing woke it.
///
/// A signal that arrives after the last look and just before the system call that sleeps does not interrupt it; this
/// bounds how late it is seen. CPython's own locks have the same gap, and no bound.
const SIGNAL_BACKSTOP: Duration = Duration::from_millis(20);

/// How often a waiting thread runs Python without a GIL.
///
/// There an object counts in the thread that made it. If another thread drops the last reference, the object dies when
/// its own thread runs Python next: a lease that was dropped would not come back as long as that thread waits here.
const MERGE_INTERVAL: Duration = Duration::from_millis(50);

/// What the caller sleeps on: a thread on a parker, a greenlet in its hub.
pub(crate) enum Sleeper<'py> {
    Thread(Arc<Parker>),
    Greenlet(Bound<'py, PoolFuture>),
}

impl<'py> Sleeper<'py> {
    /// For the calling thread or greenlet, which is about to wait for the pool.
    ///
    /// # Errors
    /// If it must not wait: it is a hub, or a green thread of eventlet.
    pub(crate) fn here(pool: &Bound<'py, Pool>) -> PyResult<Self> {
        match pool.get().clock() {
            Some(_) => Ok(Sleeper::Thread(Arc::new(Parker::new()))),
            None => Sleeper::of(pool.as_any()),
        }
    }

    /// For a background worker, which must not keep its pool alive.
    pub(crate) fn of_worker(py: Python<'py>) -> PyResult<Self> {
        Sleeper::of(py.None().bind(py))
    }

    fn of(pool: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(match greenlet::hub_to_wait_in(pool.py())? {
            Some(hub) => Sleeper::Greenlet(PoolFuture::new(pool, hub, Host::Gevent)?),
            None => Sleeper::Thread(Arc::new(Parker::new())),
        })
    }

    pub(crate) fn is_greenlet(&self) -> bool {
        matches!(self, Sleeper::Greenlet(_))
    }

    pub(crate) fn waker(&self) -> Waker {
        match self {
            Sleeper::Thread(parker) => Waker::Thread(Arc::clone(parker)),
            Sleeper::Greenlet(future) => Waker::Task(FutureRef::new(future)),
        }
    }

    /// Whether the waker wakes it.
    pub(crate) fn is_of(&self, waker: &Waker) -> bool {
        match self {
            Sleeper::Thread(parker) => waker.is(parker),
            Sleeper::Greenlet(future) => waker.is_future(future),
        }
    }

    /// A wake-up from now on ends the next sleep. For a wait without a ticket.
    pub(crate) fn begin(&self, py: Python<'py>) {
        if let Sleeper::Greenlet(future) = self {
            future.get().wait_again(py);
        }
    }

    /// Sleeps until it is woken, or for `limit` nanoseconds; in the main thread for a moment only, because of signals.
    /// A greenlet lets others run meanwhile, and its hub minds the signals. On a clock of a test, time passes instead.
    pub(crate) fn sleep(&self, pool: &Bound<'py, Pool>, limit: Option<Nanos>) -> Raises<'py> {
        let (this, py) = (pool.get(), pool.py());
        if let Some(clock) = this.clock() {
            let until = limit.map(|limit| this.now().saturating_add(limit));
            let until = match until {
                Some(until) => count(py, until),
                None => Ok(py.None().into_bound(py)),
            };
            let advance = |until| call_method(clock.bind(py).as_any(), c"_advance_until", &[pool.as_any(), &until]);
            return until.and_then(advance).map(drop).or_raised(py);
        }
        match self {
            Sleeper::Thread(parker) => {
                let most = if sees_signals() {
                    Some(SIGNAL_BACKSTOP)
                } else if cfg!(opool_gil) {
                    None
                } else {
                    Some(MERGE_INTERVAL)
                };
                park_detached(py, parker, [limit.map(Duration::from_nanos), most].into_iter().flatten().min());
                if cfg!(opool_gil) { Ok(()) } else { python_side::RUN_PENDING.call(py, &[]).map(drop).or_raised(py) }
            }
            Sleeper::Greenlet(future) => sleep_in_hub(future, limit, true).or_raised(py),
        }
    }

    /// As `sleep`, for a background worker: it keeps neither its pool nor its hub alive.
    pub(crate) fn sleep_idly(&self, py: Python<'py>, limit: Nanos) -> PyResult<()> {
        match self {
            Sleeper::Thread(parker) => {
                py.detach(|| parker.park(Some(Duration::from_nanos(limit))));
                Ok(())
            }
            Sleeper::Greenlet(future) => sleep_in_hub(future, Some(limit), false),
        }
    }
}

fn sleep_in_hub(future: &Bound<'_, PoolFuture>, limit: Option<Nanos>, keeps_hub: bool) -> PyResult<()> {
    let py = future.py();
    let seconds = match limit {
        Some(limit) => float(py, to_seconds(limit))?.into_any(),
        None => py.None().into_bound(py),
    };
    let keeps_hub = PyBool::new(py, keeps_hub);
    python_side::SLEEP_IN_HUB.call(py, &[future.as_any(), &seconds, keeps_hub.as_any()]).map(drop)
}

/// A place in the queue, and what its owner sleeps on. A greenlet's ticket is where those find it who find its hub dead.
pub(crate) struct Place<'py> {
    sleeper: Sleeper<'py>,
    ticket: Option<Ticket>,
}

impl<'py> Place<'py> {
    /// At once after the ticket was given: no Python runs in between, so no wake-up is taken for an old one.
    pub(crate) fn new(py: Python<'py>, sleeper: Sleeper<'py>, ticket: Ticket) -> Self {
        let mut place = Place { sleeper, ticket: None };
        place.keep(py, ticket);
        place
    }

    /// As `new`, after `take`.
    pub(crate) fn keep(&mut self, py: Python<'py>, ticket: Ticket) {
        match &self.sleeper {
            Sleeper::Thread(_) => self.ticket = Some(ticket),
            Sleeper::Greenlet(future) => future.get().begin(py, ticket),
        }
    }

    /// The ticket, for the caller to end the wait. Nothing if it was ended for a greenlet that seemed dead.
    pub(crate) fn take(&mut self, py: Python<'py>) -> Option<Ticket> {
        match &self.sleeper {
            Sleeper::Thread(_) => self.ticket.take(),
            Sleeper::Greenlet(future) => future.get().take_ticket(py),
        }
    }

    pub(crate) fn sleep(&self, pool: &Bound<'py, Pool>, limit: Option<Nanos>) -> Raises<'py> {
        self.sleeper.sleep(pool, limit)
    }

    /// Leaves the place, for another one.
    pub(crate) fn into_sleeper(self) -> Sleeper<'py> {
        self.sleeper
    }
}

/// Why a thread stops waiting.
#[derive(Clone, Copy)]
pub(crate) enum Stop<'py> {
    /// The exception must come out even if the slot has just been handed over.
    Raised(Raised<'py>),
    /// The interpreter is shutting down.
    Finalizing,
    /// The time is up.
    TimedOut,
    /// A deadlock: every holder waits for this pool.
    Deadlock,
}

/// What makes a waiting thread stop, if anything does.
pub(crate) fn reason_to_stop(py: Python<'_>, left: Option<Nanos>) -> Option<Stop<'_>> {
    if let Err(raised) = check_signals(py) {
        return Some(Stop::Raised(raised));
    }
    if finalizing() {
        return Some(Stop::Finalizing);
    }
    (left == Some(0)).then_some(Stop::TimedOut)
}
