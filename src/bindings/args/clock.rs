//! The time of a pool: the machine's, or a test's.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pyo3::prelude::*;

use crate::bindings::ffi::values::Value;
use crate::pool::Nanos;

/// Nanoseconds of the machine's monotonic clock, since the process first asked.
pub(crate) fn monotonic() -> Nanos {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Never zero: that means "not noted".
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

/// A time that passes only when it is told to. `opool.testing.Clock` runs pools on it.
#[pyclass(frozen, subclass, module = "opool._opool")]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn nanos(&self) -> Nanos {
        self.0.load(Relaxed)
    }
}

#[pymethods]
impl Clock {
    #[new]
    fn new() -> Self {
        Clock(AtomicU64::new(1_000_000_000))
    }

    /// The time, in nanoseconds.
    fn _nanos(&self) -> Value {
        self.nanos().into()
    }

    /// Sets the time forward.
    fn _set(&self, nanos: u64) {
        self.0.fetch_max(nanos, Relaxed);
    }
}
