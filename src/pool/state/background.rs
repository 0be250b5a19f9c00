//! What is to be done in the background, and by whom.
//!
//! The state decides what is to be done next, and does none of it. A background thread asks for work
//! ([`State::next_work`]), does it outside, and tells how it ended. So whoever asks for an object waits for the pool
//! only, and gets what comes first, an object that comes back or a new one; no hook holds up anybody but its thread.

use super::figures::Reason;
use super::slots::Farewell;
use super::supply::{Attempt, PATIENT_FOR};
use super::upkeep::{Care, Task};
use super::workers::WorkerId;
use super::{Hold, Identity, Nanos, SlotId, State};

/// How many threads dispose of objects at the same time: if all of them hang, the next objects wait.
pub(super) const DISPOSE_AT_ONCE: usize = 8;
/// How long an object that is being disposed of still takes its place: it is probably open at its other end until then.
/// If it takes longer it probably hangs, and holds nobody up.
pub(super) const PARTING: Nanos = 1_000_000_000;
/// How long a thread that finds nothing to do waits for something.
const LINGER: Nanos = 1_000_000_000;
/// Each part of `max_idle`, at most half of the objects that have been idle for too long go.
const PRUNE_PARTS: Nanos = 10;

/// Something that people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// This object has been out for longer than `leak_after`.
    Leak(SlotId),
    /// An attempt to make an object was given up.
    GaveUpMaking,
    /// A check was given up, and its object with it.
    GaveUpTask(Care),
}

/// Something to do. Each is to be finished by the method that it names.
#[derive(Debug)]
pub enum Work<T> {
    /// Make an object: [`State::made`], [`State::not_made`] or [`State::unmade`].
    Make(Attempt),
    /// Look after an object: [`State::tended`] or [`State::untended`].
    Tend(Task),
    /// Dispose of an object, from now on: [`State::disposed`] or [`State::undisposed`].
    Dispose(T, Nanos),
    /// Tell people: nothing to finish.
    Report(Report),
}

/// What a background thread does next.
#[derive(Debug)]
pub enum Next<T> {
    /// This.
    Do(Work<T>),
    /// Sleep so long, unless called.
    Sleep(Nanos),
    /// Nothing any more.
    End,
}

/// What whoever has changed something does next, outside.
#[derive(Debug)]
pub enum FollowUp<T, W> {
    /// Wake this thread.
    Wake(W),
    /// Start a background thread.
    Start,
    /// Drop this value.
    Drop(T),
    /// Forget this value: it is another process's, and dropping it might do something to it.
    Leak(T),
}

impl<T: Identity, W: Clone> State<T, W> {
    /// What a background thread is to do next. `worker` is set at its first call and cleared at its last. `slept` says
    /// that it comes from the sleep that it was sent to, and `tired` that nobody called it meanwhile.
    pub fn next_work(&mut self, worker: &mut Option<WorkerId>, wake: W, slept: bool, now: Nanos) -> Next<T> {
        let id = self.workers.arrive(*worker);
        *worker = Some(id);
        let mut tired = false;
        if slept {
            let called = self.workers.called();
            self.workers.get_up(id);
            tired = self.workers.called() == called;
        }
        if let Some(work) = self.take_work(now) {
            return Next::Do(work);
        }
        let needed_for_due = self.due < Nanos::MAX && !self.workers.someone_sleeps();
        if (tired && !needed_for_due) || self.closed {
            self.workers.leave();
            *worker = None;
            self.to_wake.extend(self.closers.iter().cloned());
            return Next::End;
        }
        let linger = now.saturating_add(LINGER);
        let until = if needed_for_due { self.due } else { linger.min(self.due) };
        self.workers.sleep(id, wake, until);
        Next::Sleep(until.saturating_sub(now))
    }

    /// A thread that has called [`next_work`](Self::next_work) ends without being told to.
    pub fn worker_gone(&mut self) {
        self.workers.leave();
        self.to_wake.extend(self.closers.iter().cloned());
    }

    /// A background thread could not be started.
    pub fn not_started(&mut self) {
        self.workers.call_failed();
    }

    /// Calls all background threads that sleep, to let them look up; the caller wakes them.
    pub fn call_all(&mut self) -> Vec<W> {
        self.workers.call_all()
    }

    /// The next thing to do in the background, if there is one now.
    pub fn take_work(&mut self, now: Nanos) -> Option<Work<T>> {
        if now >= self.due {
            self.look_at_the_clock(now);
        }
        if let Some(report) = self.reports.pop_front() {
            return Some(Work::Report(report));
        }
        if let Some(task) = self.to_do.pop_front() {
            return Some(Work::Tend(task));
        }
        if self.wanted(now) > 0 {
            self.owed = self.owed.saturating_sub(1);
            self.wished = false;
            let attempt = self.supply.begin(now);
            self.due = self.due.min(self.supply.due(now, self.rules.make_limit));
            self.spent(now);
            self.mind();
            return Some(Work::Make(attempt));
        }
        if self.rules.disposes && self.disposing.len() < DISPOSE_AT_ONCE {
            let index = self.gone.iter().position(|&(_, farewell)| farewell == Farewell::Dispose)?;
            self.disposing.push(now);
            self.due = self.due.min(now.saturating_add(PARTING));
            return self.gone.remove(index).map(|(value, _)| Work::Dispose(value, now));
        }
        None
    }

    /// An object was disposed of, one way or another, by somebody who began at that time.
    pub fn disposed(&mut self, began: Nanos) {
        if let Some(index) = self.disposing.iter().position(|&other| other == began) {
            self.disposing.swap_remove(index);
        }
        if self.closed {
            self.to_wake.extend(self.closers.iter().cloned());
        }
    }

