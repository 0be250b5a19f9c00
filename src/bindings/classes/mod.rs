//! What Python sees: methods, docstrings, type slots. No logic.

pub(crate) mod async_lease;
pub(crate) mod lease;
pub(crate) mod objectmgr_lease;
pub(crate) mod pool_hot;
