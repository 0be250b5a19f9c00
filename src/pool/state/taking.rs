//! Taking objects, and waiting for them.

use crate::pool::requests::{Answer, Caller, Collected};
use crate::pool::slots::{Hold, Identity, SlotId};
use crate::pool::statistics::Reason;
use crate::pool::time::Nanos;
use crate::pool::waiters::{Outcome, Refusal, Ticket};

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// idle → leased, if an idle object may be leased as it is.
    #[inline(always)]
    pub fn lease(&mut self) -> Option<SlotId> {
        let id = self.idle.pop_ready()?;
        self.slots.get(id).hold = Hold::Leased;
        self.statistics.leases += 1;
        Some(id)
    }

    /// As [`lease`](Self::lease), with the look at the clock and at the object that the rules may ask for.
    pub fn take(&mut self, now: Nanos) -> Option<SlotId> {
        if !self.tracks {
            return if self.notes_holders { self.lease_tracked() } else { self.lease() };
        }
        let id = self.take_fit(now)?;
        self.slots.get(id).hold = Hold::Leased;
        self.statistics.leases += 1;
        self.note_begin_of_lease(id, now);
        Some(id)
    }

    /// As [`lease`](Self::lease), in a pool whose leases take the slow path only because the caller notes them.
    fn lease_tracked(&mut self) -> Option<SlotId> {
        let id = self.idle.pop_tracked()?;
        self.slots.get(id).hold = Hold::Leased;
        self.statistics.leases += 1;
        Some(id)
    }

    /// The next tracked object that needs no check. In order; but if that one needs a check, rather the newest than none.
    fn take_fit(&mut self, now: Nanos) -> Option<SlotId> {
        let mut first = self.idle.next_tracked()?;
        if self.slots.record(first).expires <= now && self.may_replace(now) {
            self.idle.pop_tracked();
            self.discard(first, Reason::Lifetime);
            self.replacement.add_missing();
            first = self.idle.next_tracked()?;
        }
        for id in [first, self.idle.newest_tracked()?] {
            if self.is_fit(id, now) {
                self.idle.remove(id);
                return Some(id);
            }
        }
        None
    }

    fn is_fit(&mut self, id: SlotId, now: Nanos) -> bool {
        let idle_for = now.saturating_sub(self.slots.record(id).since);
        self.rules.check_after.is_none_or(|limit| idle_for <= limit)
    }

    /// As [`take`](Self::take); else a place in the queue. One critical section, so no wake can be missed.
    pub fn lease_or_queue(&mut self, caller: Caller, wake: W) -> Answer {
        if self.closing.is_closed() {
            return Answer::Refused(Refusal::Closed);
        }
        if let Some(slot) = self.take(caller.now) {
            return Answer::Slot(slot);
        }
        if caller.nested
            && let Some(slot) = self.waiters.take_from_outer(caller.thread)
        {
            self.slices.make_final();
            self.take_over(slot, caller.now);
            self.start_needed_work(caller.now);
            return Answer::Slot(slot);
        }
        if let Some(refusal) = self.reason_not_to_queue(caller.now) {
            self.statistics.refused += 1;
            return Answer::Refused(refusal);
        }
        self.slices.queued(caller.thread, caller.now);
        let ticket = self.waiters.push(caller.thread, caller.now, caller.deadline, wake, caller.nested);
        self.start_needed_work(caller.now);
        Answer::Queued(ticket)
    }

    /// As [`take`](Self::take); else handed → leased, if the caller made the latest hand-over, its time slice goes on and
    /// the waiter has not collected. The waiter is the first in the queue again.
    pub fn lease_or_take_back(&mut self, caller: Caller) -> Option<SlotId> {
        if let Some(slot) = self.take(caller.now) {
            return Some(slot);
        }
        let hand_over = self.slices.revoke(caller.thread, caller.now)?;
        let slot = self.waiters.take_back(hand_over)?;
        self.take_over(slot, caller.now);
        self.start_needed_work(caller.now);
        Some(slot)
    }

    /// handed → leased, if the waiter was handed an object.
    pub fn collect(&mut self, ticket: Ticket, caller: Caller) -> Collected<W> {
        self.slices.make_final_for(&ticket);
        match self.waiters.collect(ticket) {
            Outcome::Queued(ticket) => Collected::Pending(ticket),
            Outcome::Refused(refusal, since, wake) => {
                self.statistics.wait.note(caller.now.saturating_sub(since));
                Collected::Refused(refusal, wake)
            }
            Outcome::Handed(slot, since, wake) => {
                self.statistics.wait.note(caller.now.saturating_sub(since));
                self.take_over(slot, caller.now);
                self.slices.collected(caller.thread, caller.now);
                Collected::Slot(slot, wake)
            }
        }
    }

    /// Leaves the queue. If the object came first (handed → leased), it is the caller's to keep or give back. The waker is
    /// to be dropped.
    pub fn cancel(&mut self, ticket: Ticket, now: Nanos) -> (Option<SlotId>, Option<W>) {
        self.slices.make_final_for(&ticket);
        self.statistics.wait.note(now.saturating_sub(self.waiters.since(&ticket)));
        let (slot, wake) = self.waiters.cancel(ticket);
        match slot {
            Some(slot) => self.take_over(slot, now),
            None => self.supply.abandon_oldest(),
        }
        (slot, wake)
    }

    /// Ends the waits whose deadline has passed; returns the next deadline.
    pub fn expire(&mut self, now: Nanos) -> Option<Nanos> {
        let expired = self.waiters.expire(now);
        expired.iter().for_each(|_| self.supply.abandon_oldest());
        self.to_wake.extend(expired);
        self.next_deadline()
    }

    /// The earliest deadline of those who wait, if any has one.
    pub fn next_deadline(&self) -> Option<Nanos> {
        Some(self.waiters.next_deadline()).filter(|&deadline| deadline < Nanos::MAX)
    }

    /// Has the next follow-up wake somebody.
    pub fn wake_later(&mut self, wake: W) {
        self.to_wake.push_back(wake);
    }
}
