//! CPython, as opool uses it: calls, reference counts, type slots. Knows nothing of pools.

pub(crate) mod call;
pub(crate) mod raw;
pub(crate) mod refcount;
pub(crate) mod self_descriptor;
pub(crate) mod stop_iteration;
