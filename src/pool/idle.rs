//! The idle slots.

use super::ring::{Order, Ring};
use super::slots::SlotId;

/// The idle slots, in rings: [`ready`](Self::pop_ready) is the one of the fast path.
///
/// A pool keeps all its idle slots in one of the rings, depending on its rules. So a pool whose leases need more than a
/// slot from the ring keeps `ready` empty: the fast path finds nothing and the slow path decides, without one more test
/// for the other pools.
///
/// **Where keys would go.** A keyed pool (`pool.lease(key=host)`) gets a third store here, a ring for each key, and keeps
/// `ready` empty as well. `push_*`, `len`, `reserve`, `remove`, `pop_any`, `iter` and `longest_idle` are all that the
/// rest of the core uses, so they cover the third store too; a `pop_keyed(key)` is added for the slow path of a lease.
/// `ready`, `pop_ready` and `push_ready` stay as they are, and so does the test of a return: a waiter for another key is
/// a waiter, so the return takes the slow path, which looks for the first waiter that the object suits.
pub(super) struct Idle {
    /// May be leased by the fast path. Empty if the other ring is in use.
    ready: Ring,
    /// To be leased only by the slow path: after a look at the clock or at the object, if the rules track leases; or
    /// because the caller notes each lease. Else empty.
    tracked: Ring,
}

impl Idle {
    pub(super) fn new() -> Self {
        Idle { ready: Ring::new(), tracked: Ring::new() }
    }

    pub(super) fn set_order(&mut self, order: Order) {
        self.ready.set_order(order);
        self.tracked.set_order(order);
    }

    /// Makes room for `capacity` slots, so that no push allocates.
    pub(super) fn reserve(&mut self, capacity: usize) {
        self.ready.reserve(capacity);
        self.tracked.reserve(capacity);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.tracked.len()
    }

    #[inline(always)]
    pub(super) fn pop_ready(&mut self) -> Option<SlotId> {
        self.ready.pop()
    }

    #[inline(always)]
    pub(super) fn push_ready(&mut self, slot: SlotId) {
        self.ready.push(slot);
    }

    /// Moves what may be leased without a further look to the other ring, which is empty.
    pub(super) fn track_all(&mut self) {
        debug_assert_eq!(self.tracked.len(), 0, "a pool keeps its idle slots in one ring");
        std::mem::swap(&mut self.ready, &mut self.tracked);
    }

    pub(super) fn push_tracked(&mut self, slot: SlotId) {
        self.tracked.push(slot);
    }

    pub(super) fn pop_tracked(&mut self) -> Option<SlotId> {
        self.tracked.pop()
    }

    /// How many are to be looked at before they are leased.
    pub(super) fn tracked_len(&self) -> usize {
        self.tracked.len()
    }

    /// Of the tracked ones, the one whose turn it is.
    pub(super) fn next_tracked(&self) -> Option<SlotId> {
        self.tracked.first()
    }

    /// Of the tracked ones, the one that came back last.
    pub(super) fn newest_tracked(&self) -> Option<SlotId> {
        self.tracked.newest()
    }

    /// Takes the next one, whatever its ring.
    pub(super) fn pop_any(&mut self) -> Option<SlotId> {
        self.ready.pop().or_else(|| self.tracked.pop())
    }

    /// Takes out this one, if it is here. Linear in the number of idle slots.
    pub(super) fn remove(&mut self, slot: SlotId) {
        let _ = self.ready.remove(slot) || self.tracked.remove(slot);
    }

    /// All of them, ring by ring, the next to be leased first.
    pub(super) fn iter(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.ready.iter().chain(self.tracked.iter())
    }

    /// The one that has been idle longest.
    pub(super) fn longest_idle(&self) -> Option<SlotId> {
        self.ready.oldest().or_else(|| self.tracked.oldest())
    }
}
