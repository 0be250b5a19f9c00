//! A task waits: what an [`AsyncLease`] does that finds nothing at once.

use std::ptr;

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;

use super::alarm::Alarms;
use super::async_lease::{AsyncLease, OVER, Step, WAITING, abandon, forget_holder, take};
use super::background::{call_python, follow_up};
use super::errors;
use super::lease::none;
use super::pool::Pool;
use super::raw::{Exception, discard};
use super::refcount::decref;
use super::timeouts::Deadline;
use super::waiting::{self, Waited};
use super::waker::{TaskRef, Turn, Waker, is_loaded, running_loop};
use super::watch::TASK;
use crate::pool::{Answer, Asker, Nanos, Refusal, SlotId, Spent, Turned};
use crate::sync::this_thread;

/// While `WAITING`.
pub(super) struct Waiting {
    pub(super) turn: TaskRef,
    /// What suspends the task where a future does not: a coroutine for trio, owned.
    pub(super) parking: *mut PyObject,
    wait: WaitedFor,
}

/// A wait, however often it has to join the queue.
#[derive(Clone, Copy)]
struct WaitedFor {
    since: Nanos,
    deadline: Deadline,
    /// What the pool had done for those who wait when it began.
    spent: Spent,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: attached, as everybody who ends a wait.
        unsafe { discard(self.parking) };
    }
}

/// Asks, and joins the queue if nothing is there.
pub(super) unsafe fn begin(lease: *mut AsyncLease, pool: &Bound<'_, Pool>) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let this = pool.get();
        let now = this.now();
        let seconds = match (*lease).timeout {
            timeout if timeout.is_nan() => this.default_timeout(),
            timeout => Some(timeout),
        };
        let (slot, spent) = this.with(|core| (core.take(now), core.spent(now)));
        let slot = match slot {
            Some(slot) => Some(slot),
            None => match waiting::borrowed(pool, now) {
                Some(slot) => slot,
                None => return Step::Raise,
            },
        };
        match slot {
            // Without asking for an event loop, which only those who wait need.
            Some(slot) => finish(lease, pool, slot),
            None => queue(lease, pool, now, WaitedFor { since: now, deadline: Deadline::after(seconds, now), spent }),
        }
    }
}

/// The lease has come by a slot: what there is to do outside, and the result of the `await`.
unsafe fn finish(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, slot: SlotId) -> Step {
    // SAFETY: as in `step`; the slot is the caller's.
    unsafe {
        // Nobody can use it twice while that runs.
        (*lease).phase.reset(OVER);
        forget_holder(pool.get(), slot);
        if waiting::taken(pool, Some(slot)).is_none() {
            return Step::Raise;
        }
        take(lease, slot)
    }
}

/// Joins the queue, now.
unsafe fn queue(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, now: Nanos, wait: WaitedFor) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let (py, this) = (pool.py(), pool.get());
        this.membership.join(this);
        let me = this_thread();
        // Needed only if there is nothing, but it takes Python, so it comes first.
        let turn = match new_turn(pool) {
            Ok(turn) => turn,
            Err(error) => {
                error.restore(py);
                return Step::Raise;
            }
        };
        let at = wait.deadline.at().unwrap_or(Nanos::MAX);
        let asker = Asker { thread: lease as usize | TASK, now, nested: false, deadline: at };
        // Should the core refuse it, it is dropped in there; but `turn` is not, so that runs nothing.
        let waker = Waker::Task(TaskRef::new(&turn));
        let answer = this.with(|core| core.lease_or_queue(asker, waker));
        match answer {
            Answer::Slot(slot) => finish(lease, pool, slot),
            Answer::Refused(refusal) => {
                (*lease).phase.reset(OVER);
                errors::refused(pool, refusal);
                Step::Raise
            }
            Answer::Place(ticket) => {
                turn.get().begin(ticket);
                (*lease).thread = me;
                (*lease).phase.reset(WAITING);
                (*lease).wait.set(Some(Box::new(Waiting {
                    turn: TaskRef::new(&turn),
                    parking: ptr::null_mut(),
                    wait,
                })));
                let ready = join(pool, &turn)
                    .and_then(|()| if this.is_managed() { follow_up(pool) } else { Ok(()) })
                    .and_then(|()| Alarms::set(pool, turn.get().event_loop(py), at))
                    .and_then(|()| watch_for_deadlock(pool, &turn, now));
                if let Err(error) = ready {
                    abandon(lease);
                    error.restore(py);
                    return Step::Raise;
                }
                suspend(lease, turn)
            }
        }
    }
}

/// Gives the event loop what resumes the task later.
unsafe fn suspend(lease: *mut AsyncLease, turn: Bound<'_, Turn>) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        if turn.get().is_a_future() {
            return Step::Yield(turn.into_ptr());
        }
        let py = turn.py();
        let Some(mut wait) = (*lease).wait.take() else { return Step::Raise };
        match call_python(py, c"opool._event_loops", c"park", &[turn.as_any()]) {
            Ok(coroutine) => discard(ptr::replace(&raw mut wait.parking, coroutine.into_ptr())),
            Err(error) => {
                (*lease).wait.set(Some(wait));
                abandon(lease);
                error.restore(py);
                return Step::Raise;
            }
        }
        (*lease).wait.set(Some(wait));
        go_on(lease, Pool::bound(&(*lease).pool), ffi::Py_None())
    }
}

