//! What is to be done outside the pool's state: by background threads, and by callers after a change.

use std::collections::VecDeque;

use super::slots::{Maintenance, SlotId};
use super::supply::Attempt;
use super::time::Nanos;
use super::workers::Workers;

/// The maintenance of one object: a hook is to check or reset it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which object.
    pub slot: SlotId,
    /// What is to be done with it.
    pub kind: Maintenance,
    number: u64,
}

impl Task {
    /// What the slot's record holds while this task is the current one.
    pub(super) fn key(self) -> (u64, Maintenance) {
        (self.number, self.kind)
    }
}

/// Something for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// This object has been leased for longer than `leak_after`.
    Leak(SlotId),
    /// An attempt to make an object took longer than its limit and was given up.
    GaveUpMaking,
    /// A check or reset took longer than its limit and was given up, and its object discarded.
    GaveUpTask(Maintenance),
}

/// Something to do. Each ends with one call of a method that it names.
#[derive(Debug)]
pub enum Work<T> {
    /// Make an object: [`State::finish_attempt`](super::State::finish_attempt), [`fail_attempt`](super::State::fail_attempt) or
    /// [`cancel_attempt`](super::State::cancel_attempt).
    Make(Attempt),
    /// Check or reset an object: [`State::finish_task`](super::State::finish_task) or [`requeue_task`](super::State::requeue_task).
    Maintain(Task),
    /// Dispose of an object, beginning at this time: [`State::finish_disposal`](super::State::finish_disposal) or
    /// [`requeue_disposal`](super::State::requeue_disposal).
    Dispose(T, Nanos),
    /// Write it to the log: no call follows.
    Report(Report),
}

/// What a background thread does next.
#[derive(Debug)]
pub enum Next<T> {
    /// This work.
    Do(Work<T>),
    /// Sleep so long, unless woken.
    Sleep(Nanos),
    /// End.
    End,
}

/// One step of what a caller does outside after a change.
#[derive(Debug)]
pub enum FollowUp<T, W> {
    /// Wake this thread or task.
    Wake(W),
    /// Start a background thread.
    Start,
    /// Drop this value.
    Drop(T),
    /// Forget this value: it belongs to another process, and dropping it might affect it.
    Leak(T),
}

/// The work in the background: what is pending, when there is more, and the threads that do it.
pub(super) struct BackgroundWork<W> {
    tasks: VecDeque<Task>,
    reports: VecDeque<Report>,
    /// How many slots are in maintenance, their tasks pending or under way.
    in_maintenance: usize,
    latest_task: u64,
    due: Nanos,
    pub(super) workers: Workers<W>,
}

impl<W> BackgroundWork<W> {
    pub(super) fn new() -> Self {
        BackgroundWork {
            tasks: VecDeque::new(),
            reports: VecDeque::new(),
            in_maintenance: 0,
            latest_task: 0,
            due: Nanos::MAX,
            workers: Workers::new(),
        }
    }

    /// How many tasks and reports no thread has taken yet.
    pub(super) fn pending(&self) -> usize {
        self.tasks.len() + self.reports.len()
    }

    /// How many objects are in maintenance.
    pub(super) fn in_maintenance(&self) -> usize {
        self.in_maintenance
    }

    /// Begins the maintenance of an object.
    pub(super) fn add_task(&mut self, slot: SlotId, kind: Maintenance) -> Task {
        self.latest_task += 1;
        let task = Task { slot, kind, number: self.latest_task };
        self.in_maintenance += 1;
        self.tasks.push_back(task);
        task
    }

    /// The next task, for a thread to do.
    pub(super) fn next_task(&mut self) -> Option<Task> {
        self.tasks.pop_front()
    }

    /// Puts a task back that nobody has begun: the next thread takes it.
    pub(super) fn put_back(&mut self, task: Task) {
        self.tasks.push_front(task);
    }

    /// The maintenance of one object has ended.
    pub(super) fn end_task(&mut self) {
        self.in_maintenance -= 1;
    }

    /// Ends the maintenance of a slot, whether its task has begun or not.
    pub(super) fn give_up_task(&mut self, slot: SlotId) {
        self.tasks.retain(|task| task.slot != slot);
        self.in_maintenance -= 1;
    }

    /// Forgets the tasks that nobody has begun; their slots stay in maintenance.
    pub(super) fn clear_tasks(&mut self) {
        self.tasks.clear();
    }

    pub(super) fn report(&mut self, report: Report) {
        self.reports.push_back(report);
    }

    pub(super) fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// When something has to be done because of the time alone; `Nanos::MAX` if never.
    pub(super) fn due(&self) -> Nanos {
        self.due
    }

    /// Something has to be done at this time, or has been due already.
    pub(super) fn due_at(&mut self, at: Nanos) {
        self.due = self.due.min(at);
    }

    /// Replaces the time that [`due_at`](Self::due_at) has found.
    pub(super) fn set_due(&mut self, at: Nanos) {
        self.due = at;
    }

    /// Forgets tasks, reports and threads, which are another process's; returns what used to wake the threads.
    pub(super) fn start_anew(&mut self) -> Vec<W> {
        self.tasks.clear();
        self.reports.clear();
        self.in_maintenance = 0;
        self.workers.start_anew()
    }
}
