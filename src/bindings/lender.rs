//! Ids for those who wait: an `ObjectMgr` lends them to a pool of its own, so that its leases, its queue and its errors
//! are those of every pool.
//!
//! That pool holds what is leased and nothing else: what comes back goes to the first who waits, else to the manager. So
//! an id that nobody has is in one place only, whoever had it before.
//!
//! Invariant: outside of these functions nobody waits while the manager has an id to give. Whoever joins the queue looks
//! again after that, and whoever frees an id looks who waits ([`Lender::serve`]); the one who comes second sees what the
//! first has done. To look again takes both locks, first the pool's, then that of the ids.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use super::objectmgr::{ObjectMgr, attached, raised, refused};
use super::pool::{Item, Pool, drop_items};
use super::waiting::held;
use crate::ids::Ids;
use crate::pool::{Counts, Nanos, SlotId};
use crate::sync::{Attached, Guarded};

/// How long at most a thread waits without looking whether something is there.
pub(super) const RETRY: Nanos = 1_000_000_000;

/// Where the objects of a pool come from that are not its own.
pub(super) struct Lender {
    ids: Arc<Guarded<Ids>>,
    /// Weak: the manager has the pool.
    manager: Py<PyWeakrefReference>,
}

impl Lender {
    pub(super) fn new(manager: &Bound<'_, ObjectMgr>) -> PyResult<Lender> {
        let ids = Arc::clone(&manager.get().ids);
        Ok(Lender { ids, manager: PyWeakrefReference::new(manager.as_any())?.unbind() })
    }

    /// The manager; nothing if it is gone.
    pub(super) fn manager<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.manager.bind(py).upgrade()
    }

    /// An id, if there is one, as something for the pool.
    fn lend(&self, py: Python<'_>) -> PyResult<Option<Item>> {
        let lent = self.ids.with(attached(py), Ids::lend).map_err(|error| raised(py, error))?;
        let Some(id) = lent else { return Ok(None) };
        // SAFETY: attached; the new reference becomes the item's.
        match NonNull::new(unsafe { ffi::PyLong_FromLongLong(id) }) {
            Some(object) => Ok(Some(Item { object, shell: ptr::null_mut(), holder: 0 })),
            None => {
                // Somebody else may have done something with it since: then there is nothing to undo.
                let (Ok(()) | Err(_)) = self.ids.with(attached(py), |ids| ids.undo_lend(id));
                Err(PyErr::fetch(py))
            }
        }
    }

    /// An id for the caller, if there is one and nobody waits.
    pub(super) fn draw(&self, pool: &Bound<'_, Pool>, now: Nanos) -> PyResult<Option<SlotId>> {
        let this = pool.get();
        if this.with(|core| core.counts().waiting) > 0 {
            return Ok(None);
        }
        let Some(item) = self.lend(pool.py())? else { return Ok(None) };
        this.membership.join(this);
        Ok(this.with(|core| {
            let slot = core.borrow(item, now);
            held(Some(slot), core)
        }))
    }

    /// Gives those who wait what there is, and notes whom to wake: that runs Python, which could take what is left.
    ///
    /// Without memory it gives less, which is nobody's fault who calls this. Those who wait try again once in a while
    /// (`RETRY`, and `_task_holders.watch`).
    pub(super) fn serve(&self, pool: &Bound<'_, Pool>) {
        while self.serve_next(pool).is_ok_and(|more| more) {}
    }

    /// False if nobody waits, or nothing is there.
    fn serve_next(&self, pool: &Bound<'_, Pool>) -> PyResult<bool> {
        let (this, py) = (pool.get(), pool.py());
        let waiting = this.with(|core| {
            let waiting = core.counts().waiting > 0;
            self.ids.with(attached(py), |ids| ids.set_awaited(waiting));
            waiting
        });
        if !waiting {
            return Ok(false);
        }
        let Some(item) = self.lend(py)? else { return Ok(false) };
        let now = this.now();
        // Should nobody wait any more, it goes by itself.
        let added =
            this.with(|core| core.add(item, now).map(|waker| waker.into_iter().for_each(|w| core.wake_later(w))));
        added.or_else(|(item, _)| self.take_back(item, py))?;
        Ok(true)
    }

    /// What has left the pool is free.
    pub(super) fn take_back(&self, item: Item, py: Python<'_>) -> PyResult<()> {
        let id = id_of(item);
        self.ids.with(attached(py), |ids| ids.take_back(id)).map_err(|error| raised(py, error))
    }

    /// What has left the pool never comes back: as `exclude`.
    pub(super) fn exclude(&self, item: Item, py: Python<'_>) -> PyResult<()> {
        let id = id_of(item);
        self.ids.with(attached(py), |ids| ids.exclude_lent(id)).map_err(|refusal| refused(py, refusal))
    }

    /// The same in a fork's child, before any Python runs there: the int keeps its reference for ever. `None`: a thread
    /// that is not here was inside.
    pub(super) fn take_back_in_child(&self, item: Item, attached: Attached<'_>) -> Option<()> {
        // SAFETY: attached; it is an int, and only looked at.
        let id = unsafe { ffi::PyLong_AsLongLong(item.object.as_ptr()) };
        // Without memory to note that it is free it stays given, and nobody could be told.
        self.ids.try_with(attached, |ids| ids.take_back(id)).map(|(Ok(()) | Err(_))| ())
    }

    /// Whether ids are out that no lease gives back.
    pub(super) fn has_given_others(&self, py: Python<'_>) -> bool {
        self.ids.with(attached(py), |ids| ids.allocated_count() > ids.lent())
    }

    /// As messages tell it: all ids, not only those that are leased.
    pub(super) fn counts(&self, py: Python<'_>, counts: Counts) -> Counts {
        let (given, available) = self.ids.with(attached(py), |ids| (ids.allocated_count(), ids.available()));
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Counts { size: number(given + available), idle: number(available), leased: number(given), ..counts }
    }

    /// What messages call it.
    pub(super) fn name(&self, py: Python<'_>) -> String {
        let range = self.ids.with(attached(py), |ids| ids.range());
        format!("ObjectMgr range({}, {})", range.start, range.end)
    }
}

/// The id that an item stands for, which goes with it.
fn id_of(item: Item) -> i64 {
    // SAFETY: the callers are attached. The item is out of the pool, and its object is an int that was made of an id.
    unsafe {
        let id = ffi::PyLong_AsLongLong(item.object.as_ptr());
        drop_items([item]);
        id
    }
}
