//! What is known of a wait when it ends, for its error.

use crate::bindings::args::timeout::Deadline;
use crate::pool::{Nanos, Spent};

/// A wait, however often it has to join the queue.
#[derive(Clone, Copy)]
pub(crate) struct Waited {
    pub(crate) since: Nanos,
    pub(crate) deadline: Deadline,
    /// What the pool had done for its waiters when the wait began.
    pub(crate) spent: Spent,
    /// Whether the thread that waits runs an event loop, which stands still meanwhile.
    pub(crate) blocks_loop: bool,
}
