//! The memory of an async lease that is over, for the next one.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::ffi::PyObject;

/// An async lease that is kept for the next use. Owned. Without a GIL there is none: what is unique to one thread is
/// not known to others.
#[derive(Default)]
pub(crate) struct Spare(AtomicPtr<PyObject>);

impl Spare {
    /// The one that is kept, borrowed; or null.
    pub(crate) fn get(&self) -> *mut PyObject {
        self.0.load(Relaxed)
    }

    /// Whether one could be kept.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        cfg!(opool_gil) && self.0.load(Relaxed).is_null()
    }

    /// Keeps one, where none is. The reference becomes the pool's.
    #[inline(always)]
    pub(crate) fn keep(&self, object: *mut PyObject) {
        self.0.store(object, Relaxed);
    }

    /// Gives up the one that is kept, if there is one, and with it the reference.
    #[inline(always)]
    pub(crate) fn take(&self) -> *mut PyObject {
        let kept = self.0.load(Relaxed);
        // Not an exchange, which costs more: there is one thread at a time, or none is ever kept.
        self.0.store(ptr::null_mut(), Relaxed);
        kept
    }
}
