//! What a pool does: wait, wake, give back, work in the background, close, fork.

pub(crate) mod background;
pub(crate) mod close;
pub(crate) mod errors;
pub(crate) mod fork;
pub(crate) mod give_back;
pub(crate) mod holders;
pub(crate) mod stats;
pub(crate) mod wait;
