//! An item as Python sees it.

use pyo3::prelude::*;

use super::convert::{from_payload, from_value};
use crate::core::model::{Ended, NEVER, Row};

/// An item as it was when it was read or given.
#[pyclass(frozen, module = "opool_bank")]
pub struct Item {
    pub row: Row,
    #[pyo3(get)]
    new: bool,
}

impl Item {
    pub fn new(row: Row, new: bool) -> Self {
        Item { row, new }
    }
}

pub fn seconds(remaining: i64) -> Option<f64> {
    (remaining != NEVER).then_some(remaining as f64 / 1e6)
}

#[pymethods]
impl Item {
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_value(py, &self.row.key)
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_payload(py, &self.row.payload)
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.row.state.name()
    }

    #[getter]
    fn token(&self) -> i64 {
        self.row.token
    }

    #[getter]
    fn attempts(&self) -> u32 {
        self.row.attempts
    }

    #[getter]
    fn max_attempts(&self) -> Option<u32> {
        self.row.max_attempts
    }

    #[getter]
    fn priority(&self) -> u8 {
        self.row.priority
    }

    #[getter]
    fn claim_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.row.claim.as_ref().map(|claim| from_value(py, claim)).transpose()
    }

    #[getter]
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_payload(py, &self.row.result)
    }

    #[getter]
    fn remaining(&self) -> Option<f64> {
        if self.row.state == crate::core::model::State::Given { None } else { seconds(self.row.remaining) }
    }

    #[getter]
    fn done(&self) -> bool {
        self.row.ended == Ended::Done
    }

    #[getter]
    fn _row(&self) -> i64 {
        self.row.row
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let key = from_value(py, &self.row.key)?.repr()?;
        Ok(format!("<Item {key}, {}, token {}>", self.row.state.name(), self.row.token))
    }
}
