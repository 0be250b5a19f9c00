//! The integer manager, pure Rust: which ids are given out, and which one comes next.
//!
//! [`Ids`] is the whole of it. What it keeps does not grow with the range:
//!
//! | part | holds | memory |
//! |---|---|---|
//! | watermark | where the never-given ids begin | one word |
//! | bitmap | which ids are out | 1 bit an id below the watermark |
//! | FIFO | the ids that came back, oldest first | 4 or 8 bytes for each one waiting |
//! | lines | for the lowest first: where free ids are below the watermark | 1 bit for 512 ids, where there are any |
//! | spans | which ids must not be given | some 30 bytes for neighbours, however many |
//!
//! `DESIGN.md` says why, and has the format in which it is kept.

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
