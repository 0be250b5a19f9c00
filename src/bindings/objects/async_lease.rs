//! `opool.AsyncLease`: what it holds. `async_lease/step.rs` says what it does.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

use pyo3::ffi::{self, PyObject};

use crate::bindings::ffi::drop::discard;
use crate::bindings::objects::pool_future::FutureRef;
use crate::bindings::objects::waited::Waited;
use crate::pool::SlotId;
use crate::sync::Phase;

/// Not awaited yet.
pub(crate) const NEW: u8 = 0;
/// In the queue, or about to collect.
pub(crate) const WAITING: u8 = 1;
/// Inside its `async with`.
pub(crate) const HELD: u8 = 2;
/// Over.
pub(crate) const OVER: u8 = 3;
/// Over as well: after a fork, its holder exists in the other process only.
pub(crate) const FORKED: u8 = 4;

/// What awaiting it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Asks for an object, and gives a `Lease`.
    Lease,
    /// Asks for an object, and gives it: `__aenter__`.
    Enter,
    /// Nothing any more: `__aexit__`.
    Exit,
}

/// One step of an `await`.
pub(crate) enum Step {
    /// The result.
    Return(*mut PyObject),
    /// Suspend, with this for the event loop.
    Yield(*mut PyObject),
    /// The exception is set.
    Raise,
}

/// `opool.AsyncLease`.
#[repr(C)]
pub(crate) struct AsyncLease {
    pub(crate) head: PyObject,
    /// `async_lease::step::call`, where CPython's vectorcall protocol looks for it.
    pub(crate) vectorcall: Option<ffi::vectorcallfunc>,
    /// Owned. Null once it is over.
    pub(crate) pool: *mut PyObject,
    /// While `HELD`.
    pub(crate) slot: SlotId,
    pub(crate) phase: Phase,
    pub(crate) mode: Cell<Mode>,
    /// The thread that asked.
    pub(crate) thread: usize,
    /// Seconds; NaN is the pool's own timeout.
    pub(crate) timeout: f64,
    pub(crate) wait: Cell<Option<Box<Waiting>>>,
    /// Whether a thread is in one of its methods: see `async_lease::transitions::exclusively`.
    pub(crate) busy: AtomicBool,
}

/// While `WAITING`.
pub(crate) struct Waiting {
    pub(crate) future: FutureRef,
    /// What suspends the task where a future does not: a coroutine for trio, owned.
    pub(crate) parking: *mut PyObject,
    pub(crate) waited: Waited,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: a wait is ended by attached threads.
        unsafe { discard(self.parking) };
    }
}

impl AsyncLease {
    /// What suspends its task, if it waits and a future does not: borrowed, else null.
    ///
    /// # Safety
    /// The caller has a living lease, and is attached.
    pub(crate) unsafe fn parking(lease: *mut AsyncLease) -> *mut PyObject {
        // SAFETY: as promised; nobody takes the wait out meanwhile.
        unsafe { (*(*lease).wait.as_ptr()).as_ref().map_or(ptr::null_mut(), |wait| wait.parking) }
    }
}

/// The type object. Set when the extension is imported, and never freed.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn set_type(made: *mut ffi::PyTypeObject) {
    TYPE.store(made, Relaxed);
}

pub(crate) fn async_lease_type() -> *mut ffi::PyTypeObject {
    TYPE.load(Relaxed)
}
