//! The lease of a task.

pub(crate) mod step;
pub(crate) mod wait;
