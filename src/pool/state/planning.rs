//! Looking after the objects: which are looked at, replaced, or let go.

use super::figures::Reason;
use super::slots::Farewell;
use super::supply::PATIENT_FOR;
use super::{Hold, Identity, Nanos, SlotId, State};

/// What a background thread looks at in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Whether it is fit to go out.
    Check,
    /// It came back without its holder's help, and is to be reset.
    Reset,
}

/// An object in the hands of a background thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which.
    pub slot: SlotId,
    /// Why.
    pub care: Care,
    job: u64,
}

impl<T: Identity, W: Clone> State<T, W> {
    /// leased → tended: an object that came back without its holder's help is reset in the background.
    pub fn tend_leased(&mut self, id: SlotId, now: Nanos) {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.note_use(id, now);
        self.begin_task(id, Care::Reset, now);
    }

    /// The end of a task: tended → idle or handed over if the object is fit; else it goes.
    pub fn tended(&mut self, task: Task, fit: bool, now: Nanos) {
        let Task { slot, care, .. } = task;
        if !self.is_current(task) {
            return; // given up before
        }
        self.slots.record(slot).job = None;
        self.checking -= 1;
        let unfit = if care == Care::Check { Reason::Unfit } else { Reason::NotReset };
        match if fit { self.reason_to_keep_out(slot, now) } else { Some(unfit) } {
            Some(reason) => self.discard(slot, reason),
            None => {
                let wake = self.pass_on(slot, now);
                self.forget_gifts();
                self.to_wake.extend(wake);
            }
        }
        self.look_for_more(now);
        self.mind();
    }

    /// Nobody has begun that task: somebody else is to do it.
    pub fn untended(&mut self, task: Task) {
        if !self.is_current(task) {
            return;
        }
        if self.closed {
            self.checking -= 1;
            self.discard(task.slot, Reason::Closed);
        } else {
            self.to_do.push_front(task);
        }
    }

    /// The object in question, unless the task was given up before.
    pub fn task_value(&mut self, task: Task) -> Option<&mut T> {
        if self.is_current(task) { self.value_mut(task.slot) } else { None }
    }

    fn is_current(&mut self, Task { slot, care, job }: Task) -> bool {
        self.slots.get(slot).hold == Hold::Tended && self.slots.record(slot).job == Some((job, care))
    }

    fn begin_task(&mut self, slot: SlotId, care: Care, now: Nanos) {
        self.latest_job += 1;
        let job = self.latest_job;
        self.slots.get(slot).hold = Hold::Tended;
        let record = self.slots.record(slot);
        (record.job, record.since) = (Some((job, care)), now);
        self.checking += 1;
        self.to_do.push_back(Task { slot, care, job });
        let limit = self.rules.check_limit.map_or(PATIENT_FOR, |limit| limit.min(PATIENT_FOR));
        self.due = self.due.min(now.saturating_add(limit));
        self.spent(now);
    }

    /// Sees to it that something is under way for each waiter: what is idle but not known to be fit is looked at, and
    /// ([`wanted`](Self::wanted)) others are made.
    pub(super) fn look_for_more(&mut self, now: Nanos) {
        if self.closed {
            return;
        }
        // The room of a replacement that was owed may be taken, by what somebody added or because the pool became smaller:
        // then there is nothing to wait for.
        self.owed = self.owed.min(self.rules.max_size.saturating_sub(self.slots.len() + self.supply.making()));
        self.making_ahead &= self.owed + self.supply.making() > 0;
        // Whatever is being made: that may take long, or never end.
        while self.waiters.len() > self.checks_that_promise(now)
            && let Some(id) = self.kept.pop()
        {
            self.begin_task(id, Care::Check, now);
        }
        self.replace_next(now);
        self.spent(now);
    }

    /// How many of those who are being looked at somebody who waits may count on. One that takes long probably hangs.
    pub(super) fn checks_that_promise(&self, now: Nanos) -> usize {
        if self.checking == 0 {
            return 0;
        }
        let tended = self.slots.iter().filter(|(slot, _)| slot.hold == Hold::Tended);
        tended.filter(|(_, record)| now.saturating_sub(record.since) < PATIENT_FOR).count()
    }

    /// Somebody found nothing and does not wait: next time there is to be something, if that can be helped.
    pub fn wish(&mut self, now: Nanos) {
        if self.closed || !self.waiters.is_empty() || self.checks_that_promise(now) > 0 {
            return;
        }
        match self.kept.pop() {
            Some(id) => self.begin_task(id, Care::Check, now),
            None => self.wished = true,
        }
    }

    /// Whether an object that ought to be replaced may go: one at a time, and not while no other can be had.
    pub(super) fn may_replace(&self, now: Nanos) -> bool {
        self.rules.makes
            && !self.closed
            && !self.supply.failed_lately(now)
            && self.supply.making() == 0
            && self.owed == 0
            && !self.making_ahead
    }