/// The event loop goes on with the task: on to what suspends it, if that is not over, else it looks.
pub(super) unsafe fn go_on(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, sent: *mut PyObject) -> Step {
    // SAFETY: as in `step`; the coroutine is kept alive meanwhile.
    unsafe {
        let parking = (*(*lease).wait.as_ptr()).as_ref().map_or(ptr::null_mut(), |wait| wait.parking);
        if parking.is_null() {
            return look(lease, pool);
        }
        ffi::Py_INCREF(parking);
        let sent = if sent.is_null() { ffi::Py_None() } else { sent };
        let yielded = resume(parking, sent);
        ffi::Py_DECREF(parking);
        match yielded {
            Step::Return(nothing) => {
                decref(nothing);
                look(lease, pool)
            }
            Step::Raise => {
                let in_flight = Exception::take();
                abandon(lease);
                in_flight.put_back();
                Step::Raise
            }
            step => step,
        }
    }
}

/// One step of a coroutine.
unsafe fn resume(coroutine: *mut PyObject, sent: *mut PyObject) -> Step {
    // SAFETY: both are alive, and the thread is attached.
    unsafe {
        let py = Python::assume_attached();
        let coroutine = Bound::from_borrowed_ptr(py, coroutine);
        match coroutine.call_method1(intern!(py, "send"), (Bound::from_borrowed_ptr(py, sent),)) {
            Ok(yielded) => Step::Yield(yielded.into_ptr()),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Step::Return(none()),
            Err(error) => {
                error.restore(py);
                Step::Raise
            }
        }
    }
}

/// Somebody has woken the task: is it its turn?
unsafe fn look(lease: *mut AsyncLease, pool: &Bound<'_, Pool>) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let this = pool.get();
        let Some(wait) = (*lease).wait.take() else {
            errors::used_twice();
            return Step::Raise;
        };
        let (turn, now) = (wait.turn.get(pool.py()).clone(), this.now());
        // Without a ticket: the event loop stood still for a while, and somebody ended the wait for us.
        let Some(ticket) = turn.get().take_ticket() else {
            return queue(lease, pool, now, wait.wait);
        };
        let asker = Asker { thread: lease as usize | TASK, now, nested: false, deadline: Nanos::MAX };
        match this.with(|core| core.collect(ticket, asker)) {
            Turned::Slot(slot, _waker) => finish(lease, pool, slot),
            Turned::Refused(Refusal::TimedOut(before), _waker) => {
                (*lease).phase.reset(OVER);
                this.with(|core| core.note_timeout());
                let counts = this.counts();
                let WaitedFor { since, deadline, spent } = wait.wait;
                errors::timed_out(&Waited::over(pool, since, deadline, spent), counts, Some(before), now);
                Step::Raise
            }
            Turned::Refused(refusal, _waker) => {
                (*lease).phase.reset(OVER);
                errors::refused(pool, refusal);
                Step::Raise
            }
            // Woken, but not served: the giver has taken back what it gave. The place in the queue is still ours.
            Turned::NotYet(ticket) => {
                turn.get().begin(ticket);
                (*lease).wait.set(Some(wait));
                suspend(lease, turn)
            }
        }
    }
}

/// An event loop in which somebody waits looks after a pool whose hooks are coroutine functions.
fn join(pool: &Bound<'_, Pool>, turn: &Bound<'_, Turn>) -> PyResult<()> {
    if !pool.get().works_in_tasks() {
        return Ok(());
    }
    let event_loop = turn.get().event_loop(pool.py());
    call_python(pool.py(), c"opool._hook_tasks", c"add_loop", &[pool.as_any(), event_loop]).map(drop)
}

/// Somebody looks once in a while whether all who hold something wait: one timer a pool, not one a wait.
fn watch_for_deadlock(pool: &Bound<'_, Pool>, turn: &Bound<'_, Turn>, now: Nanos) -> PyResult<()> {
    let this = pool.get();
    if this.looks_for_deadlock.is_later(now) || this.clock().is_some() {
        return Ok(());
    }
    this.look_for_deadlock_later();
    let event_loop = turn.get().event_loop(pool.py());
    call_python(pool.py(), c"opool._deadlock", c"watch", &[pool.as_any(), event_loop]).map(drop)
}

/// For a task of the event loop that this thread runs.
pub(super) fn new_turn<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, Turn>> {
    let py = pool.py();
    // First: trio may be the guest of an event loop of asyncio, which runs as well then.
    if is_loaded(py, intern!(py, "trio")) {
        let event_loop = call_python(py, c"opool._event_loops", c"running_trio_loop", &[])?;
        if !event_loop.is_none() {
            return Turn::new(pool, event_loop, false);
        }
    }
    let event_loop = running_loop(py)?;
    if event_loop.is_none() { Err(errors::no_event_loop()) } else { Turn::new(pool, event_loop, true) }
}
