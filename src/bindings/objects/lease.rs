//! `opool.Lease`: what it holds. `lease/hot.rs` says who owns what, and what it does.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::ffi::{self, PyObject};

#[cfg(Py_GIL_DISABLED)]
use crate::bindings::ffi::refcount::travel::Travel;
use crate::pool::SlotId;
use crate::sync::Phase;

/// A lease that was handed out and not entered yet.
pub(crate) const NEW: u8 = 0;
/// Inside its `with`.
pub(crate) const ENTERED: u8 = 1;
/// Over. A lease never comes back from here, only its shell does.
pub(crate) const RELEASED: u8 = 2;
/// Over as well: its object was discarded. Leaving the `with` then has nothing more to do.
pub(crate) const DISCARDED: u8 = 4;
/// Over as well: after a fork, its holder exists in the other process only.
pub(crate) const FORKED: u8 = 3;

/// `opool.Lease`.
#[repr(C)]
pub(crate) struct Lease {
    pub(crate) head: PyObject,
    /// `lease::hot::call`, where CPython's vectorcall protocol looks for it.
    pub(crate) vectorcall: Option<ffi::vectorcallfunc>,
    /// The leased object. Owned, from birth to death.
    pub(crate) object: *mut PyObject,
    /// While out: the pool (owned). Else null. Of a lease made by hand: whatever it goes back to (owned, for good).
    pub(crate) pool: *mut PyObject,
    /// A weak reference to the pool (owned), so that a lease that is over can still name it. Null if made by hand.
    pub(crate) home: *mut PyObject,
    /// The slot of the pool, or `NONE` if made by hand.
    pub(crate) slot: SlotId,
    pub(crate) phase: Phase,
    /// The thread that entered it, once it is entered: after a fork, the one that has the object.
    pub(crate) holder: usize,
    /// Whether the shell goes from thread to thread.
    #[cfg(Py_GIL_DISABLED)]
    pub(crate) travel: Travel,
}

/// The type object. Set when the extension is imported, and never freed.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn set_type(made: *mut ffi::PyTypeObject) {
    TYPE.store(made, Relaxed);
}

pub(crate) fn lease_type() -> *mut ffi::PyTypeObject {
    TYPE.load(Relaxed)
}

/// Whether it is a lease.
///
/// # Safety
/// The thread is attached, and the object is alive.
pub(crate) unsafe fn is_lease(object: *mut PyObject) -> bool {
    // SAFETY: as promised.
    unsafe { ffi::Py_TYPE(object) == lease_type() }
}