    /// Replaces stale objects, one after another: where there is room, the new one comes before the old one goes.
    fn replace_next(&mut self, now: Nanos) {
        while self.ahead > 0
            && let Some(id) = self.stale_idle()
        {
            self.take_out_of_rings(id);
            self.discard_stale(id, now);
        }
        if self.stale == 0 {
            self.ahead = 0;
            return;
        }
        if self.ahead > 0 || !self.may_replace(now) {
            return;
        }
        if self.slots.len() < self.rules.max_size {
            self.owed += 1;
            self.making_ahead = true;
        } else if let Some(id) = self.stale_idle() {
            self.take_out_of_rings(id);
            self.discard_stale(id, now);
        }
    }

    fn discard_stale(&mut self, id: SlotId, now: Nanos) {
        if self.ahead > 0 {
            self.ahead -= 1;
        } else {
            self.owed += 1;
        }
        let expired = self.slots.record(id).expires <= now;
        self.discard(id, if expired { Reason::Lifetime } else { Reason::Reloaded });
    }

    fn stale_idle(&mut self) -> Option<SlotId> {
        if self.stale == 0 {
            return None;
        }
        let idle: Vec<SlotId> = self.idle.iter().chain(self.kept.iter()).collect();
        idle.into_iter().find(|&id| self.slots.record(id).stale)
    }

    pub(super) fn make_stale(&mut self, id: SlotId) {
        let record = self.slots.record(id);
        self.stale += usize::from(!record.stale);
        record.stale = true;
    }

    /// Whether an object that has come back is to stay out of the pool, and why.
    pub(super) fn reason_to_keep_out(&mut self, id: SlotId, now: Nanos) -> Option<Reason> {
        let record = *self.slots.record(id);
        if record.farewell == Farewell::Leak {
            return Some(Reason::Forked);
        }
        if self.closed {
            return Some(Reason::Closed);
        }
        if self.slots.len() + self.supply.making() > self.rules.max_size {
            return Some(Reason::Surplus);
        }
        if record.expires <= now {
            self.make_stale(id);
        }
        if self.slots.record(id).stale && (self.ahead > 0 || self.may_replace(now)) {
            if self.ahead > 0 {
                self.ahead -= 1;
            } else {
                self.owed += 1;
            }
            return Some(if record.expires <= now { Reason::Lifetime } else { Reason::Reloaded });
        }
        None
    }

    /// out of every ring → vacant. What becomes of the value is decided outside.
    pub(super) fn discard(&mut self, id: SlotId, reason: Reason) {
        let farewell = self.slots.record(id).farewell;
        if let Some(value) = self.remove(id, reason) {
            self.gone.push_back((value, farewell));
        }
    }

    pub(super) fn remove(&mut self, id: SlotId, reason: Reason) -> Option<T> {
        let record = self.slots.record(id);
        self.stale -= usize::from(record.stale);
        self.odd -= usize::from(record.farewell != Farewell::Dispose);
        (record.stale, record.job, record.farewell) = (false, None, Farewell::Dispose);
        self.count_retired(reason);
        if self.closed {
            self.to_wake.extend(self.closers.iter().cloned());
        }
        self.slots.remove(id)
    }

    pub(super) fn count_retired(&mut self, reason: Reason) {
        self.figures.retired[reason as usize] += 1;
    }

    pub(super) fn take_out_of_rings(&mut self, id: SlotId) {
        let _ = self.idle.remove(id) || self.kept.remove(id);
    }

    /// Says whether whoever gives something back has to look further than whether somebody waits.
    pub(super) fn mind(&mut self) {
        let surplus = self.slots.len() + self.supply.making() > self.rules.max_size;
        let rules = self.rules.resets || self.rules.borrows;
        let watched = self.watches || rules || self.closed || self.stale > 0 || self.odd > 0 || surplus;
        self.waiters.set_watched(watched);
    }

    // -----------------------------------------------------------------------------------------------------------------
    // What the user asks for

    /// From now on everything that is here is replaced, one after another.
    pub fn reload(&mut self, now: Nanos) {
        for id in self.slots.ids() {
            if self.slots.get(id).hold != Hold::Vacant {
                self.make_stale(id);
            }
        }
        self.supply.make_stale();
        self.look_for_more(now);
        self.mind();
    }

    /// Other limits. What is being made and too much is not counted on any more, what is idle goes at once, what is out
    /// when it comes back.
    pub fn resize(&mut self, min_size: usize, max_size: usize, now: Nanos) {
        (self.rules.min_size, self.rules.max_size) = (min_size, max_size);
        self.supply.forget((self.slots.len() + self.supply.making()).saturating_sub(max_size));
        while self.slots.len() + self.supply.making() > max_size
            && let Some(id) = self.idle_longest()
        {
            self.take_out_of_rings(id);
            self.discard(id, Reason::Surplus);
        }
        self.due = self.due.min(now);
        self.look_for_more(now);
        self.mind();
    }

    fn idle_longest(&mut self) -> Option<SlotId> {
        let of = |ring: &super::ring::Ring| match ring.newest() == ring.first() {
            true => ring.iter().last(),
            false => ring.first(),
        };
        of(&self.idle).or_else(|| of(&self.kept))
    }
}
