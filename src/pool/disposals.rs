//! Values that have left the pool, until they are disposed of or dropped.

use std::collections::VecDeque;

use super::slots::Disposal;
use super::time::Nanos;

/// How many disposals may be under way at the same time. If all of them hang, the next ones wait.
const AT_ONCE: usize = 8;
/// How long a value that is being disposed of still takes its place: until then it is probably open at its other end.
/// If it takes longer it probably hangs, and delays nobody.
pub(super) const OCCUPIES_FOR: Nanos = 1_000_000_000;

pub(super) struct Disposals<T> {
    pending: VecDeque<(T, Disposal)>,
    /// When each of those under way began.
    under_way: Vec<Nanos>,
}

impl<T> Disposals<T> {
    pub(super) fn new() -> Self {
        Disposals { pending: VecDeque::new(), under_way: Vec::new() }
    }

    pub(super) fn push(&mut self, value: T, disposal: Disposal) {
        self.pending.push_back((value, disposal));
    }

    /// How many values have left and are not disposed of yet.
    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.under_way.len()
    }

    /// The values that are still here.
    pub(super) fn pending(&self) -> impl Iterator<Item = &T> {
        self.pending.iter().map(|(value, _)| value)
    }

    /// Empties it.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (T, Disposal)> + '_ {
        self.pending.drain(..)
    }

    /// Takes the next value that a hook is to dispose of, from `now` on; `None` if there is none, or too many are under
    /// way.
    pub(super) fn begin(&mut self, now: Nanos) -> Option<T> {
        if self.under_way.len() >= AT_ONCE {
            return None;
        }
        let index = self.pending.iter().position(|&(_, disposal)| disposal == Disposal::Hook)?;
        self.under_way.push(now);
        self.pending.remove(index).map(|(value, _)| value)
    }

    /// One that began at that time has ended.
    pub(super) fn end(&mut self, began: Nanos) {
        if let Some(index) = self.under_way.iter().position(|&other| other == began) {
            self.under_way.swap_remove(index);
        }
    }

    /// Puts a value back that was taken to be disposed of: the next thread begins with it.
    pub(super) fn put_back(&mut self, value: T) {
        self.pending.push_front((value, Disposal::Hook));
    }

    /// Takes the next value that no hook is to dispose of. `hook` says whether there is such a hook at all.
    pub(super) fn pop_without_hook(&mut self, hook: bool) -> Option<(T, Disposal)> {
        let index = self.pending.iter().position(|&(_, disposal)| !hook || disposal != Disposal::Hook)?;
        self.pending.remove(index)
    }

    /// How many more could begin now.
    pub(super) fn startable(&self) -> usize {
        self.pending.len().min(AT_ONCE.saturating_sub(self.under_way.len()))
    }

    /// How many values that have left still take their places. Were they not counted, there could be any number of them
    /// beside `max_size` others.
    pub(super) fn occupying(&self, now: Nanos) -> usize {
        let prompt = self.under_way.iter().filter(|&&began| now.saturating_sub(began) < OCCUPIES_FOR).count();
        if prompt == 0 && self.under_way.len() >= AT_ONCE {
            return 0; // all of them hang: nobody knows when the next one could begin
        }
        prompt + self.pending.iter().filter(|&&(_, disposal)| disposal == Disposal::Hook).count()
    }

    /// When the next of those under way no longer takes a place.
    pub(super) fn vacates_at(&self, now: Nanos) -> Nanos {
        let ends = self.under_way.iter().map(|began| began.saturating_add(OCCUPIES_FOR));
        ends.filter(|&at| at > now).min().unwrap_or(Nanos::MAX)
    }

    /// Forgets those under way: they are another process's.
    pub(super) fn start_anew(&mut self) {
        self.under_way.clear();
    }
}