    /// Nobody has begun to dispose of an object that was taken for that: somebody else is to do it.
    pub fn undisposed(&mut self, value: T, began: Nanos) {
        self.gone.push_front((value, Farewell::Dispose));
        self.disposed(began);
    }

    /// What whoever changed something does outside, until there is nothing more; `threads` is the time if background
    /// threads may be called.
    pub fn follow_up(&mut self, threads: Option<Nanos>) -> Option<FollowUp<T, W>> {
        if let Some(wake) = self.to_wake.pop_front() {
            return Some(FollowUp::Wake(wake));
        }
        let disposes = self.rules.disposes;
        if let Some(index) = self.gone.iter().position(|&(_, farewell)| !disposes || farewell != Farewell::Dispose) {
            let (value, farewell) = self.gone.remove(index)?;
            if self.closed {
                // They were woken when it came back, and may have looked before it was taken from here.
                self.to_wake.extend(self.closers.iter().cloned());
            }
            return Some(if farewell == Farewell::Leak { FollowUp::Leak(value) } else { FollowUp::Drop(value) });
        }
        let now = threads.filter(|_| self.rules.works())?;
        let disposals = self.gone.len().min(DISPOSE_AT_ONCE.saturating_sub(self.disposing.len()));
        let pending = self.to_do.len() + self.reports.len() + disposals + self.wanted(now);
        // A closed pool has nobody look at the clock: threads end there at once, and each would call the next.
        let watch = !self.closed && self.workers.called() == 0 && self.due < self.workers.up_at();
        if pending > self.workers.called() || watch {
            return Some(self.workers.call().map_or(FollowUp::Start, FollowUp::Wake));
        }
        None
    }

    /// Whether there is something to do now.
    pub fn has_work(&self, now: Nanos) -> bool {
        let disposals = self.rules.disposes && !self.gone.is_empty() && self.disposing.len() < DISPOSE_AT_ONCE;
        disposals || now >= self.due || !self.to_do.is_empty() || !self.reports.is_empty() || self.wanted(now) > 0
    }

    /// When there is something to do again by itself.
    pub fn due(&self) -> Option<Nanos> {
        (self.due < Nanos::MAX).then_some(self.due)
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Time

    /// Finds what time alone has made due, and when the next such moment is.
    fn look_at_the_clock(&mut self, now: Nanos) {
        let rules = self.rules;
        self.due = Nanos::MAX;
        let mut idle_too_long = Vec::new();
        for id in self.slots.ids() {
            let hold = self.slots.get(id).hold;
            let record = *self.slots.record(id);
            match hold {
                Hold::Vacant => continue,
                Hold::Tended => {
                    let slow = record.since.saturating_add(PATIENT_FOR);
                    if slow > now {
                        self.due = self.due.min(slow);
                    }
                    let Some(limit) = rules.check_limit else { continue };
                    let over = record.since.saturating_add(limit);
                    if over <= now {
                        self.give_up_task(id);
                        continue;
                    }
                    self.due = self.due.min(over);
                }
                Hold::Idle => {
                    let over = rules.max_idle.map_or(Nanos::MAX, |limit| record.since.saturating_add(limit));
                    if over <= now {
                        idle_too_long.push((record.since, id));
                    } else {
                        self.due = self.due.min(over);
                    }
                }
                Hold::Leased | Hold::Acquired => {
                    if let Some(limit) = rules.leak_after
                        && !record.reported
                    {
                        let over = record.since.saturating_add(limit);
                        if over <= now {
                            self.slots.record(id).reported = true;
                            self.reports.push_back(Report::Leak(id));
                        } else {
                            self.due = self.due.min(over);
                        }
                    }
                }
                Hold::Handed => {}
            }
            if record.expires <= now {
                self.make_stale(id);
            } else {
                self.due = self.due.min(record.expires);
            }
        }
        self.let_idle_go(idle_too_long, now);
        if let Some(limit) = rules.make_limit {
            let given_up = self.supply.give_up(now, limit);
            self.figures.failed += given_up as u64;
            for _ in 0..given_up {
                self.reports.push_back(Report::GaveUpMaking);
            }
            if given_up > 0 {
                self.making_failed(now);
            }
        }
        self.due = self.due.min(self.supply.due(now, rules.make_limit));
        let places_freed =
            self.disposing.iter().map(|began| began.saturating_add(PARTING)).filter(|&at| at > now).min();
        self.due = self.due.min(places_freed.unwrap_or(Nanos::MAX));
        self.look_for_more(now);
        self.mind();
    }

    /// At most half of them, the oldest first, and never below `min_size`.
    fn let_idle_go(&mut self, mut idle_too_long: Vec<(Nanos, SlotId)>, now: Nanos) {
        let Some(limit) = self.rules.max_idle else { return };
        let spare = (self.slots.len() + self.supply.making()).saturating_sub(self.rules.min_size);
        let may_go = spare.min(idle_too_long.len());
        idle_too_long.sort_by_key(|&(since, _)| since);
        let go = may_go.div_ceil(2);
        for &(_, id) in &idle_too_long[..go] {
            self.take_out_of_rings(id);
            self.discard(id, Reason::Idle);
        }
        if may_go > go {
            self.due = self.due.min(now.saturating_add(limit / PRUNE_PARTS));
        }
    }

    fn give_up_task(&mut self, slot: SlotId) {
        let Some((_, care)) = self.slots.record(slot).job else { return };
        self.to_do.retain(|task| task.slot != slot);
        self.checking -= 1;
        self.discard(slot, if care == Care::Check { Reason::Unfit } else { Reason::NotReset });
        self.reports.push_back(Report::GaveUpTask(care));
    }
}
