//! Waking waiters.

use pyo3::prelude::*;

use crate::bindings::ffi::exception::keeping_exception;
use crate::bindings::ffi::interrupt::Kept;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::waker::Waker;
use crate::bindings::pool::asker::asker;
use crate::pool::{SlotId, Ticket};

/// Wakes a waiter, of whatever kind. If it will never run, because its event loop is dead, what it was given goes to
/// the next one.
///
/// # Errors
/// If a signal handler raised meanwhile. It is done all the same.
pub(crate) fn wake(pool: &Bound<'_, Pool>, waker: Waker) -> PyResult<()> {
    if waker.unpark() {
        return Ok(());
    }
    let (py, mut kept) = (pool.py(), Kept::default());
    keeping_exception(py, || {
        // One after the other, however many of them are dead: not each from within the one before.
        let mut next = Some(waker);
        while let Some(waker) = next.take() {
            if !waker.call(py, &mut kept) {
                if waker.is_worker_greenlet(py) {
                    // The follow-up that woke it has another one come.
                    pool.get().with(py, |core| core.worker_lost());
                }
                let slot = waker.take_ticket(py).and_then(|ticket| leave_queue(pool, ticket));
                next = slot.and_then(|slot| give_to_next(pool, slot));
            }
        }
    });
    kept.raise()
}

/// Ends a wait in place of the waiter. Returns what it was given.
pub(crate) fn leave_queue(pool: &Bound<'_, Pool>, ticket: Ticket) -> Option<SlotId> {
    let this = pool.get();
    let now = this.now();
    let (slot, _waker) = this.with(pool.py(), |core| core.cancel(ticket, now));
    slot
}

/// Gives a leased slot back, without a follow-up. Returns the waker of the waiter that got it, for the caller to use.
///
/// An object that is to be reset goes to the background first.
pub(crate) fn give_to_next(pool: &Bound<'_, Pool>, slot: SlotId) -> Option<Waker> {
    let this = pool.get();
    let asker = asker(this, pool.py());
    this.with(pool.py(), |core| {
        if core.rules().resets && core.may_touch(slot) {
            core.reset_in_background(slot, asker.now);
            return None;
        }
        core.give_back(slot, asker)
    })
}
