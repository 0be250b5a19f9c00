//! A lease as Python's `Lease` uses it.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use super::convert::{from_payload, from_value, payload, span, ttl};
use super::errors;
use super::item::seconds;
use super::run::{Sink, or_raise, run};
use crate::core::error::{Error, Result};
use crate::core::lease::Lease;
use crate::core::model::{Call, Micros, NEVER, Settled};

#[pyclass(frozen, module = "opool_bank._bank", weakref)]
pub struct LeaseCore {
    pub lease: Arc<Lease>,
    pub title: String,
}

impl LeaseCore {
    pub fn new(lease: Arc<Lease>, title: String) -> Self {
        LeaseCore { lease, title }
    }

    fn settle<'py>(&self, py: Python<'py>, call: Call, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        if !self.lease.is_ours() {
            let message = "this lease was taken by the parent process; a forked child holds nothing of it";
            return Err(errors::named(py, "BankUsageError", &self.title, message));
        }
        let bank = self.lease.bank().clone();
        let before = bank.store.boottime();
        let (lease, title) = (self.lease.clone(), self.title.clone());
        let settle = lease.settle(call.clone());
        let submit = |answer| bank.store.settle(bank.number, vec![settle], answer);
        let convert = move |py: Python<'_>, answers: Result<Vec<Result<Settled>>>| {
            let answer = answers.and_then(|mut answers| answers.pop().unwrap_or(Err(Error::Closed)));
            lease.note(&call, before, &answer);
            let settled = or_raise(py, &title, answer)?;
            Ok(settled.yes.into_pyobject(py)?.to_owned().into_any().unbind())
        };
        run(py, &*bank.store, sink, submit, convert)
    }
}

/// For how long a finished item is kept: True for ever, False not at all, else seconds.
pub fn keep(object: &Bound<'_, PyAny>) -> PyResult<Micros> {
    if let Ok(flag) = object.extract::<bool>() {
        return Ok(if flag { NEVER } else { 0 });
    }
    span("keep", object.extract()?)
}

#[pymethods]
impl LeaseCore {
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_value(py, &self.lease.row.key)
    }

    #[getter(new)]
    fn is_new(&self) -> bool {
        self.lease.new
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_payload(py, &self.lease.row.payload)
    }

    #[getter]
    fn claim_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.lease.row.claim.as_ref().map(|claim| from_value(py, claim)).transpose()
    }

    #[getter]
    fn token(&self) -> i64 {
        self.lease.row.token
    }

    #[getter]
    fn attempts(&self) -> u32 {
        self.lease.row.attempts
    }

    #[getter]
    fn ttl(&self) -> Option<f64> {
        seconds(self.lease.ttl)
    }

    #[getter]
    fn lost(&self) -> bool {
        self.lease.is_lost()
    }

    #[getter]
    fn settled(&self) -> bool {
        self.lease.is_settled()
    }

    #[getter]
    fn ours(&self) -> bool {
        self.lease.is_ours()
    }

    #[getter]
    fn remaining(&self) -> Option<f64> {
        seconds(self.lease.remaining())
    }

    fn keep_renewed(&self) {
        self.lease.keep_renewed();
    }

    #[pyo3(signature = (timeout=None))]
    fn wait_lost(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let mut left = timeout.map(|seconds| span("timeout", seconds)).transpose()?;
        loop {
            let slice = left.map_or(100_000, |left| left.min(100_000));
            let lost = py.detach(|| self.lease.wait_lost(Some(Duration::from_micros(slice as u64))));
            py.check_signals()?;
            left = left.map(|left| left - slice);
            if lost || self.lease.is_settled() || left.is_some_and(|left| left <= 0) {
                return Ok(lost);
            }
        }
    }

    #[pyo3(signature = (result, keep, sink=None))]
    fn done<'py>(
        &self,
        py: Python<'py>,
        result: &Bound<'py, PyAny>,
        keep: &Bound<'py, PyAny>,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let call = Call::Done { result: payload("a result", result)?, keep: self::keep(keep)? };
        self.settle(py, call, sink)
    }

    #[pyo3(signature = (delay, sink=None))]
    fn release<'py>(&self, py: Python<'py>, delay: f64, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.settle(py, Call::Release { delay: span("delay", delay)? }, sink)
    }

    #[pyo3(signature = (reason, delay, sink=None))]
    fn reject<'py>(
        &self,
        py: Python<'py>,
        reason: &Bound<'py, PyAny>,
        delay: f64,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.settle(py, Call::Reject { reason: payload("a reason", reason)?, delay: span("delay", delay)? }, sink)
    }

    #[pyo3(signature = (seconds, sink=None))]
    fn extend<'py>(&self, py: Python<'py>, seconds: Option<f64>, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ttl = if seconds.is_some() { ttl(seconds)? } else { self.lease.ttl };
        self.settle(py, Call::Extend { ttl }, sink)
    }

    /// Give it back without waiting for that.
    fn abandon(&self) {
        self.lease.abandon();
    }
}
