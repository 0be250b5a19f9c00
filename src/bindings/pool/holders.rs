//! Who holds what, and since when.

use pyo3::PyTraverseError;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::ffi::refcount::try_incref;
use crate::bindings::objects::greenlet;
use crate::bindings::objects::item::Core;
use crate::bindings::objects::pool::Pool;
use crate::pool::{Hold, Nanos};

/// An object that is out, and its holder: what `opool._holders.holders` makes a `Holder` of.
#[pyclass(frozen, get_all, module = "opool._opool", name = "_Held")]
pub(crate) struct Held {
    obj: Py<PyAny>,
    /// The index of its slot.
    slot: usize,
    /// The number of the holder's thread, or the address of its greenlet.
    thread_id: usize,
    /// For how many seconds it has been out.
    age: f64,
    /// Whether the age is exact; else it is a lower bound.
    exact: bool,
    /// Whether its lease was entered.
    entered: bool,
    /// Where it was taken, if the pool notes that.
    place: Option<Py<PyAny>>,
    /// The `AsyncLease`, if a task has it; without a GIL only if it is a task of the calling thread.
    lease: Option<Py<PyAny>>,
}

#[pymethods]
impl Held {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.obj)?;
        visit.call(&self.lease)
    }
}

/// Every object that is out.
pub(crate) fn held<'py>(pool: &Bound<'py, Pool>) -> PyResult<Vec<Bound<'py, Held>>> {
    let (this, py) = (pool.get(), pool.py());
    let now = this.now();
    if greenlet::look(py)? {
        this.tell_greenlets_apart(py);
    }
    let mut out = Vec::new();
    let exact = this.with(py, |core| {
        note(core, now);
        for (slot, item, hold, since) in core.values() {
            if matches!(hold, Hold::Leased | Hold::Acquired) {
                // The references are taken while it is certain that the slot owns the object.
                let object = item.object(py);
                let entered = hold == Hold::Leased && item.is_entered(py);
                // Without a GIL the lease may be about to die, and must not be brought back: then it is none.
                let lease = item.async_lease().and_then(|lease| {
                    let lease = std::ptr::from_ref(lease).cast_mut().cast();
                    // SAFETY: its memory is there: it takes a critical section to end it. The reference is new.
                    unsafe { try_incref(lease).then(|| Bound::from_owned_ptr(py, lease)) }
                });
                out.push((slot, object, item.who(py, hold), since, entered, lease));
            }
        }
        core.tracks_leases()
    });
    let held = out.into_iter().map(|(slot, object, thread_id, since, entered, lease)| {
        let age = to_seconds(now.saturating_sub(since));
        let place = this.places.get(py, slot).map(|place| place.into_any().unbind());
        let (obj, lease) = (object.unbind(), lease.map(Bound::unbind));
        Bound::new(py, Held { obj, slot: slot.index(), thread_id, age, exact, entered, place, lease })
    });
    held.collect()
}

/// Notes all holders: from now on it is known how long, at least, each object has been out.
pub(crate) fn note_holders(pool: &Pool, py: Python<'_>, now: Nanos) {
    pool.with(py, |core| note(core, now));
}

fn note(core: &mut Core, now: Nanos) {
    core.note_holders(now, |item| item.holder.mark_noted());
}

/// The holder that has had an object for longest.
pub(crate) struct Oldest {
    /// The number of the thread, or the address of the greenlet.
    pub(crate) thread_id: usize,
    pub(crate) age: f64,
    /// Whether the age is exact; else it is a lower bound.
    pub(crate) exact: bool,
    /// Whether it is a task of that thread.
    pub(crate) is_task: bool,
}

pub(crate) fn oldest(pool: &Pool, py: Python<'_>, now: Nanos) -> Option<Oldest> {
    pool.with(py, |core| {
        note(core, now);
        let exact = core.tracks_leases();
        let out = core.values().filter(|(_, _, hold, _)| matches!(hold, Hold::Leased | Hold::Acquired));
        let (_, item, hold, since) = out.min_by_key(|(_, _, _, since)| *since)?;
        let age = to_seconds(now.saturating_sub(since));
        Some(Oldest { thread_id: item.who(py, hold), age, exact, is_task: item.async_lease().is_some() })
    })
}
