//! What a task does that finds nothing idle: an `await` that has to wait.

use std::ptr;

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::args::timeout::Deadline;
use crate::bindings::async_lease::transitions::{abandon, forget_holder, take};
use crate::bindings::ffi::drop::discard;
use crate::bindings::ffi::exception::{Raised, keeping_exception};
use crate::bindings::ffi::names;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::refcount::{decref, none};
use crate::bindings::lease::errors::used_twice;
use crate::bindings::objects::async_lease::{AsyncLease, OVER, Step, WAITING, Waiting};
use crate::bindings::objects::item::HolderTag;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::pool_future::{FutureRef, Host, PoolFuture};
use crate::bindings::objects::ready::running_loop;
use crate::bindings::objects::waited::Waited;
use crate::bindings::objects::waker::Waker;
use crate::bindings::pool::background::follow_up_if_managed;
use crate::bindings::pool::borrow::borrow;
use crate::bindings::pool::errors;
use crate::bindings::pool::expire::set_timer;
use crate::bindings::pool::wait::taken;
use crate::pool::{Answer, Caller, Collected, Nanos, Refusal, SlotId};
use crate::sync::this_thread;

/// The `await` raises this.
fn raise(py: Python<'_>, error: PyErr) -> Step {
    error.restore(py);
    Step::Raise
}

fn asker(lease: *mut AsyncLease, now: Nanos, deadline: Nanos) -> Caller {
    Caller { thread: HolderTag::of_task(lease).number(), now, nested: false, deadline }
}

/// Asks, and joins the queue if nothing is idle.
///
/// # Safety
/// The lease is alive for the call, it is NEW, and `pool` is its pool. The others ask for the same.
pub(crate) unsafe fn begin(lease: *mut AsyncLease, pool: &Bound<'_, Pool>) -> Step {
    // SAFETY: as promised.
    unsafe {
        let (py, this) = (pool.py(), pool.get());
        let now = this.now();
        let seconds = match (*lease).timeout {
            timeout if timeout.is_nan() => this.default_timeout(),
            timeout => Some(timeout),
        };
        let (slot, spent) = this.with(py, |core| (core.take(now), core.spent(now)));
        let slot = match slot {
            Some(slot) => Some(slot),
            None => match borrow(pool, now) {
                Ok(slot) => slot,
                Err(error) => return raise(py, error),
            },
        };
        match slot {
            // Without asking for an event loop, which only a wait needs.
            Some(slot) => finish(lease, pool, slot),
            None => {
                let deadline = Deadline::after(seconds, now);
                queue(lease, pool, Waited { since: now, deadline, spent, blocks_loop: false }, now)
            }
        }
    }
}

/// The lease has got a slot: what there is to do after that, and the result of the `await`.
unsafe fn finish(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, slot: SlotId) -> Step {
    // SAFETY: as in `begin`; the slot is the caller's.
    unsafe {
        // It cannot be used twice while that runs.
        (*lease).phase.reset(OVER);
        forget_holder(pool.py(), pool.get(), slot);
        match taken(pool, slot) {
            Ok(slot) => take(pool.py(), lease, slot),
            Err(_) => Step::Raise,
        }
    }
}

/// Joins the queue, now.
unsafe fn queue(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, waited: Waited, now: Nanos) -> Step {
    // SAFETY: as in `begin`.
    unsafe {
        let (py, this) = (pool.py(), pool.get());
        this.join_registry(py);
        let me = this_thread();
        // Needed only if nothing is idle, but it takes Python, so it comes first.
        let future = match new_future(pool) {
            Ok(future) => future,
            Err(error) => return raise(py, error),
        };
        let at = waited.deadline.at().unwrap_or(Nanos::MAX);
        // Should the core refuse it, it is dropped in there; but `future` is not, so that runs nothing.
        let waker = Waker::Task(FutureRef::new(&future));
        let answer = this.with(py, |core| core.lease_or_queue(asker(lease, now, at), waker));
        match answer {
            Answer::Slot(slot) => finish(lease, pool, slot),
            Answer::Refused(refusal) => refuse(lease, pool, refusal),
            Answer::Queued(ticket) => {
                future.get().begin(py, ticket);
                (*lease).thread = me;
                (*lease).phase.reset(WAITING);
                let wait = Waiting { future: FutureRef::new(&future), parking: ptr::null_mut(), waited };
                (*lease).wait.set(Some(Box::new(wait)));
                let event_loop = future.get().event_loop(py);
                let ready = join_hook_loops(pool, event_loop)
                    .and_then(|()| follow_up_if_managed(pool))
                    .and_then(|()| set_timer(pool, event_loop, at))
                    .and_then(|()| watch_for_deadlock(pool, event_loop, now));
                match ready {
                    Ok(()) => suspend(lease, future),
                    Err(error) => {
                        abandon(py, lease);
                        raise(py, error)
                    }
                }
            }
        }
    }
}

unsafe fn refuse(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, refusal: Refusal) -> Step {
    // SAFETY: as in `begin`.
    unsafe { (*lease).phase.reset(OVER) };
    let _raised: Raised<'_> = errors::refused(pool, refusal);
    Step::Raise
}

