//! What callers pass to the pool's state, and what they get back.

use super::slots::SlotId;
use super::time::Nanos;
use super::waiters::{Refusal, Ticket};

/// The caller: which thread, and when. Thread number 0 belongs to no thread.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// A number that no other living thread has.
    pub thread: usize,
    /// The time, read by the caller.
    pub now: Nanos,
    /// Whether the thread may be waiting already, further up its stack.
    pub nested: bool,
    /// When [`State::expire`](super::State::expire) is to end its wait; `Nanos::MAX` if it looks at the clock itself.
    pub deadline: Nanos,
}

/// What a caller who asks for an object gets.
#[derive(Debug)]
pub enum Answer {
    /// The object.
    Slot(SlotId),
    /// A place in the queue.
    Queued(Ticket),
    /// Nothing.
    Refused(Refusal),
}

/// What became of a place in the queue. The waker is to be dropped.
pub enum Collected<W> {
    /// The object was handed over: here it is.
    Slot(SlotId, Option<W>),
    /// The wait has ended without an object.
    Refused(Refusal, Option<W>),
    /// Neither yet; the ticket is still good.
    Pending(Ticket),
}

/// Why an object could not be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAcquired {
    /// It never was in this pool, or has left it for good.
    Foreign,
    /// It is idle: it was released before.
    Idle,
    /// A lease holds it, and the lease gives it back.
    Leased,
}

/// What a fork leaves for the caller to drop, forget, or wake.
pub struct Forked<T, W> {
    /// What used to wake threads that do not exist here.
    pub wakers: Vec<W>,
    /// Values of the other process: never to be touched again.
    pub inherited: Vec<T>,
    /// Values that were borrowed and have no holder here: they go back to their lender.
    pub borrowed: Vec<T>,
    /// Whom to wake.
    pub wake: Vec<W>,
}
