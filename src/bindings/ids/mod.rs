//! The id manager.

pub(crate) mod batch;
pub(crate) mod dump;
pub(crate) mod hot;
pub(crate) mod object;
pub(crate) mod range;
