//! Objects that come in.

use crate::pool::slots::{Identity, SlotId};
use crate::pool::time::Nanos;
use crate::pool::waiters::Refusal;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// vacant → idle, or straight to the first waiter, whom the caller wakes.
    ///
    /// # Errors
    /// The value comes back if the pool is closed, or full.
    pub fn add(&mut self, value: T, now: Nanos) -> Result<Option<W>, (T, Refusal)> {
        if self.closing.is_closed() {
            return Err((value, Refusal::Closed));
        }
        if self.slots.len() + self.supply.making() >= self.rules.max_size {
            return Err((value, Refusal::TooMany));
        }
        let (_, wake) = self.insert(value, now);
        self.slices.make_final();
        self.start_needed_work(now);
        self.update_return_path();
        Ok(wake)
    }

    /// vacant → leased: what was borrowed for the caller, who takes it while nobody waits.
    pub fn borrow(&mut self, value: T, now: Nanos) -> SlotId {
        let id = self.place(value, now);
        self.take_over(id, now);
        id
    }
}
