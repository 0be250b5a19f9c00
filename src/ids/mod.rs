//! The integer manager, pure Rust: which ids are given out, and which one comes next.
//!
//! [`Ids`] is the whole of it. It keeps three things, and none of them grows with the range:
//!
//! | part | holds | memory |
//! |---|---|---|
//! | watermark | where the never-given ids begin | one word |
//! | bitmap | which ids are out | 1 bit an id below the watermark |
//! | FIFO | the ids that came back, oldest first | 4 or 8 bytes for each one waiting |

mod bitmap;
mod block;
mod fifo;
mod manager;

pub use manager::{Error, Ids};
