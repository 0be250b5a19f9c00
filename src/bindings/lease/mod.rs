//! The lease of a thread.

pub(crate) mod by_hand;
pub(crate) mod errors;
pub(crate) mod hot;
pub(crate) mod shell;
