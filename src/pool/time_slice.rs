//! Whether the thread that gives an object back may have it again although somebody waits.
//!
//! Strictly, never: what comes back goes to the first waiter. That is fair, and as fast as anything once bodies take
//! longer than a change of threads. When they take less, it makes every lease wait for a change of threads, which under
//! a GIL is all that the machine then does. So a thread whose bodies are short may keep its *turn* for a while: the
//! object goes to the first waiter as always, but until the waiter has picked it up, the giver may take it back. The
//! waiter keeps its place. When the turn is over, the giver queues like everybody else.

/// Nanoseconds on a clock that never goes back. The core reads none itself.
pub type Nanos = u64;

/// How long a turn may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A body that takes longer ends the turn: handing over costs less than the body anyway.
    pub body: Nanos,
    /// The whole turn.
    pub turn: Nanos,
}

impl Patience {
    /// No turns: every object goes to the first waiter, for good.
    pub const NONE: Patience = Patience { body: 0, turn: 0 };
}

/// What one thread has done lately with no other thread of the pool in between.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    thread: usize,
    began: Nanos,
    latest: Nanos,
}

impl Turn {
    pub(super) const NOBODY: Turn = Turn { thread: 0, began: 0, latest: 0 };

    pub(super) fn begin(thread: usize, now: Nanos) -> Self {
        Turn { thread, began: now, latest: now }
    }

    /// Ends with the arrival of another thread. The thread's own arrival changes nothing.
    pub(super) fn interrupt(&mut self, thread: usize, now: Nanos) {
        if self.thread != thread {
            *self = Turn::begin(thread, now);
        }
    }

    /// Goes on, if it is the thread's turn still; else the thread's next one begins.
    pub(super) fn go_on(&mut self, thread: usize, now: Nanos, patience: Patience) -> bool {
        let on = self.thread == thread
            && now.saturating_sub(self.latest) < patience.body
            && now.saturating_sub(self.began) < patience.turn;
        if on {
            self.latest = now;
        } else {
            *self = Turn::begin(thread, now);
        }
        on
    }
}
