//! What time alone makes due.

use crate::pool::slots::{Hold, Identity, SlotId};
use crate::pool::statistics::Reason;
use crate::pool::supply::PROMPT_FOR;
use crate::pool::time::Nanos;
use crate::pool::work::Report;

use super::State;

/// Each tenth of `max_idle`, at most half of the objects that have been idle for too long are discarded.
const PRUNE_PARTS: Nanos = 10;

impl<T: Identity, W: Clone> State<T, W> {
    /// When something is due again; `None` if never.
    pub fn due(&self) -> Option<Nanos> {
        Some(self.background.due()).filter(|&due| due < Nanos::MAX)
    }

    /// Finds what is due, and when something is due again.
    pub(super) fn process_deadlines(&mut self, now: Nanos) {
        self.background.set_due(Nanos::MAX);
        let mut idle_too_long = Vec::new();
        for id in self.slots.ids() {
            let record = *self.slots.record(id);
            match self.slots.get(id).hold {
                Hold::Vacant => continue,
                Hold::Handed => {}
                Hold::Idle => {
                    let over = self.rules.max_idle.map_or(Nanos::MAX, |limit| record.since.saturating_add(limit));
                    if over <= now {
                        idle_too_long.push((record.since, id));
                    } else {
                        self.background.due_at(over);
                    }
                }
                Hold::Leased | Hold::Acquired => self.report_leak(id, now),
                Hold::InMaintenance => {
                    if self.watch_task(id, now) {
                        continue;
                    }
                }
            }
            if record.expires <= now {
                self.slots.mark_stale(id);
            } else {
                self.background.due_at(record.expires);
            }
        }
        self.discard_idle(idle_too_long, now);
        self.give_up_attempts(now);
        self.background.due_at(self.supply.due(now, self.rules.make_limit));
        self.background.due_at(self.disposals.vacates_at(now));
        self.start_needed_work(now);
        self.update_return_path();
    }

    /// Reports a lease that lasts too long, once.
    fn report_leak(&mut self, id: SlotId, now: Nanos) {
        let Some(limit) = self.rules.leak_after else { return };
        let record = self.slots.record(id);
        if record.reported {
            return;
        }
        let over = record.since.saturating_add(limit);
        if over <= now {
            record.reported = true;
            self.background.report(Report::Leak(id));
        } else {
            self.background.due_at(over);
        }
    }

    /// Gives a task up that has taken too long. True if nothing else about its slot is to be looked at.
    fn watch_task(&mut self, id: SlotId, now: Nanos) -> bool {
        let since = self.slots.record(id).since;
        let slow = since.saturating_add(PROMPT_FOR);
        if slow > now {
            self.background.due_at(slow);
        }
        let Some(limit) = self.rules.check_limit else { return true };
        let over = since.saturating_add(limit);
        if over <= now {
            self.give_up_task(id);
            return true;
        }
        self.background.due_at(over);
        false
    }

    /// Gives attempts up that have taken too long.
    fn give_up_attempts(&mut self, now: Nanos) {
        let Some(limit) = self.rules.make_limit else { return };
        let given_up = self.supply.give_up(now, limit);
        self.statistics.failed += given_up as u64;
        for _ in 0..given_up {
            self.background.report(Report::GaveUpMaking);
        }
        if given_up > 0 {
            self.making_failed(now);
        }
    }

    /// Discards at most half of those that have been idle for too long, the oldest first, and never below `min_size`.
    fn discard_idle(&mut self, mut idle_too_long: Vec<(Nanos, SlotId)>, now: Nanos) {
        let Some(limit) = self.rules.max_idle else { return };
        let spare = (self.slots.len() + self.supply.making()).saturating_sub(self.rules.min_size);
        let may_leave = spare.min(idle_too_long.len());
        idle_too_long.sort_by_key(|&(since, _)| since);
        let leave = may_leave.div_ceil(2);
        for &(_, id) in &idle_too_long[..leave] {
            self.idle.remove(id);
            self.discard(id, Reason::Idle);
        }
        if may_leave > leave {
            self.background.due_at(now.saturating_add(limit / PRUNE_PARTS));
        }
    }
}
