//! What is to be done outside, and by whom.
//!
//! The state decides what is to be done next, and does none of it. A background thread asks for work
//! ([`State::next_work`]), does it outside, and tells how it ended. So a caller who asks for an object waits for the pool
//! only, and gets what comes first, an object that comes back or a new one; a hook delays nobody but its own thread.

use crate::pool::disposals::OCCUPIES_FOR;
use crate::pool::slots::{Disposal, Identity};
use crate::pool::time::Nanos;
use crate::pool::work::{FollowUp, Next, Work};
use crate::pool::workers::WorkerId;

use super::State;

/// How long a thread that finds nothing to do waits for something.
const LINGER: Nanos = 1_000_000_000;

impl<T: Identity, W: Clone> State<T, W> {
    /// What a background thread is to do next. `worker` is set by its first call and cleared by its last; `slept` says
    /// that it comes from the sleep that [`Next::Sleep`] sent it to.
    pub fn next_work(&mut self, worker: &mut Option<WorkerId>, wake: W, slept: bool, now: Nanos) -> Next<T> {
        let workers = &mut self.background.workers;
        let id = workers.register(*worker);
        *worker = Some(id);
        let timed_out = slept && !workers.came_from_sleep(id);
        if let Some(work) = self.take_work(now) {
            return Next::Do(work);
        }
        let due = self.background.due();
        let needed_for_due = due < Nanos::MAX && !self.background.workers.any_sleeping();
        if (timed_out && !needed_for_due) || self.closing.is_closed() {
            self.worker_ended();
            *worker = None;
            return Next::End;
        }
        let linger = now.saturating_add(LINGER);
        let until = if needed_for_due { due } else { linger.min(due) };
        self.background.workers.sleep(id, wake, until);
        Next::Sleep(until.saturating_sub(now))
    }

    /// A thread that has called [`next_work`](Self::next_work) ends without being told to.
    pub fn worker_ended(&mut self) {
        self.background.workers.leave();
        self.wake_closers();
    }

    /// A background thread could not be started.
    pub fn worker_not_started(&mut self) {
        self.background.workers.start_failed();
    }

    /// A background thread that was woken will never run again.
    pub fn worker_lost(&mut self) {
        self.background.workers.start_failed();
        self.worker_ended();
    }

    /// A background thread was ended in its sleep.
    pub fn worker_killed(&mut self, worker: Option<WorkerId>) {
        if let Some(id) = worker {
            self.background.workers.came_from_sleep(id);
            self.worker_ended();
        }
    }

    /// Wakes all sleeping background threads, to have them look for work; the caller uses the wakers.
    pub fn wake_all(&mut self) -> Vec<W> {
        self.background.workers.wake_all()
    }

    /// The next thing to do in the background, if there is one now.
    pub fn take_work(&mut self, now: Nanos) -> Option<Work<T>> {
        if now >= self.background.due() {
            self.process_deadlines(now);
        }
        if let Some(report) = self.background.next_report() {
            return Some(Work::Report(report));
        }
        if let Some(task) = self.background.next_task() {
            return Some(Work::Maintain(task));
        }
        if self.wanted(now) > 0 {
            self.replacement.attempt_began();
            let attempt = self.supply.begin(now);
            self.background.due_at(self.supply.due(now, self.rules.make_limit));
            self.spent(now);
            self.update_return_path();
            return Some(Work::Make(attempt));
        }
        if !self.rules.disposes {
            return None;
        }
        let value = self.disposals.begin(now)?;
        self.background.due_at(now.saturating_add(OCCUPIES_FOR));
        Some(Work::Dispose(value, now))
    }

    /// The disposal that began at that time has ended, one way or another.
    pub fn finish_disposal(&mut self, began: Nanos) {
        self.disposals.end(began);
        if self.closing.is_closed() {
            self.wake_closers();
        }
    }

    /// The disposal that was to begin at that time has not: another thread is to begin it.
    pub fn requeue_disposal(&mut self, value: T, began: Nanos) {
        self.disposals.put_back(value);
        self.finish_disposal(began);
    }

    /// What a caller does outside after a change, step by step until there is nothing more; `threads` is the time if
    /// background threads may be woken and started.
    pub fn follow_up(&mut self, threads: Option<Nanos>) -> Option<FollowUp<T, W>> {
        if let Some(wake) = self.to_wake.pop_front() {
            return Some(FollowUp::Wake(wake));
        }
        if let Some((value, disposal)) = self.disposals.pop_without_hook(self.rules.disposes) {
            if self.closing.is_closed() {
                // They were woken when it came back, and may have looked before it was taken from here.
                self.wake_closers();
            }
            return Some(if disposal == Disposal::Leak { FollowUp::Leak(value) } else { FollowUp::Drop(value) });
        }
        let now = threads.filter(|_| self.rules.uses_background())?;
        let pending = self.background.pending() + self.disposals.startable() + self.wanted(now);
        let due = self.background.due();
        let workers = &mut self.background.workers;
        // A closed pool wakes nobody for what is due: threads end there at once, and each would wake the next.
        let watch = !self.closing.is_closed() && workers.coming() == 0 && due < workers.wakes_at();
        if pending > workers.coming() || watch {
            return Some(workers.summon_one().map_or(FollowUp::Start, FollowUp::Wake));
        }
        None
    }

    /// Whether there is something to do in the background now.
    pub fn has_work(&self, now: Nanos) -> bool {
        let disposals = self.rules.disposes && self.disposals.startable() > 0;
        let due = now >= self.background.due();
        disposals || due || self.background.pending() > 0 || self.wanted(now) > 0
    }
}
