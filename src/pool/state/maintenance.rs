//! How the maintenance of an object ends: the check or reset that a background thread does.

use crate::pool::slots::{Hold, Identity, Maintenance, SlotId};
use crate::pool::statistics::Reason;
use crate::pool::time::Nanos;
use crate::pool::work::{Report, Task};

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// in maintenance → idle, or handed to a waiter, if the object is `fit`; else → vacant. Nothing if the task was given
    /// up before.
    pub fn finish_task(&mut self, task: Task, fit: bool, now: Nanos) {
        let Task { slot, kind, .. } = task;
        if !self.is_current(task) {
            return;
        }
        self.slots.record(slot).task = None;
        self.background.end_task();
        match if fit { self.reason_to_discard(slot, now) } else { Some(unfit(kind)) } {
            Some(reason) => self.discard(slot, reason),
            None => {
                let wake = self.pass_on(slot, now);
                self.slices.make_final();
                self.to_wake.extend(wake);
            }
        }
        self.start_needed_work(now);
        self.update_return_path();
    }

    /// Nobody has begun that task: another thread is to do it.
    pub fn requeue_task(&mut self, task: Task) {
        if !self.is_current(task) {
            return;
        }
        if self.closing.is_closed() {
            self.background.end_task();
            self.discard(task.slot, Reason::Closed);
        } else {
            self.background.put_back(task);
        }
    }

    /// The object of the task, unless the task was given up before.
    pub fn task_value(&mut self, task: Task) -> Option<&mut T> {
        if self.is_current(task) { self.slots.get(task.slot).value.as_mut() } else { None }
    }

    fn is_current(&mut self, task: Task) -> bool {
        self.slots.get(task.slot).hold == Hold::InMaintenance && self.slots.record(task.slot).task == Some(task.key())
    }

    /// in maintenance → vacant: the task has taken too long.
    pub(super) fn give_up_task(&mut self, slot: SlotId) {
        let Some((_, kind)) = self.slots.record(slot).task else { return };
        self.background.give_up_task(slot);
        self.discard(slot, unfit(kind));
        self.background.report(Report::GaveUpTask(kind));
    }
}

/// Why an object is discarded whose maintenance failed.
fn unfit(kind: Maintenance) -> Reason {
    match kind {
        Maintenance::Check => Reason::Unfit,
        Maintenance::Reset => Reason::NotReset,
    }
}
