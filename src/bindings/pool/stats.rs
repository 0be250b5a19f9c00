//! The statistics of a pool, as Python reads them.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::objects::pool::Pool;
use crate::pool::{BOUNDS, Histogram, Reason};

fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Discarded => "discarded",
        Reason::Unfit => "unfit",
        Reason::NotReset => "not_reset",
        Reason::Idle => "idle",
        Reason::Lifetime => "lifetime",
        Reason::Reloaded => "reloaded",
        Reason::Surplus => "surplus",
        Reason::Closed => "closed",
        Reason::Forked => "forked",
    }
}

/// Everything, of one moment.
pub(crate) fn read<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, PyDict>> {
    let (py, this) = (pool.py(), pool.get());
    let (counts, figures, rules) = this.with(py, |core| (core.counts(), *core.statistics(), *core.rules()));
    let dict = PyDict::new(py);
    for (name, value) in [
        ("size", counts.size),
        ("idle", counts.idle),
        ("leased", counts.leased),
        ("waiting", counts.waiting),
        ("creating", counts.creating),
        ("checking", counts.checking),
        ("min_size", rules.min_size),
    ] {
        dict.set_item(name, value)?;
    }
    dict.set_item("max_size", Some(rules.max_size).filter(|&size| size < usize::MAX))?;
    for (name, value) in [
        ("created", figures.created),
        ("create_failures", figures.failed),
        ("leases", figures.leases),
        ("timeouts", figures.timeouts),
        ("refused", figures.refused),
    ] {
        dict.set_item(name, value)?;
    }
    let retired = PyDict::new(py);
    for (reason, count) in Reason::ALL.into_iter().zip(figures.retired) {
        retired.set_item(name(reason), count)?;
    }
    dict.set_item("retired", retired)?;
    for (name, Histogram { buckets, sum }) in
        [("wait_time", figures.wait), ("create_time", figures.create), ("use_time", figures.hold)]
    {
        dict.set_item(name, (buckets.to_vec(), to_seconds(sum)))?;
    }
    dict.set_item("bounds", BOUNDS.map(to_seconds).to_vec())?;
    Ok(dict)
}
