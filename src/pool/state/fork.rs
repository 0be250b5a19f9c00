//! The new start of a pool in the child after a fork.

use crate::pool::requests::Forked;
use crate::pool::slots::{Disposal, Hold, Identity};
use crate::pool::statistics::Reason;
use crate::pool::time::Nanos;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// Settles that no thread but `survivor` exists any more, which is what a fork does to the child.
    ///
    /// Waiters of other threads are forgotten, and what they had been handed is free again. `orphaned` is asked of each
    /// leased or acquired value whether its holder no longer exists; then it is free again too. But a pool that makes its
    /// objects starts anew: what is free stays the other process's, and so does, once it comes back, what the survivor
    /// holds. The same holds in a closed pool, where nothing is leased any more.
    ///
    /// `runs_here` tells of a waker whose waiter has no thread of its own whether it runs in the survivor's.
    pub fn keep_only(
        &mut self,
        survivor: usize,
        runs_here: impl Fn(&W) -> bool,
        mut orphaned: impl FnMut(&mut T, Hold) -> bool,
    ) -> Forked<T, W> {
        self.slices.make_final();
        let (mut wakers, mut free) = self.waiters.keep_only(survivor, &runs_here);
        wakers.extend(self.background.start_anew());
        let (mut wake, gone): (Vec<W>, Vec<W>) = std::mem::take(&mut self.to_wake).into_iter().partition(&runs_here);
        wakers.extend(gone);
        wakers.extend(self.closing.take_closers());
        self.supply.start_anew();
        self.disposals.start_anew();
        self.replacement.start_anew();
        for id in self.slots.ids() {
            let slot = self.slots.get(id);
            let hold = slot.hold;
            let out = matches!(hold, Hold::Leased | Hold::Acquired);
            let orphan = out && slot.value.as_mut().is_some_and(|value| orphaned(value, hold));
            if orphan && hold == Hold::Acquired {
                self.acquired.remove_slot(id, &mut self.slots);
            }
            if orphan || hold == Hold::InMaintenance {
                free.push(id);
            }
        }
        let mut inherited: Vec<T> = self.disposals.drain().map(|(value, _)| value).collect();
        let mut borrowed = if self.rules.borrows { std::mem::take(&mut inherited) } else { Vec::new() };
        if self.rules.makes || self.closing.is_closed() {
            while let Some(id) = self.idle.pop_any() {
                free.push(id);
            }
            for id in free {
                inherited.extend(self.remove(id, Reason::Forked));
            }
            for id in self.slots.ids() {
                if self.slots.get(id).hold != Hold::Vacant {
                    self.slots.set_disposal(id, Disposal::Leak);
                }
            }
        } else {
            wake.extend(free.into_iter().filter_map(|id| self.pass_on(id, 0)));
            borrowed.extend(self.disposals.drain().map(|(value, _)| value));
            self.slices.make_final();
        }
        self.background.set_due(if self.rules.uses_background() { 0 } else { Nanos::MAX });
        self.update_return_path();
        Forked { wakers, inherited, borrowed, wake }
    }
}
