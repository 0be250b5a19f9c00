//! Making objects: how many, and what comes of it.

use super::background::{DISPOSE_AT_ONCE, PARTING};
use super::figures::Reason;
use super::slots::Farewell;
use super::supply::Attempt;
use super::waiters::Refusal;
use super::{Identity, Nanos, State};

impl<T: Identity, W: Clone> State<T, W> {
    /// How many attempts to make an object should begin.
    pub fn wanted(&self, now: Nanos) -> usize {
        if !self.rules.makes || self.closed {
            return 0;
        }
        let making = self.supply.making();
        let all = self.slots.len() + making;
        let waiting = self.waiters.len();
        let for_waiters = waiting.saturating_sub(self.supply.promising(now) + self.checks_that_promise(now));
        let for_waiters = for_waiters.min((2 * waiting).saturating_sub(self.supply.awaited()));
        let need = for_waiters
            .max(usize::from(self.wished && making == 0))
            .max(self.rules.min_size.saturating_sub(all))
            .max(self.owed);
        let room = self.rules.max_size.saturating_sub(all + self.parting(now));
        need.min(room).min(self.supply.may_begin(now))
    }

    /// How many objects that have left still take their places, because they are not disposed of yet. Were they not
    /// counted, there could be any number of them beside `max_size` others.
    fn parting(&self, now: Nanos) -> usize {
        if !self.rules.disposes {
            return 0;
        }
        let begun = self.disposing.iter().filter(|&&began| now.saturating_sub(began) < PARTING).count();
        if begun == 0 && self.disposing.len() >= DISPOSE_AT_ONCE {
            return 0; // all of them hang: nobody knows when it will be the turn of the others
        }
        begun + self.gone.iter().filter(|&&(_, farewell)| farewell == Farewell::Dispose).count()
    }

    /// An attempt ended well. The value goes to whoever waits, or joins the idle ones; or it has come too late (it was
    /// given up, or the pool became smaller), and is to be disposed of.
    pub fn made(&mut self, attempt: Attempt, value: T, now: Nanos) {
        let ended = self.supply.end(attempt, now, true);
        if let Some(ended) = &ended {
            self.figures.create.note(ended.took);
        }
        let room = self.slots.len() + self.supply.making() < self.rules.max_size;
        if self.closed || !room {
            self.figures.created += 1;
            self.count_retired(if self.closed { Reason::Closed } else { Reason::Surplus });
            self.gone.push_back((value, Farewell::Dispose));
            self.making_ahead &= ended.is_none();
        } else {
            let (id, wake) = self.insert(value, now);
            self.forget_gifts();
            self.to_wake.extend(wake);
            if ended.is_some_and(|ended| ended.stale) {
                self.make_stale(id);
            }
            if std::mem::take(&mut self.making_ahead) {
                self.ahead += 1;
            }
        }
        self.look_for_more(now);
        self.mind();
    }

    /// An attempt failed. If nothing is there that could come back, those who wait need not wait any longer.
    pub fn not_made(&mut self, attempt: Attempt, now: Nanos) {
        if self.supply.end(attempt, now, false).is_some() {
            self.figures.failed += 1;
            self.making_failed(now);
        }
    }

    /// An attempt was broken off from outside, or never begun: another one may begin.
    pub fn unmade(&mut self, attempt: Attempt, now: Nanos) {
        if self.supply.break_off(attempt) {
            self.making_ahead = false;
            self.look_for_more(now);
            self.mind();
        }
    }

    pub(super) fn making_failed(&mut self, now: Nanos) {
        self.making_ahead = false;
        if self.slots.len() == 0 && self.supply.making() == 0 {
            self.to_wake.extend(self.waiters.refuse_all(Refusal::Failed));
        }
        self.due = self.due.min(self.supply.due(now, self.rules.make_limit));
        self.look_for_more(now);
        self.mind();
    }
}
