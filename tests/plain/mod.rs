//! The pool's state where no caller is refused: answers that are one thing or the other.
#![allow(dead_code)] // no test needs all of it

use opool::pool::{Answer, Caller, Collected, Counts, Identity, SlotId, State, Ticket};

/// See the methods of [`State`] that these call.
pub trait Plain<T, W> {
    /// `add` to a pool that is neither closed nor full.
    fn put(&mut self, value: T) -> Option<W>;
    /// `lease_or_queue`.
    fn queue(&mut self, caller: Caller, wake: W) -> Result<SlotId, Ticket>;
    /// `collect`.
    fn look(&mut self, ticket: Ticket, caller: Caller) -> Result<(SlotId, Option<W>), Ticket>;
}

impl<T: Identity + std::fmt::Debug, W: Clone> Plain<T, W> for State<T, W> {
    fn put(&mut self, value: T) -> Option<W> {
        self.add(value, 0).expect("neither closed nor full")
    }

    fn queue(&mut self, caller: Caller, wake: W) -> Result<SlotId, Ticket> {
        match self.lease_or_queue(caller, wake) {
            Answer::Slot(slot) => Ok(slot),
            Answer::Queued(ticket) => Err(ticket),
            Answer::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    fn look(&mut self, ticket: Ticket, caller: Caller) -> Result<(SlotId, Option<W>), Ticket> {
        match self.collect(ticket, caller) {
            Collected::Slot(slot, wake) => Ok((slot, wake)),
            Collected::Pending(ticket) => Err(ticket),
            Collected::Refused(refusal, _) => panic!("refused: {refusal:?}"),
        }
    }
}

/// The counts of a pool in which nothing goes on in the background.
pub fn counts(size: usize, idle: usize, waiting: usize) -> Counts {
    Counts { size, idle, leased: size - idle, waiting, creating: 0, checking: 0 }
}
