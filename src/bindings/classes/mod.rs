//! What Python sees: methods, docstrings, type slots. No logic.

pub(crate) mod async_lease;
pub(crate) mod docs;
pub(crate) mod job;
pub(crate) mod lease;
pub(crate) mod objectmgr;
pub(crate) mod pool;
pub(crate) mod pool_future;
pub(crate) mod private;
