//! When ids go from a manager to the pool that leases them.
//!
//! Invariant: outside of these functions nobody waits while the manager has a free id. A waiter looks at the manager
//! again after it has joined the queue, and a thread that frees an id looks for waiters ([`serve`]); the one that comes
//! second sees what the first has done. To look again takes both locks, first the pool's, then that of the ids.

use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::objects::id_source::IdSource;
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::asker::{held, who};
use crate::pool::{Nanos, SlotId};

/// How long at most a thread waits without looking at the manager.
pub(crate) const RETRY: Nanos = 1_000_000_000;

/// A slot with an id for the caller, if one is free and nobody waits. Nothing, if the pool has objects of its own.
pub(crate) fn borrow(pool: &Bound<'_, Pool>, now: Nanos) -> PyResult<Option<SlotId>> {
    let (this, py) = (pool.get(), pool.py());
    let Some(ids) = this.id_source() else { return Ok(None) };
    if this.with(py, |core| core.counts().waiting) > 0 {
        return Ok(None);
    }
    let Some(item) = ids.lend(py)? else { return Ok(None) };
    this.join_registry(py);
    let who = who(this, py);
    Ok(this.with(py, |core| {
        let slot = core.borrow(item, now);
        held(Some(slot), core, who)
    }))
}

/// Gives the waiters what is free. They are woken by the follow-up: that runs Python, which could take what is left.
///
/// Without memory it gives less. The waiters try again once in a while (`RETRY`, and `_deadlock.watch`).
pub(crate) fn serve(pool: &Bound<'_, Pool>, ids: &IdSource) {
    while serve_next(pool, ids).is_ok_and(|more| more) {}
}

/// False if nobody waits, or nothing is free.
fn serve_next(pool: &Bound<'_, Pool>, ids: &IdSource) -> PyResult<bool> {
    let (this, py) = (pool.get(), pool.py());
    let waiting = this.with(py, |core| {
        let waiting = core.counts().waiting > 0;
        ids.ids.with(attached(py), |ids| ids.set_awaited(waiting));
        waiting
    });
    if !waiting {
        return Ok(false);
    }
    let Some(item) = ids.lend(py)? else { return Ok(false) };
    let now = this.now();
    // If nobody waits any more, the pool gives it back by itself.
    let added =
        this.with(py, |core| core.add(item, now).map(|waker| waker.into_iter().for_each(|w| core.wake_later(w))));
    added.or_else(|(item, _)| ids.take_back(py, item))?;
    Ok(true)
}
