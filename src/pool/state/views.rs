//! What a pool shows of itself.

use crate::pool::rules::Rules;
use crate::pool::slots::{Disposal, Hold, Identity, SlotId};
use crate::pool::statistics::{Counts, Statistics};
use crate::pool::supply::Failing;
use crate::pool::time::Nanos;
use crate::pool::waiters::Ticket;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// The value in a slot.
    #[inline(always)]
    pub fn value_mut(&mut self, id: SlotId) -> Option<&mut T> {
        self.slots.get(id).value.as_mut()
    }

    /// Every value, with what it is doing, and since when; 0 if unknown.
    pub fn values(&self) -> impl Iterator<Item = (SlotId, &T, Hold, Nanos)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, (slot, record))| {
            slot.value.as_ref().map(|value| (SlotId::new(index), value, slot.hold, record.since))
        })
    }

    /// The values that have left the pool and are still here.
    pub fn leaving(&self) -> impl Iterator<Item = &T> {
        self.disposals.pending()
    }

    /// What wakes those who wait, or were woken and have not looked yet.
    pub fn wakers(&self) -> impl Iterator<Item = &W> {
        self.waiters.wakers()
    }

    /// How many objects there are, and what they do.
    pub fn counts(&self) -> Counts {
        let (size, idle) = (self.slots.len(), self.idle.len());
        Counts {
            size,
            idle,
            leased: size - idle,
            waiting: self.waiters.len(),
            creating: self.supply.making(),
            checking: self.background.in_maintenance(),
        }
    }

    /// What has happened so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether there may ever be something to do in the background.
    pub fn uses_background(&self) -> bool {
        self.rules.uses_background()
    }

    /// Whether it is known exactly how long each object has been leased.
    pub fn tracks_leases(&self) -> bool {
        self.tracks
    }

    /// Whether the value in a slot is this process's, and not disposed of.
    pub fn may_touch(&mut self, id: SlotId) -> bool {
        self.slots.disposal(id) == Disposal::Hook
    }

    /// What is known about making objects, while it fails.
    pub fn failing(&self, now: Nanos) -> Option<Failing> {
        self.supply.failure(now)
    }

    /// Counts a caller who got nothing in time.
    pub fn note_timeout(&mut self) {
        self.statistics.timeouts += 1;
    }

    /// How many stand in the queue before the holder of the ticket.
    pub fn ahead_of(&self, ticket: &Ticket) -> Option<usize> {
        self.waiters.ahead_of(ticket)
    }

    /// Notes that somebody looked at who holds what: from now on it is known how long, at least. `is_new` is asked of
    /// each value that is leased or acquired, once for each holder.
    pub fn note_holders(&mut self, now: Nanos, mut is_new: impl FnMut(&mut T) -> bool) {
        if self.tracks {
            return;
        }
        for id in self.slots.ids() {
            let slot = self.slots.get(id);
            let out = matches!(slot.hold, Hold::Leased | Hold::Acquired);
            if out && slot.value.as_mut().is_some_and(&mut is_new) {
                self.slots.record(id).since = now;
            }
        }
    }

    /// Whether nothing can come back, because all who hold something wait for this pool themselves. `holder` tells who
    /// has a value that is leased or acquired.
    pub fn is_stuck(&self, holder: impl Fn(&T, Hold) -> usize) -> bool {
        let counts = self.counts();
        let nothing_comes = counts.size > 0 && counts.idle + counts.creating + counts.checking == 0;
        nothing_comes
            && self.wanted(Nanos::MAX) == 0
            && self.values().all(|(_, value, hold, _)| {
                matches!(hold, Hold::Leased | Hold::Acquired) && {
                    let holder = holder(value, hold);
                    self.waiters.threads().any(|thread| thread == holder)
                }
            })
    }
}
