//! The transitions of one slot, from which the others are composed.

use crate::pool::slots::{Hold, Identity, Maintenance, SlotId};
use crate::pool::statistics::{Reason, Spent};
use crate::pool::supply::PROMPT_FOR;
use crate::pool::time::Nanos;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// vacant → a slot of its own, in no ring yet.
    pub(super) fn place(&mut self, value: T, now: Nanos) -> SlotId {
        let id = self.slots.insert(value);
        self.idle.reserve(self.slots.capacity());
        self.acquired.reserve(&mut self.slots);
        self.statistics.created += 1;
        if let Some(lifetime) = self.rules.max_lifetime {
            let shorter = self.rules.jitter * self.supply.random();
            let expires = now.saturating_add((lifetime as f64 * (1.0 - shorter)) as Nanos);
            self.slots.record(id).expires = expires;
            self.background.due_at(expires);
        }
        id
    }

    /// vacant → idle, or handed to the first waiter, whom the caller wakes.
    pub(super) fn insert(&mut self, value: T, now: Nanos) -> (SlotId, Option<W>) {
        let id = self.place(value, now);
        (id, self.pass_on(id, now))
    }

    /// → handed to the first waiter, else idle. Keeps the invariant: the rings are filled only while nobody waits.
    pub(super) fn pass_on(&mut self, id: SlotId, now: Nanos) -> Option<W> {
        match self.waiters.hand_over(id) {
            Some((hand_over, wake)) => {
                self.slots.get(id).hold = Hold::Handed;
                self.slices.handed_over(hand_over);
                Some(wake)
            }
            None if self.rules.borrows => {
                self.discard(id, Reason::Surplus);
                None
            }
            None => {
                self.slots.get(id).hold = Hold::Idle;
                if !self.tracks {
                    if self.notes_holders {
                        self.idle.push_tracked(id)
                    } else {
                        self.idle.push_ready(id)
                    }
                    return None;
                }
                self.idle.push_tracked(id);
                self.slots.record(id).since = now;
                if let Some(limit) = self.rules.max_idle {
                    self.background.due_at(now.saturating_add(limit));
                }
                None
            }
        }
    }

    /// handed → leased.
    pub(super) fn take_over(&mut self, id: SlotId, now: Nanos) {
        self.slots.get(id).hold = Hold::Leased;
        self.statistics.leases += 1;
        self.note_begin_of_lease(id, now);
    }

    /// The beginning of a lease, however the object was taken; each lease has one.
    pub(super) fn note_begin_of_lease(&mut self, id: SlotId, now: Nanos) {
        if self.tracks {
            let record = self.slots.record(id);
            (record.since, record.reported) = (now, false);
            if let Some(limit) = self.rules.leak_after {
                self.background.due_at(now.saturating_add(limit));
            }
        }
    }

    /// The end of a lease, however the object came back; each lease has one.
    pub(super) fn note_end_of_lease(&mut self, id: SlotId, now: Nanos) {
        if self.rules.notes_leases {
            let since = self.slots.record(id).since;
            self.statistics.hold.note(now.saturating_sub(since));
        }
    }

    /// → in maintenance, until its task ends or is given up.
    pub(super) fn begin_task(&mut self, slot: SlotId, kind: Maintenance, now: Nanos) {
        let task = self.background.add_task(slot, kind);
        self.slots.get(slot).hold = Hold::InMaintenance;
        let record = self.slots.record(slot);
        (record.task, record.since) = (Some(task.key()), now);
        let limit = self.rules.check_limit.map_or(PROMPT_FOR, |limit| limit.min(PROMPT_FOR));
        self.background.due_at(now.saturating_add(limit));
        self.spent(now);
    }

    /// Out of every ring → vacant. What becomes of the value is done outside.
    pub(super) fn discard(&mut self, id: SlotId, reason: Reason) {
        let disposal = self.slots.disposal(id);
        if let Some(value) = self.remove(id, reason) {
            self.disposals.push(value, disposal);
        }
    }

    /// Out of every ring → vacant: the value is the caller's.
    pub(super) fn remove(&mut self, id: SlotId, reason: Reason) -> Option<T> {
        self.count_retired(reason);
        if self.closing.is_closed() {
            self.wake_closers();
        }
        self.slots.remove(id)
    }

    pub(super) fn count_retired(&mut self, reason: Reason) {
        self.statistics.retired[reason as usize] += 1;
    }

    /// Wakes those who wait for the end of the pool: something has changed that they wait for.
    pub(super) fn wake_closers(&mut self) {
        self.to_wake.extend(self.closing.closers().iter().cloned());
    }

    /// What the pool has been doing for those who wait, up to now. Called at each change of that.
    pub fn spent(&mut self, now: Nanos) -> Spent {
        self.stopwatch.read(now, self.supply.making() > 0, self.background.in_maintenance() > 0)
    }

    /// Settles whether a return may take the quick path while nobody waits. Called after every change that matters.
    pub(super) fn update_return_path(&mut self) {
        let surplus = self.slots.len() + self.supply.making() > self.rules.max_size;
        let rules = self.rules.resets || self.rules.borrows;
        let special = self.slots.stale() > 0 || self.slots.without_hook() > 0;
        let slow = self.tracks || self.notes_holders || rules || self.closing.is_closed() || special || surplus;
        self.waiters.set_slow_returns(slow);
    }
}
