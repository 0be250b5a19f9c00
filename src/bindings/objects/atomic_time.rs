//! A moment that several threads read and set.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::pool::Nanos;

/// When something is to happen.
pub(crate) struct AtomicTime(AtomicU64);

impl AtomicTime {
    pub(crate) fn at(at: Nanos) -> AtomicTime {
        AtomicTime(AtomicU64::new(at))
    }

    pub(crate) fn is_later(&self, than: Nanos) -> bool {
        self.0.load(Relaxed) > than
    }

    pub(crate) fn set(&self, at: Nanos) {
        self.0.store(at, Relaxed);
    }
}
