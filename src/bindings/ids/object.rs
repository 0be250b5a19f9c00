//! `opool.ObjectMgr`: what it holds, and the pool that leases its ids.
//!
//! The methods that are called often are in `hot.rs`, the batches in `batch.rs`, bytes in `dump.rs`, what it is made
//! from in `range.rs`; `classes/objectmgr.rs` has them all.

use std::mem;
use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::values::Message;
use crate::bindings::objects::greenlet;
use crate::bindings::objects::id_source::IdSource;
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::background::{follow_up, follow_up_quietly};
use crate::ids::{Ids, Order};
use crate::sync::Guarded;

#[doc = include_str!("../classes/docs/objectmgr.txt")]
// No `dict`: it would cost every call of a method 12 ns on Python 3.12. A subclass has one anyway.
#[pyclass(frozen, subclass, weakref, module = "opool", name = "ObjectMgr")]
pub(crate) struct ObjectMgr {
    pub(crate) ids: Arc<Guarded<Ids>>,
    /// The pool that leases its ids: made for the first lease.
    pub(crate) lease_pool: Guarded<Option<Py<Pool>>>,
}

impl ObjectMgr {
    pub(crate) fn new() -> Self {
        ObjectMgr { ids: Arc::new(Guarded::new(Ids::default())), lease_pool: Guarded::new(None) }
    }

    /// What `order` says.
    pub(crate) fn order(&self, py: Python<'_>) -> &'static str {
        match self.ids.with(attached(py), |ids| ids.order()) {
            Order::Fifo => "fifo",
            Order::Lowest => "lowest",
            Order::Random(_) => "random",
        }
    }

    /// How many wait for an id.
    pub(crate) fn waiting(&self, py: Python<'_>) -> usize {
        self.existing_pool(py).map_or(0, |pool| pool.get().counts(py).waiting)
    }

    /// Starts anew with other ids. What was there before is dropped outside the lock.
    pub(crate) fn replace(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        let waiting = self.waiting(py);
        let replaced = self.ids.with(attached(py), |mine| match mine.lent() {
            0 if waiting == 0 => Ok(mem::replace(mine, ids)),
            lent => Err(lent),
        });
        replaced.map(drop).map_err(|lent| {
            let message =
                format!("an ObjectMgr cannot start anew while it is in use: leased {lent}, waiting {waiting}");
            PyRuntimeError::new_err(Message::of(message))
        })?;
        // Without a GIL a wait may have begun since. The new ids do not know of that, so it is checked here.
        self.existing_pool(py).map_or(Ok(()), |pool| follow_up(&pool))
    }

    /// The pool that leases its ids, once there was a lease.
    pub(crate) fn existing_pool<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Pool>> {
        self.lease_pool.with(attached(py), |kept| kept.as_ref().map(|pool| pool.bind(py).clone()))
    }

    /// The pool that leases its ids.
    pub(crate) fn pool<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Pool>> {
        let (this, py) = (slf.get(), slf.py());
        if let Some(pool) = this.existing_pool(py) {
            return Ok(pool);
        }
        let manager = PyWeakrefReference::new(slf.as_any())?.unbind();
        let new = Bound::new(py, Pool::of_ids(py, IdSource::new(Arc::clone(&this.ids), manager)))?;
        if greenlet::look(py)? {
            new.get().tell_greenlets_apart(py);
        }
        // Another thread may have been first.
        Ok(this.lease_pool.with(attached(py), |kept| kept.get_or_insert_with(|| new.clone().unbind()).bind(py).clone()))
    }

    /// Ids have become free: the waiters get them.
    pub(crate) fn settle(&self, py: Python<'_>) -> PyResult<()> {
        if !self.ids.with(attached(py), |ids| ids.is_awaited()) {
            return Ok(());
        }
        self.existing_pool(py).map_or(Ok(()), |pool| follow_up(&pool))
    }

    /// The same, where another exception is set.
    pub(crate) fn settle_quietly(&self, py: Python<'_>) {
        if let Some(pool) = self.existing_pool(py) {
            follow_up_quietly(&pool);
        }
    }
}
