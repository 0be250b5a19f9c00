//! What should be checked, made or replaced next.

use crate::pool::slots::{Disposal, Hold, Identity, Maintenance, SlotId};
use crate::pool::statistics::Reason;
use crate::pool::supply::PROMPT_FOR;
use crate::pool::time::Nanos;
use crate::pool::waiters::Refusal;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// How many attempts to make an object should begin.
    pub fn wanted(&self, now: Nanos) -> usize {
        if !self.rules.makes || self.closing.is_closed() {
            return 0;
        }
        let all = self.slots.len() + self.supply.making();
        let waiting = self.waiters.len();
        let for_waiters = waiting.saturating_sub(self.supply.promising(now) + self.checks_that_promise(now));
        let for_waiters = for_waiters.min((2 * waiting).saturating_sub(self.supply.awaited()));
        let need = for_waiters
            .max(usize::from(self.supply.has_unmet_demand()))
            .max(self.rules.min_size.saturating_sub(all))
            .max(self.replacement.missing());
        let leaving = if self.rules.disposes { self.disposals.occupying(now) } else { 0 };
        let room = self.rules.max_size.saturating_sub(all + leaving);
        need.min(room).min(self.supply.may_begin(now))
    }

    /// How many objects in maintenance a waiter may count on. A check that takes long probably hangs.
    pub(super) fn checks_that_promise(&self, now: Nanos) -> usize {
        if self.background.in_maintenance() == 0 {
            return 0;
        }
        let in_maintenance = self.slots.iter().filter(|(slot, _)| slot.hold == Hold::InMaintenance);
        in_maintenance.filter(|(_, record)| now.saturating_sub(record.since) < PROMPT_FOR).count()
    }

    /// Starts what the waiters need: tracked idle objects are checked, and ([`wanted`](Self::wanted)) others are made.
    /// Called after every change.
    pub(super) fn start_needed_work(&mut self, now: Nanos) {
        if self.closing.is_closed() {
            return;
        }
        let making = self.supply.making();
        self.replacement.limit(self.rules.max_size.saturating_sub(self.slots.len() + making), making);
        // Whatever is being made: that may take long, or never end.
        while self.waiters.len() > self.checks_that_promise(now)
            && let Some(id) = self.idle.pop_tracked()
        {
            self.begin_task(id, Maintenance::Check, now);
        }
        self.replace_next(now);
        self.spent(now);
    }

    /// Notes that a caller found nothing and does not wait: the next one is to find something, if that can be helped.
    pub fn note_demand(&mut self, now: Nanos) {
        if self.closing.is_closed() || !self.waiters.is_empty() || self.checks_that_promise(now) > 0 {
            return;
        }
        match self.idle.pop_tracked() {
            Some(id) => self.begin_task(id, Maintenance::Check, now),
            None => self.supply.note_demand(),
        }
    }

    /// Whether a caller is refused at once: nothing could come, or too many wait for what others hold.
    pub(super) fn reason_not_to_queue(&self, now: Nanos) -> Option<Refusal> {
        let size = self.slots.len();
        if size == 0 && self.supply.tripped() {
            // One at a time waits for the next attempt: the one whose wait makes it begin.
            let waits_for_attempt = self.supply.may_begin(now) > 0 && self.waiters.is_empty();
            if !waits_for_attempt {
                return Some(Refusal::Failed);
            }
        }
        let making = self.supply.making();
        let room = if self.rules.makes { self.rules.max_size.saturating_sub(size + making) } else { 0 };
        let coming = making + self.background.in_maintenance() + self.idle.tracked_len() + room;
        let waiting = self.waiters.len();
        (waiting >= coming && waiting - coming >= self.rules.max_waiting).then_some(Refusal::TooMany)
    }

    /// Whether an object that has come back is to leave the pool, and why.
    pub(super) fn reason_to_discard(&mut self, id: SlotId, now: Nanos) -> Option<Reason> {
        if self.slots.disposal(id) == Disposal::Leak {
            return Some(Reason::Forked);
        }
        if self.closing.is_closed() {
            return Some(Reason::Closed);
        }
        if self.slots.len() + self.supply.making() > self.rules.max_size {
            return Some(Reason::Surplus);
        }
        let expired = self.slots.record(id).expires <= now;
        if expired {
            self.slots.mark_stale(id);
        }
        if self.slots.is_stale(id) && (self.replacement.has_surplus() || self.may_replace(now)) {
            self.replacement.stale_left();
            return Some(if expired { Reason::Lifetime } else { Reason::Reloaded });
        }
        None
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Replacing

    /// Whether a stale object may leave: one at a time, and not while no other can be made.
    pub(super) fn may_replace(&self, now: Nanos) -> bool {
        self.rules.makes
            && !self.closing.is_closed()
            && !self.supply.failed_lately(now)
            && self.supply.making() == 0
            && self.replacement.is_settled()
    }

    /// Replaces stale objects, one after another: where there is room, the new one comes before the old one leaves.
    fn replace_next(&mut self, now: Nanos) {
        while self.replacement.has_surplus()
            && let Some(id) = self.stale_idle()
        {
            self.replace_idle(id, now);
        }
        if self.slots.stale() == 0 {
            self.replacement.forget_surplus();
            return;
        }
        if self.replacement.has_surplus() || !self.may_replace(now) {
            return;
        }
        if self.slots.len() < self.rules.max_size {
            self.replacement.make_ahead();
        } else if let Some(id) = self.stale_idle() {
            self.replace_idle(id, now);
        }
    }

    fn replace_idle(&mut self, id: SlotId, now: Nanos) {
        self.idle.remove(id);
        self.replacement.stale_left();
        let expired = self.slots.record(id).expires <= now;
        self.discard(id, if expired { Reason::Lifetime } else { Reason::Reloaded });
    }

    fn stale_idle(&self) -> Option<SlotId> {
        if self.slots.stale() == 0 {
            return None;
        }
        self.idle.iter().find(|&id| self.slots.is_stale(id))
    }
}
