//! Python's side: parses arguments, converts values, raises errors. Decides nothing.

mod atomic_put;
mod bank;
mod completions;
mod convert;
mod errors;
mod handle;
mod item;
mod lease;
mod run;
mod tx;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::prelude::*;

/// A clock for tests: it stands still until it is moved.
#[pyclass(frozen, module = "opool_bank._bank")]
pub struct ManualClock(pub Arc<AtomicI64>);

#[pymethods]
impl ManualClock {
    #[new]
    fn new() -> Self {
        ManualClock(Arc::new(AtomicI64::new(1_000_000)))
    }

    /// Move the clock forward.
    fn advance(&self, seconds: f64) -> PyResult<()> {
        let span = convert::span("seconds", seconds)?;
        self.0.fetch_add(span, Ordering::Relaxed);
        Ok(())
    }

    /// The time it shows, in seconds.
    fn now(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1e6
    }
}

#[pymodule(gil_used = false)]
fn _bank(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<atomic_put::AtomicPut>()?;
    module.add_class::<bank::BankCore>()?;
    module.add_class::<completions::Completions>()?;
    module.add_class::<item::Item>()?;
    module.add_class::<lease::LeaseCore>()?;
    module.add_class::<ManualClock>()?;
    Ok(())
}
