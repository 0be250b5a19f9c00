//! Who holds what, and since when.

use pyo3::PyTraverseError;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::PyBool;

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::ffi::refcount::try_incref;
use crate::bindings::ffi::values::{Value, count, int, list, tuple};
use crate::bindings::objects::greenlet;
use crate::bindings::objects::item::Core;
use crate::bindings::objects::pool::Pool;
use crate::pool::{Hold, Nanos};

/// An object that is out, and its holder: what `opool._holders.holders` makes a `Holder` of.
#[pyclass(frozen, get_all, module = "opool._opool", name = "_Held")]
pub(crate) struct Held {
    obj: Py<PyAny>,
    /// The index of its slot.
    slot: Value,
    /// The number of the holder's thread, or the address of its greenlet.
    thread_id: Value,
    /// For how many seconds it has been out.
    age: Value,
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
pub(crate) fn held<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyAny>> {
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
        let place = this.places.get(py, slot).map(Bound::unbind);
        let (obj, lease) = (object.unbind(), lease.map(Bound::unbind));
        let (slot, thread_id, age) = (slot.index().into(), thread_id.into(), age.into());
        Bound::new(py, Held { obj, slot, thread_id, age, exact, entered, place, lease }).map(Bound::into_any)
    });
    list(py, held)
}

/// What is out, for `opool._stacks.Taken`: the index of its slot, the thread that took it or entered its lease, the
/// object, whether the lease was entered; the lease, how many references to it there are besides this one, and whether it
/// is a task's.
///
/// No lease for what `acquire` took; without a GIL also none for a lease that another thread may be dropping.
pub(crate) fn out<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyAny>> {
    let (this, py) = (pool.get(), pool.py());
    let out: Vec<_> = this.with(py, |core| {
        let held = core.values().filter(|(_, _, hold, _)| matches!(hold, Hold::Leased | Hold::Acquired));
        let out = held.map(|(slot, item, hold, _)| {
            let entered = hold == Hold::Leased && item.is_entered(py);
            let (thread, lease) = (item.who(py, hold), item.lease(py, hold));
            (slot.index(), thread, item.object(py), entered, lease, item.async_lease().is_some())
        });
        out.collect()
    });
    let flag = |flag| PyBool::new(py, flag).to_owned().into_any();
    let rows = out.into_iter().map(|(slot, thread, object, entered, lease, is_task)| {
        let (lease, references) = lease.unwrap_or_else(|| (py.None().into_bound(py), 0));
        let (slot, thread) = (count(py, slot as u64)?, count(py, thread as u64)?);
        tuple(py, &[&slot, &thread, &object, &flag(entered), &lease, &int(py, references as i64)?, &flag(is_task)])
    });
    list(py, rows)
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
