//! The statistics of a pool, as Python reads them.

use std::ffi::CStr;

use pyo3::prelude::*;

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::ffi::keywords::Keywords;
use crate::bindings::ffi::values::{count, float, list, tuple};
use crate::bindings::objects::pool::Pool;
use crate::pool::{BOUNDS, Histogram, Reason};

fn name(reason: Reason) -> &'static CStr {
    match reason {
        Reason::Discarded => c"discarded",
        Reason::Unfit => c"unfit",
        Reason::NotReset => c"not_reset",
        Reason::Idle => c"idle",
        Reason::Lifetime => c"lifetime",
        Reason::Reloaded => c"reloaded",
        Reason::Surplus => c"surplus",
        Reason::Closed => c"closed",
        Reason::Forked => c"forked",
    }
}

/// Everything, of one moment.
pub(crate) fn read<'py>(pool: &Bound<'py, Pool>) -> PyResult<Keywords<'py>> {
    let (py, this) = (pool.py(), pool.get());
    let (counts, figures, rules) = this.with(py, |core| (core.counts(), *core.statistics(), *core.rules()));
    let mut retired = Keywords::new(py)?;
    for (reason, retired_so_far) in Reason::ALL.into_iter().zip(figures.retired) {
        retired = retired.object(name(reason), &count(py, retired_so_far)?)?;
    }
    let mut read = Keywords::new(py)?
        .count(c"size", counts.size)?
        .count(c"idle", counts.idle)?
        .count(c"leased", counts.leased)?
        .count(c"waiting", counts.waiting)?
        .count(c"creating", counts.creating)?
        .count(c"checking", counts.checking)?
        .count(c"min_size", rules.min_size)?
        .maybe_count(c"max_size", Some(rules.max_size).filter(|&size| size < usize::MAX))?
        .object(c"created", &count(py, figures.created)?)?
        .object(c"create_failures", &count(py, figures.failed)?)?
        .object(c"leases", &count(py, figures.leases)?)?
        .object(c"timeouts", &count(py, figures.timeouts)?)?
        .object(c"refused", &count(py, figures.refused)?)?
        .object(c"retired", retired.as_dict())?;
    for (name, Histogram { buckets, sum }) in
        [(c"wait_time", figures.wait), (c"create_time", figures.create), (c"use_time", figures.hold)]
    {
        let buckets = list(py, buckets.iter().map(|&bucket| count(py, bucket)))?;
        read = read.object(name, &tuple(py, &[&buckets, &float(py, to_seconds(sum))?])?)?;
    }
    let bounds = list(py, BOUNDS.iter().map(|&bound| float(py, to_seconds(bound))))?;
    read.object(c"bounds", &bounds)
}
