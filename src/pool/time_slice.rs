//! Whether the thread that returns an object may lease it again although others wait.
//!
//! Strictly, never: a returned object goes to the first waiter. That is fair, and costs nothing once bodies take longer
//! than a switch of threads. When they take less, every lease waits for a switch of threads, which under a GIL is then
//! all that the machine does. So a thread whose bodies are short may keep the object for its *time slice*: the object is
//! handed to the first waiter as always, but until the waiter has collected it, the thread that returned it may take it
//! back. The waiter keeps its place. When the slice is over, that thread queues like every other.

use super::time::Nanos;
use super::waiters::{HandOver, Ticket};

/// How long a time slice may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSlice {
    /// A body that takes longer ends the slice: a switch of threads costs less than the body anyway.
    pub body: Nanos,
    /// The whole slice.
    pub whole: Nanos,
}

impl TimeSlice {
    /// No slices: every hand-over is final.
    pub const NONE: TimeSlice = TimeSlice { body: 0, whole: 0 };
}

/// What one thread has done lately with no other thread of the pool in between.
#[derive(Clone, Copy)]
struct Slice {
    thread: usize,
    began: Nanos,
    latest: Nanos,
}

/// The current time slice, and the hand-over that its thread may revoke.
pub(super) struct TimeSlices {
    limits: TimeSlice,
    current: Slice,
    /// The latest hand-over, while the thread that made it may take the object back.
    revocable: Option<HandOver>,
}

impl TimeSlices {
    pub(super) fn new() -> Self {
        let nobody = Slice { thread: 0, began: 0, latest: 0 };
        TimeSlices { limits: TimeSlice::NONE, current: nobody, revocable: None }
    }

    pub(super) fn set_limits(&mut self, limits: TimeSlice) {
        self.limits = limits;
    }

    /// An object was handed over. It may be taken back until the waiter looks, or something ends that.
    pub(super) fn handed_over(&mut self, hand_over: HandOver) {
        self.revocable = Some(hand_over);
    }

    pub(super) fn may_take_back(&self) -> bool {
        self.revocable.is_some()
    }

    /// Makes the latest hand-over final.
    pub(super) fn make_final(&mut self) {
        self.revocable = None;
    }

    /// Makes the latest hand-over final if it was made to this waiter, who is about to look.
    pub(super) fn make_final_for(&mut self, ticket: &Ticket) {
        self.revocable = self.revocable.filter(|hand_over| !hand_over.is_for(ticket));
    }

    /// The hand-over that the thread may revoke, if its slice goes on. Either way it is no longer revocable.
    pub(super) fn revoke(&mut self, thread: usize, now: Nanos) -> Option<HandOver> {
        let hand_over = self.revocable.take()?;
        self.go_on(thread, now).then_some(hand_over)
    }

    /// A thread joins the queue: that ends another thread's slice. Its own goes on.
    pub(super) fn queued(&mut self, thread: usize, now: Nanos) {
        if self.current.thread != thread {
            self.begin(thread, now);
        }
        self.revocable = None;
    }

    /// A thread has collected an object: its slice begins, and what the thread before it handed over is final.
    pub(super) fn collected(&mut self, thread: usize, now: Nanos) {
        self.begin(thread, now);
        self.revocable = None;
    }

    /// Extends the thread's slice; if it is over, or another thread's, begins the thread's next one.
    pub(super) fn go_on(&mut self, thread: usize, now: Nanos) -> bool {
        let Slice { thread: current, began, latest } = self.current;
        let on = current == thread
            && now.saturating_sub(latest) < self.limits.body
            && now.saturating_sub(began) < self.limits.whole;
        if on {
            self.current.latest = now;
        } else {
            self.begin(thread, now);
        }
        on
    }

    fn begin(&mut self, thread: usize, now: Nanos) {
        self.current = Slice { thread, began: now, latest: now };
    }
}
