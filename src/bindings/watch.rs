//! Who holds what, since when, and where they took it.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::async_lease::AsyncLease;
use super::lease::ENTERED;
use super::pool::{Item, Pool};
use super::refcount::try_incref;
use crate::pool::{Hold, Nanos, SlotId};
use crate::sync::{Attached, Guarded};

/// The lowest bit of `Item::holder`, which the numbers of threads leave free: somebody has looked at this holder.
const SEEN: usize = 1;

/// The next bit of `Item::holder`: the rest is not the number of a thread, but the address of the `AsyncLease` that has
/// the object. It takes itself off before it gives back or dies.
pub(super) const TASK: usize = 2;

/// The async lease that has an object which is out.
pub(super) fn async_lease(item: &Item) -> Option<&AsyncLease> {
    let address = item.holder & !(SEEN | TASK);
    // SAFETY: called in a critical section: as `entered` below.
    (item.holder & TASK != 0).then(|| unsafe { &*(address as *const AsyncLease) })
}

/// The thread that has an object which is out: the one that entered its lease, else the one that took it.
pub(super) fn holder(item: &Item, hold: Hold) -> usize {
    if let Some(lease) = async_lease(item) {
        return lease.thread;
    }
    match entered(item) {
        Some(thread) if hold == Hold::Leased => thread,
        _ => item.holder & !SEEN,
    }
}

/// Whether the lease of an object that is leased was entered.
pub(super) fn is_entered(item: &Item) -> bool {
    async_lease(item).is_some() || entered(item).is_some()
}

fn entered(item: &Item) -> Option<usize> {
    // SAFETY: called in a critical section, attached. A leased slot's shell is null, or the one that served before (over
    // since then), or the lease itself, which is alive as long as it is not over: it takes a critical section to end it.
    unsafe {
        let lease = item.shell.as_ref()?;
        (lease.phase.get(Attached::assume()) == ENTERED).then_some(lease.holder)
    }
}

/// Where in the program an object was taken.
struct Place {
    code: Py<PyAny>,
    line: i32,
}

/// The places of the leases of one pool, by slot.
pub(super) struct Places(Guarded<Vec<Option<Place>>>);

impl Default for Places {
    fn default() -> Self {
        Places(Guarded::new(Vec::new()))
    }
}

impl Places {
    /// Notes the caller's place.
    pub(super) fn note(&self, py: Python<'_>, slot: SlotId) {
        let index = slot.index();
        let place = here(py);
        // SAFETY: attached.
        let before = self.0.with(unsafe { Attached::assume() }, |places| {
            if places.len() <= index {
                places.resize_with(index + 1, || None);
            }
            std::mem::replace(&mut places[index], place)
        });
        // Not dropped as a `Py`: PyO3 does not know that this thread is attached, and would postpone it.
        drop(before.map(|place| place.code.into_bound(py)));
    }

    fn get<'py>(&self, py: Python<'py>, slot: SlotId) -> Option<Bound<'py, PyString>> {
        // SAFETY: attached.
        let (code, line) = self.0.with(unsafe { Attached::assume() }, |places| {
            places.get(slot.index())?.as_ref().map(|place| (place.code.clone_ref(py), place.line))
        })?;
        let code = code.bind(py);
        let (file, name) = (code.getattr("co_filename").ok()?, code.getattr("co_name").ok()?);
        Some(PyString::new(py, &format!("{file}:{line} in {name}")))
    }
}

fn here(_: Python<'_>) -> Option<Place> {
    // SAFETY: attached. The frame is borrowed from the running interpreter, the code is ours.
    unsafe {
        let frame = ffi::PyEval_GetFrame();
        if frame.is_null() {
            return None;
        }
        let code = ffi::PyFrame_GetCode(frame);
        let line = ffi::PyFrame_GetLineNumber(frame);
        let code = Bound::from_owned_ptr_or_opt(Python::assume_attached(), code.cast())?;
        Some(Place { code: code.unbind(), line })
    }
}

/// What is out: for each object a tuple of the object, its slot, the number of the holder's thread, the age in seconds,
/// whether that is exact, whether the lease was entered, the place, and the `AsyncLease` if a task has it; without a GIL
/// only if it is a task of this thread.
pub(super) fn holders<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyList>> {
    let (this, py) = (pool.get(), pool.py());
    let now = this.now();
    let mut out = Vec::new();
    let exact = this.with(|core| {
        look(core, now);
        for (slot, item, hold, since) in core.values() {
            if matches!(hold, Hold::Leased | Hold::Acquired) {
                // SAFETY: the slot owns the object; the reference is taken while that is certain.
                let object = unsafe { Bound::from_borrowed_ptr(py, item.object.as_ptr()) };
                let in_with = hold == Hold::Leased && is_entered(item);
                // Without a GIL it may be about to die, and must not be brought back: then it is none.
                let task = async_lease(item).and_then(|lease| {
                    let lease = std::ptr::from_ref(lease).cast_mut().cast();
                    // SAFETY: its memory is there: it takes a critical section to end it. The reference is new.
                    unsafe { try_incref(lease).then(|| Bound::from_owned_ptr(py, lease)) }
                });
                out.push((slot, object, holder(item, hold), since, in_with, task));
            }
        }
        core.tracks_leases()
    });
    let list = PyList::empty(py);
    for (slot, object, thread, since, in_with, task) in out {
        let age = now.saturating_sub(since) as f64 / 1e9;
        list.append((object, slot.index(), thread, age, exact, in_with, this.places.get(py, slot), task))?;
    }
    Ok(list)
}

/// Somebody has waited for a moment: should it be in vain, the message tells how long others have had what they have.
pub(super) fn look_at_holders(pool: &Pool, now: Nanos) {
    pool.with(|core| look(core, now));
}

/// From now on it is known how long, at least, each object has been out.
fn look(core: &mut super::pool::Core, now: Nanos) {
    core.note_holders(now, |item| {
        let new = item.holder & SEEN == 0;
        item.holder |= SEEN;
        new
    });
}

/// The thread and the age in seconds of the one who has had an object for longest, whether the age is exact, and whether
/// it is a task of that thread.
pub(super) fn oldest(pool: &Pool, now: Nanos) -> Option<(usize, f64, bool, bool)> {
    pool.with(|core| {
        look(core, now);
        let exact = core.tracks_leases();
        let out = core.values().filter(|(_, _, hold, _)| matches!(hold, Hold::Leased | Hold::Acquired));
        let (_, item, hold, since) = out.min_by_key(|(_, _, _, since)| *since)?;
        let age = now.saturating_sub(since) as f64 / 1e9;
        Some((holder(item, hold), age, exact, async_lease(item).is_some()))
    })
}
