//! Where the ids come from that a manager leases: it lends them to a pool of its own, so that its leases, its queue and
//! its errors are those of every pool.
//!
//! That pool holds the ids that are leased and nothing else. What comes back to it goes to the first waiter, else to
//! the manager; so a free id is in one place only. `pool/borrow.rs` says when ids go from one to the other.

use std::ptr::NonNull;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::bindings::ffi::call::attached;
use crate::bindings::objects::id_errors::{raised, refused};
use crate::bindings::objects::item::{Item, drop_items};
use crate::ids::Ids;
use crate::pool::Counts;
use crate::sync::{Attached, Guarded};

/// The ids of a manager, for the pool that leases them.
pub(crate) struct IdSource {
    pub(crate) ids: Arc<Guarded<Ids>>,
    /// Weak: the manager has the pool.
    manager: Py<PyWeakrefReference>,
}

impl IdSource {
    pub(crate) fn new(ids: Arc<Guarded<Ids>>, manager: Py<PyWeakrefReference>) -> IdSource {
        IdSource { ids, manager }
    }

    /// The manager; nothing if it is gone.
    pub(crate) fn manager<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.manager.bind(py).upgrade()
    }

    /// An id, if one is free, as an item for the pool.
    pub(crate) fn lend(&self, py: Python<'_>) -> PyResult<Option<Item>> {
        let lent = self.ids.with(attached(py), Ids::lend).map_err(|error| raised(py, error))?;
        let Some(id) = lent else { return Ok(None) };
        // SAFETY: attached; the new reference becomes the item's.
        match NonNull::new(unsafe { ffi::PyLong_FromLongLong(id) }) {
            Some(object) => Ok(Some(Item::new(object))),
            None => {
                // Another thread may have freed it by its number since: then there is nothing to undo.
                let (Ok(()) | Err(_)) = self.ids.with(attached(py), |ids| ids.undo_lend(id));
                Err(PyErr::fetch(py))
            }
        }
    }

    /// An item that has left the pool: its id is free.
    pub(crate) fn take_back(&self, py: Python<'_>, item: Item) -> PyResult<()> {
        let id = id_of(py, item);
        self.ids.with(attached(py), |ids| ids.take_back(id)).map_err(|error| raised(py, error))
    }

    /// An item that has left the pool: its id never comes back, as after `exclude`.
    pub(crate) fn exclude(&self, py: Python<'_>, item: Item) -> PyResult<()> {
        let id = id_of(py, item);
        self.ids.with(attached(py), |ids| ids.exclude_lent(id)).map_err(|refusal| refused(py, refusal))
    }

    /// As `take_back`, in a fork's child before any Python runs there: the int keeps its reference for ever. `None`:
    /// the lock is taken by a thread that does not exist here.
    pub(crate) fn take_back_in_child(&self, item: Item, attached: Attached<'_>) -> Option<()> {
        // SAFETY: attached; it is an int, and only looked at.
        let id = unsafe { ffi::PyLong_AsLongLong(item.object.as_ptr()) };
        // Without memory to note that it is free it stays given, and nobody could be told.
        self.ids.try_with(attached, |ids| ids.take_back(id)).map(|(Ok(()) | Err(_))| ())
    }

    /// Whether ids are out that no lease gives back.
    pub(crate) fn has_given_others(&self, py: Python<'_>) -> bool {
        self.ids.with(attached(py), |ids| ids.allocated_count() > ids.lent())
    }

    /// The counts for messages: of all ids, not only of those that are leased.
    pub(crate) fn counts(&self, py: Python<'_>, counts: Counts) -> Counts {
        let (given, available) = self.ids.with(attached(py), |ids| (ids.allocated_count(), ids.available()));
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Counts { size: number(given + available), idle: number(available), leased: number(given), ..counts }
    }

    /// What messages call the manager.
    pub(crate) fn name(&self, py: Python<'_>) -> String {
        let range = self.ids.with(attached(py), |ids| ids.range());
        format!("ObjectMgr range({}, {})", range.start, range.end)
    }
}

/// The id that an item stands for. The item is dropped.
fn id_of(_: Python<'_>, item: Item) -> i64 {
    // SAFETY: attached. The item is out of the pool, and its object is an int that was made of an id.
    unsafe {
        let id = ffi::PyLong_AsLongLong(item.object.as_ptr());
        drop_items([item]);
        id
    }
}
