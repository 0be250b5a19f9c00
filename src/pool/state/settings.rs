//! What the user chooses, when the pool is made or later.

use crate::pool::ring::Order;
use crate::pool::rules::Rules;
use crate::pool::slots::{Hold, Identity};
use crate::pool::statistics::Reason;
use crate::pool::time::Nanos;
use crate::pool::time_slice::TimeSlice;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// Chooses how long a thread with short bodies may keep an object although others wait.
    pub fn set_time_slice(&mut self, limits: TimeSlice) {
        self.slices.set_limits(limits);
    }

    /// Chooses which idle object is leased next.
    pub fn set_order(&mut self, order: Order) {
        self.idle.set_order(order);
    }

    /// Sets the rules, once, before the first object comes in. `seed` is where random numbers begin.
    pub fn set_rules(&mut self, rules: Rules, seed: u64) {
        debug_assert_eq!(self.slots.len(), 0, "the rules come first");
        self.rules = rules;
        self.tracks = rules.tracks();
        self.supply.seed(seed);
        self.update_return_path();
    }

    /// From now on each lease and each return takes the slow path, where the caller notes more about the holder than the
    /// fast path can.
    pub fn note_each_holder(&mut self) {
        if self.notes_holders {
            return;
        }
        self.notes_holders = true;
        if !self.tracks {
            self.idle.track_all();
        }
        self.update_return_path();
    }

    /// Replaces every object that is here now, one after another.
    pub fn reload(&mut self, now: Nanos) {
        for id in self.slots.ids() {
            if self.slots.get(id).hold != Hold::Vacant {
                self.slots.mark_stale(id);
            }
        }
        self.supply.make_stale();
        self.start_needed_work(now);
        self.update_return_path();
    }

    /// Sets other limits. Attempts that no longer fit are not counted on any more, surplus objects are discarded: idle ones
    /// at once, leased ones when they come back.
    pub fn resize(&mut self, min_size: usize, max_size: usize, now: Nanos) {
        (self.rules.min_size, self.rules.max_size) = (min_size, max_size);
        self.supply.forget((self.slots.len() + self.supply.making()).saturating_sub(max_size));
        while self.slots.len() + self.supply.making() > max_size
            && let Some(id) = self.idle.longest_idle()
        {
            self.idle.remove(id);
            self.discard(id, Reason::Surplus);
        }
        self.background.due_at(now);
        self.start_needed_work(now);
        self.update_return_path();
    }
}
