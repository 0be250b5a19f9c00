//! How attempts to make an object end.

use crate::pool::slots::{Disposal, Identity};
use crate::pool::statistics::Reason;
use crate::pool::supply::Attempt;
use crate::pool::time::Nanos;
use crate::pool::waiters::Refusal;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// An attempt succeeded. The value is handed to a waiter or becomes idle; or it comes too late (the attempt was given
    /// up, or the pool became smaller), and is to be disposed of.
    pub fn finish_attempt(&mut self, attempt: Attempt, value: T, now: Nanos) {
        let ended = self.supply.end(attempt, now, true);
        if let Some(ended) = &ended {
            self.statistics.create.note(ended.took);
        }
        let closed = self.closing.is_closed();
        let room = self.slots.len() + self.supply.making() < self.rules.max_size;
        if closed || !room {
            self.statistics.created += 1;
            self.count_retired(if closed { Reason::Closed } else { Reason::Surplus });
            self.disposals.push(value, Disposal::Hook);
            if ended.is_some() {
                self.replacement.attempt_failed();
            }
        } else {
            let (id, wake) = self.insert(value, now);
            self.slices.make_final();
            self.to_wake.extend(wake);
            if ended.is_some_and(|ended| ended.stale) {
                self.slots.mark_stale(id);
            }
            self.replacement.value_joined();
        }
        self.start_needed_work(now);
        self.update_return_path();
    }

    /// An attempt failed. If no object is left that could come back, those who wait are refused.
    pub fn fail_attempt(&mut self, attempt: Attempt, now: Nanos) {
        if self.supply.end(attempt, now, false).is_some() {
            self.statistics.failed += 1;
            self.making_failed(now);
        }
    }

    /// An attempt was cancelled from outside, or never begun: another one may begin.
    pub fn cancel_attempt(&mut self, attempt: Attempt, now: Nanos) {
        if self.supply.cancel(attempt) {
            self.replacement.attempt_failed();
            self.start_needed_work(now);
            self.update_return_path();
        }
    }

    pub(super) fn making_failed(&mut self, now: Nanos) {
        self.replacement.attempt_failed();
        if self.slots.len() == 0 && self.supply.making() == 0 {
            self.to_wake.extend(self.waiters.refuse_all(Refusal::Failed));
        }
        self.background.due_at(self.supply.due(now, self.rules.make_limit));
        self.start_needed_work(now);
        self.update_return_path();
    }
}
