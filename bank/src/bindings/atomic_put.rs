//! A put of any size, all or none: collected chunk by chunk, then stored.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::convert::{self, Defaults};
use super::run::or_raise;
use crate::core::error::Error;
use crate::core::model::New;
use crate::core::store::AtomicPut as Spool;
use crate::core::sync::Mutex;

#[pyclass(frozen, module = "opool_bank._bank")]
pub struct AtomicPut {
    /// None once it was stored. Locked without the interpreter only: who has it writes to the disk.
    spool: Mutex<Option<Box<dyn Spool>>>,
    defaults: Defaults,
    title: String,
}

impl AtomicPut {
    pub fn new(spool: Box<dyn Spool>, defaults: Defaults, title: String) -> Self {
        AtomicPut { spool: Mutex::new(Some(spool)), defaults, title }
    }
}

#[pymethods]
impl AtomicPut {
    /// Collect items; takes no lock that others wait for.
    fn add(&self, py: Python<'_>, items: &Bound<'_, PyList>) -> PyResult<()> {
        let items = items.iter().map(|item| convert::new(&item, &self.defaults)).collect::<PyResult<Vec<New>>>()?;
        let added = py.detach(|| self.spool.lock().as_mut().map_or(Err(Error::Closed), |spool| spool.add(&items)));
        or_raise(py, &self.title, added)
    }

    /// Store all, or nothing; how many were new.
    fn commit(&self, py: Python<'_>) -> PyResult<u64> {
        let spool = || self.spool.lock().take();
        let done = py.detach(|| spool().map_or(Err(Error::Closed), |spool| spool.commit()));
        Ok(or_raise(py, &self.title, done)?.new)
    }
}
