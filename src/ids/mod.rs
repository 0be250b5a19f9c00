//! The integer manager, pure Rust: which ids are allocated, and which one comes next.
//!
//! [`Ids`] is the whole of it. What it keeps does not grow with the range:
//!
//! | part | holds | memory |
//! |---|---|---|
//! | watermark | where the never-allocated ids begin | one word |
//! | bitmap | which ids are allocated | 1 bit an id below the watermark |
//! | queue | the freed ids, oldest first | 4 or 8 bytes for each of them |
//! | lines | for the order `lowest`: where free ids are below the watermark | 1 bit for 512 ids, where there are any |
//! | spans | which ids are excluded | some 30 bytes for a run of ids of any length |
//!
//! `DESIGN.md` says why, and specifies the format of a dump.

mod batch;
mod bitmap;
mod block;
mod bounds;
mod claiming;
mod errors;
mod fifo;
mod format;
mod freed;
mod lending;
mod lent;
mod lowest;
mod manager;
mod orders;
mod page;
mod random;
mod roaring;
mod spans;
mod sparse;
mod taking;
mod views;

pub use batch::Sink;
pub use errors::{Error, Refusal, Unreadable};
pub use freed::Order;
pub use manager::Ids;