/// Gives the event loop what resumes the task later.
unsafe fn suspend(lease: *mut AsyncLease, future: Bound<'_, PoolFuture>) -> Step {
    // SAFETY: as in `begin`; the lease waits for this future.
    unsafe {
        if future.get().host() == Host::Asyncio {
            return Step::Yield(future.into_ptr());
        }
        let py = future.py();
        let Some(mut wait) = (*lease).wait.take() else { return Step::Raise };
        let parking = python_side::PARK_TRIO_TASK.call(py, &[future.as_any()]);
        match parking {
            Ok(coroutine) => {
                discard(ptr::replace(&raw mut wait.parking, coroutine.into_ptr()));
                (*lease).wait.set(Some(wait));
                go_on(lease, Pool::bound(py, &(*lease).pool), ffi::Py_None())
            }
            Err(error) => {
                (*lease).wait.set(Some(wait));
                abandon(py, lease);
                raise(py, error)
            }
        }
    }
}

/// The event loop resumes the task: on to what suspends it, if that is not over, else it collects.
///
/// # Safety
/// As for `begin`, but the lease is WAITING. `sent` is alive for the call, or null.
pub(crate) unsafe fn go_on(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, sent: *mut PyObject) -> Step {
    // SAFETY: as promised; the coroutine is kept alive meanwhile.
    unsafe {
        let py = pool.py();
        let parking = AsyncLease::parking(lease);
        if parking.is_null() {
            return collect(lease, pool);
        }
        let parking = Bound::from_borrowed_ptr(py, parking);
        let sent = if sent.is_null() { ffi::Py_None() } else { sent };
        match resume(&parking, &Bound::from_borrowed_ptr(py, sent)) {
            Step::Return(nothing) => {
                decref(nothing);
                collect(lease, pool)
            }
            Step::Raise => {
                keeping_exception(py, || abandon(py, lease));
                Step::Raise
            }
            step => step,
        }
    }
}

/// One step of a coroutine.
fn resume(coroutine: &Bound<'_, PyAny>, sent: &Bound<'_, PyAny>) -> Step {
    let py = coroutine.py();
    match coroutine.call_method1(names::SEND.get(py), (sent,)) {
        Ok(yielded) => Step::Yield(yielded.into_ptr()),
        // SAFETY: attached.
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => Step::Return(unsafe { none() }),
        Err(error) => raise(py, error),
    }
}

/// The task was woken: takes what it was given, if it was given something.
unsafe fn collect(lease: *mut AsyncLease, pool: &Bound<'_, Pool>) -> Step {
    // SAFETY: as in `go_on`.
    unsafe {
        let (py, this) = (pool.py(), pool.get());
        let Some(wait) = (*lease).wait.take() else {
            used_twice(py);
            return Step::Raise;
        };
        let (future, now) = (wait.future.get(py).clone(), this.now());
        // Without a ticket: the event loop did not run for a while, and the wait was ended for us.
        let Some(ticket) = future.get().take_ticket(py) else {
            return queue(lease, pool, wait.waited, now);
        };
        match this.with(py, |core| core.collect(ticket, asker(lease, now, Nanos::MAX))) {
            Collected::Slot(slot, _waker) => finish(lease, pool, slot),
            Collected::Refused(Refusal::TimedOut(before), _waker) => {
                (*lease).phase.reset(OVER);
                this.with(py, |core| core.note_timeout());
                let _raised = errors::timed_out(pool, wait.waited, this.counts(py), Some(before), now);
                Step::Raise
            }
            Collected::Refused(refusal, _waker) => refuse(lease, pool, refusal),
            // Woken, but not served: the giver has taken back what it gave. The place in the queue is still ours.
            Collected::Pending(ticket) => {
                future.get().begin(py, ticket);
                (*lease).wait.set(Some(wait));
                suspend(lease, future)
            }
        }
    }
}

/// An event loop in which somebody waits runs the hooks of a pool whose hooks are coroutine functions.
fn join_hook_loops(pool: &Bound<'_, Pool>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    if !pool.get().works_in_tasks() {
        return Ok(());
    }
    python_side::ADD_HOOK_LOOP.call(pool.py(), &[pool.as_any(), event_loop]).map(drop)
}

/// Has somebody look once in a while whether every holder waits: one timer a pool, not one a wait.
fn watch_for_deadlock(pool: &Bound<'_, Pool>, event_loop: &Bound<'_, PyAny>, now: Nanos) -> PyResult<()> {
    let this = pool.get();
    if this.deadlock_watch_at.is_later(now) || this.clock().is_some() {
        return Ok(());
    }
    this.note_deadlock_watch();
    python_side::WATCH_FOR_DEADLOCK.call(pool.py(), &[pool.as_any(), event_loop]).map(drop)
}

/// For a task of the event loop that this thread runs.
pub(crate) fn new_future<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PoolFuture>> {
    let py = pool.py();
    // First: trio may be the guest of an event loop of asyncio, which runs as well then.
    if python_side::is_loaded(py, names::TRIO.get(py)) {
        let event_loop = python_side::RUNNING_TRIO_LOOP.call(py, &[])?;
        if !event_loop.is_none() {
            return PoolFuture::new(pool.as_any(), event_loop, Host::Trio);
        }
    }
    let event_loop = running_loop(py)?;
    if event_loop.is_none() {
        Err(errors::no_event_loop())
    } else {
        PoolFuture::new(pool.as_any(), event_loop, Host::Asyncio)
    }
}
