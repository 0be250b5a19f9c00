//! The lease of a task.

pub(crate) mod step;
pub(crate) mod transitions;
pub(crate) mod wait;
