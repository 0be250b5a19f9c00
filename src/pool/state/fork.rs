//! The end of a pool, and its new beginning after a fork.

use super::figures::Reason;
use super::slots::Farewell;
use super::waiters::Refusal;
use super::{Hold, Identity, Nanos, State};

/// What a fork leaves behind, to be dropped, forgotten, or woken.
pub struct Forked<T, W> {
    /// What used to wake threads that do not exist here.
    pub wakers: Vec<W>,
    /// Values of the other process: never to be touched again.
    pub left: Vec<T>,
    /// Values that were borrowed and are nobody's here: whose they are takes them back.
    pub back: Vec<T>,
    /// Whom to wake.
    pub wake: Vec<W>,
}

impl<T: Identity, W: Clone> State<T, W> {
    /// Ends the pool: nothing goes out any more, and what comes back goes. False if it was closed before.
    ///
    /// With `force`, what is out is disposed of as well, under its holder's hands: `copy` gives another reference to it.
    pub fn close(&mut self, force: Option<&mut dyn FnMut(&T) -> T>) -> bool {
        let first = !std::mem::replace(&mut self.closed, true);
        if first {
            // What was handed over stays so: a waiter that went back to the queue now would not be sent away.
            self.forget_gifts();
            self.to_wake.extend(self.waiters.refuse_all(Refusal::Closed));
            while let Some(id) = self.idle.pop().or_else(|| self.kept.pop()) {
                self.discard(id, Reason::Closed);
            }
            while let Some(task) = self.to_do.pop_front() {
                self.checking -= 1;
                self.discard(task.slot, Reason::Closed);
            }
            self.to_wake.extend(self.workers.call_all());
        }
        if let Some(copy) = force {
            self.forced = true;
            for id in self.slots.ids() {
                let whole = self.may_touch(id);
                let slot = self.slots.get(id);
                let out = matches!(slot.hold, Hold::Leased | Hold::Acquired | Hold::Handed);
                if let Some(value) = slot.value.as_ref().filter(|_| out && whole) {
                    self.gone.push_back((copy(value), Farewell::Dispose));
                    self.slots.record(id).farewell = Farewell::Drop;
                    self.odd += 1;
                }
            }
        }
        self.mind();
        first
    }

    /// Whether everything is back; and whether nothing is being done any more either.
    pub fn is_over(&self) -> (bool, bool) {
        let back = self.closed && (self.forced || self.slots.len() == self.checking);
        (
            back,
            back && self.checking + self.supply.making() + self.gone.len() + self.disposing.len() + self.workers.total
                == 0,
        )
    }

    /// Wakes `closer` at each step towards the end of the pool, until [`no_closer`](Self::no_closer).
    pub fn add_closer(&mut self, closer: W) {
        self.closers.push(closer);
    }

    /// Forgets one who waited for the end; the wakers are to be dropped.
    pub fn no_closer(&mut self, is_it: impl Fn(&W) -> bool) -> Vec<W> {
        let (gone, kept) = std::mem::take(&mut self.closers).into_iter().partition(is_it);
        self.closers = kept;
        gone
    }

    /// Settles that no thread but `survivor` exists any more, which is what a fork does to the child.
    ///
    /// Waiters of other threads are forgotten, and what they had been handed is free again. `orphaned` is asked of each
    /// value that is out whether its holder is gone; then it is free again too. But if the pool makes its objects itself,
    /// it starts anew: what is free stays the other process's, and so does, once it comes back, what the survivor holds.
    /// So it is in a closed pool, which nothing goes out of any more.
    ///
    /// `runs_here` tells of a waker whose waiter has no thread of its own whether it runs in the survivor's.
    pub fn keep_only(
        &mut self,
        survivor: usize,
        runs_here: impl Fn(&W) -> bool,
        mut orphaned: impl FnMut(&mut T, Hold) -> bool,
    ) -> Forked<T, W> {
        self.forget_gifts();
        let (mut wakers, mut free) = self.waiters.keep_only(survivor, &runs_here);
        wakers.extend(self.workers.start_anew());
        let (mut wake, gone): (Vec<W>, Vec<W>) = std::mem::take(&mut self.to_wake).into_iter().partition(&runs_here);
        wakers.extend(gone);
        wakers.append(&mut self.closers);
        self.supply.start_anew();
        self.to_do.clear();
        self.reports.clear();
        self.disposing.clear();
        (self.checking, self.owed, self.ahead, self.making_ahead) = (0, 0, 0, false);
        for id in self.slots.ids() {
            let slot = self.slots.get(id);
            let hold = slot.hold;
            let out = matches!(hold, Hold::Leased | Hold::Acquired);
            let orphan = out && slot.value.as_mut().is_some_and(|value| orphaned(value, hold));
            if orphan && hold == Hold::Acquired {
                self.acquired.remove_slot(id, &mut self.slots);
            }
            if orphan || hold == Hold::Tended {
                free.push(id);
            }
        }
        let mut left: Vec<T> = self.gone.drain(..).map(|(value, _)| value).collect();
        let mut back = if self.rules.borrows { std::mem::take(&mut left) } else { Vec::new() };
        if self.rules.makes || self.closed {
            while let Some(id) = self.idle.pop().or_else(|| self.kept.pop()) {
                free.push(id);
            }
            for id in free {
                left.extend(self.remove(id, Reason::Forked));
            }
            for id in self.slots.ids() {
                if self.slots.get(id).hold != Hold::Vacant {
                    self.odd += usize::from(self.slots.record(id).farewell == Farewell::Dispose);
                    self.slots.record(id).farewell = Farewell::Leak;
                }
            }
        } else {
            wake.extend(free.into_iter().filter_map(|id| self.pass_on(id, 0)));
            back.extend(self.gone.drain(..).map(|(value, _)| value));
            self.forget_gifts();
        }
        self.due = if self.rules.works() { 0 } else { Nanos::MAX };
        self.mind();
        Forked { wakers, left, back, wake }
    }
}
