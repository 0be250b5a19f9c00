//! What a pool does: wait, wake, give back, work in the background, close, fork.

pub(crate) mod add;
pub(crate) mod asker;
pub(crate) mod background;
pub(crate) mod borrow;
pub(crate) mod close;
pub(crate) mod errors;
pub(crate) mod expire;
pub(crate) mod fork;
pub(crate) mod give_back;
pub(crate) mod holders;
pub(crate) mod job;
pub(crate) mod log;
pub(crate) mod sleep;
pub(crate) mod stats;
pub(crate) mod wait;
pub(crate) mod wake;
