//! The arguments of calls and constructors, and what they mean.

pub(crate) mod clock;
pub(crate) mod hooks;
pub(crate) mod options;
pub(crate) mod timeout;
