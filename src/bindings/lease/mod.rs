//! The lease of a thread.

pub(crate) mod hot;
