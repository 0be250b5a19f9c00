//! CPython as opool uses it: calls, exceptions, reference counts, type slots. Knows nothing of pools.
//!
//! [`python_side`] is the one place that names Python functions.

pub(crate) mod call;
pub(crate) mod drop;
pub(crate) mod exception;
#[cfg(not(Py_3_14))]
pub(crate) mod exit_guard;
pub(crate) mod interrupt;
pub(crate) mod keywords;
pub(crate) mod names;
pub(crate) mod python_side;
pub(crate) mod refcount;
pub(crate) mod refusal;
#[cfg(not(Py_3_14))]
pub(crate) mod self_method;
pub(crate) mod shown;
pub(crate) mod slots;
pub(crate) mod stop_iteration;
pub(crate) mod values;
