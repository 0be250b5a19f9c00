//! The end of a pool.

use crate::pool::slots::{Disposal, Hold, Identity};
use crate::pool::statistics::Reason;
use crate::pool::waiters::Refusal;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// Closes the pool: nothing is leased any more, those who wait are refused, and what comes back is discarded. False if
    /// it was closed before.
    ///
    /// With `force`, leased objects are disposed of as well, while their holders have them: `copy` makes another reference
    /// to each.
    pub fn close(&mut self, force: Option<&mut dyn FnMut(&T) -> T>) -> bool {
        let first = self.closing.close();
        if first {
            // Hand-overs stay: a waiter that went back to the queue now would not be refused.
            self.slices.make_final();
            self.to_wake.extend(self.waiters.refuse_all(Refusal::Closed));
            while let Some(id) = self.idle.pop_any() {
                self.discard(id, Reason::Closed);
            }
            while let Some(task) = self.background.next_task() {
                self.background.end_task();
                self.discard(task.slot, Reason::Closed);
            }
            self.to_wake.extend(self.background.workers.wake_all());
        }
        if let Some(copy) = force {
            self.closing.force();
            for id in self.slots.ids() {
                let whole = self.slots.disposal(id) == Disposal::Hook;
                let slot = self.slots.get(id);
                let out = matches!(slot.hold, Hold::Leased | Hold::Acquired | Hold::Handed);
                if let Some(value) = slot.value.as_ref().filter(|_| out && whole) {
                    self.disposals.push(copy(value), Disposal::Hook);
                    self.slots.set_disposal(id, Disposal::Drop);
                }
            }
        }
        self.update_return_path();
        first
    }

    /// Whether the pool is closed.
    pub fn is_closed(&self) -> bool {
        self.closing.is_closed()
    }

    /// Whether every object is back; and whether nothing is being done any more either.
    pub fn is_over(&self) -> (bool, bool) {
        let in_maintenance = self.background.in_maintenance();
        let back = self.closing.is_closed() && (self.closing.is_forced() || self.slots.len() == in_maintenance);
        let unfinished = in_maintenance + self.supply.making() + self.disposals.len() + self.background.workers.total;
        (back, back && unfinished == 0)
    }

    /// Has `closer` woken at each step towards the end of the pool, until [`remove_closers`](Self::remove_closers).
    pub fn add_closer(&mut self, closer: W) {
        self.closing.add_closer(closer);
    }

    /// Forgets those who waited for the end and for whom `is_it` is true; the wakers are to be dropped.
    pub fn remove_closers(&mut self, is_it: impl Fn(&W) -> bool) -> Vec<W> {
        self.closing.remove_closers(is_it)
    }

    /// Empties the pool: every idle value, in order, and everything else that will not be given back any more. Leases stay
    /// valid.
    pub fn drain(&mut self) -> Vec<T> {
        self.background.clear_tasks();
        let ours = |&(_, disposal): &(T, Disposal)| disposal != Disposal::Leak;
        let mut values: Vec<T> = self.disposals.drain().filter(ours).map(|(value, _)| value).collect();
        while let Some(id) = self.idle.pop_any() {
            values.extend(self.remove(id, Reason::Closed));
        }
        for id in self.slots.ids() {
            match self.slots.get(id).hold {
                Hold::Acquired => self.acquired.remove_slot(id, &mut self.slots),
                Hold::InMaintenance => self.background.end_task(),
                _ => continue,
            }
            let ours = self.slots.disposal(id) != Disposal::Leak;
            values.extend(self.remove(id, Reason::Closed).filter(|_| ours));
        }
        values
    }
}
