//! Synchronisation: the only place that chooses a lock, and the only part outside the bindings with `unsafe` code.
//!
//! | file | holds |
//! |---|---|
//! | `guarded.rs` | [`Guarded`]: state that one thread at a time may see; [`Attached`]: proof that the interpreter's lock is held |
//! | `phase.rs` | [`Phase`]: a small state that several threads may try to advance |
//! | `parker.rs` | [`Parker`]: what one thread sleeps on until another wakes it |
//! | `thread.rs` | [`this_thread`]: a number for the calling thread |
//! | `primitives.rs` | atomics, mutex and condition variable: the standard library's, or loom's |

mod guarded;
mod parker;
mod phase;
mod primitives;
mod thread;

pub use guarded::{Attached, Guarded};
pub use parker::{Parker, Woken};
pub use phase::Phase;
pub use thread::this_thread;
