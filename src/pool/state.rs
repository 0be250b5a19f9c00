//! The decisions.

use super::acquired::Acquired;
use super::ring::Ring;
use super::slots::Slots;
use super::turn::Turn;
use super::waiters::{Gift, Outcome, Waiters};
use super::{Hold, Identity, Nanos, Order, Patience, SlotId, Ticket};

/// How many objects there are, and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All objects: `idle` + `leased`.
    pub size: usize,
    /// Free to take.
    pub idle: usize,
    /// Out, by a lease or bare, or on the way to a waiter.
    pub leased: usize,
    /// Those who wait.
    pub waiting: usize,
}

/// Why an object could not be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAcquired {
    /// It never was in this pool, or it was taken out for good.
    Foreign,
    /// It is idle: it was released before.
    Idle,
    /// A lease holds it, and the lease gives it back.
    Leased,
}

/// The pool's state. `T` is the pooled value, `W` what wakes a waiter.
///
/// Invariant: `waiters` is empty or `idle` is.
pub struct State<T, W> {
    slots: Slots<T>,
    idle: Ring,
    waiters: Waiters<W>,
    acquired: Acquired,
    patience: Patience,
    turn: Turn,
    /// The latest hand-over, while whoever gave it may take it back.
    gift: Option<Gift>,
}

/// The one who asks: which thread, and when. A thread number of 0 is nobody's.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// A number that no other living thread has.
    pub thread: usize,
    /// The time, read by the caller.
    pub now: Nanos,
    /// Whether the thread may be waiting already, further up its stack.
    pub nested: bool,
}

impl<T: Identity, W: Clone> State<T, W> {
    /// A pool of nothing.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        State {
            slots: Slots::new(),
            idle: Ring::new(),
            waiters: Waiters::new(),
            acquired: Acquired::new(),
            patience: Patience::NONE,
            turn: Turn::NOBODY,
            gift: None,
        }
    }

    /// Chooses how long a thread with short bodies may keep its turn.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Chooses which idle object goes out next.
    pub fn set_order(&mut self, order: Order) {
        self.idle.set_order(order);
    }

    /// vacant → idle, or straight to the first waiter, whom the caller wakes.
    pub fn add(&mut self, value: T) -> Option<W> {
        let slot = self.slots.insert(value);
        self.idle.reserve(self.slots.capacity());
        self.acquired.reserve(&mut self.slots);
        let wake = self.pass_on(slot);
        self.gift = None;
        wake
    }

    /// idle → leased, if anything is idle.
    #[inline(always)]
    pub fn lease(&mut self) -> Option<SlotId> {
        let id = self.idle.pop()?;
        self.slots.get(id).hold = Hold::Leased;
        Some(id)
    }

    /// As [`lease`](Self::lease); else takes a place in the queue. One critical section, so no wake can be missed.
    pub fn lease_or_queue(&mut self, asker: Asker, wake: W) -> Result<SlotId, Ticket> {
        if let Some(slot) = self.lease() {
            return Ok(slot);
        }
        if asker.nested
            && let Some(slot) = self.waiters.take_from_outer(asker.thread)
        {
            self.gift = None;
            self.slots.get(slot).hold = Hold::Leased;
            return Ok(slot);
        }
        self.turn.interrupt(asker.thread, asker.now);
        self.gift = None;
        Err(self.waiters.push(asker.thread, wake, asker.nested))
    }

    /// As [`lease`](Self::lease); else handed → leased, by whoever handed it over: while its turn goes on and the waiter
    /// has not picked it up. The waiter is the first in the queue again.
    pub fn lease_or_take_back(&mut self, asker: Asker) -> Option<SlotId> {
        if let Some(slot) = self.lease() {
            return Some(slot);
        }
        let gift = self.gift.take()?;
        if !self.turn.go_on(asker.thread, asker.now, self.patience) {
            return None;
        }
        let slot = self.waiters.take_back(gift)?;
        self.slots.get(slot).hold = Hold::Leased;
        Some(slot)
    }

    /// handed → leased, if the waiter's turn has come; else the ticket is still good. The waker is to be dropped.
    pub fn collect(&mut self, ticket: Ticket, asker: Asker) -> Result<(SlotId, Option<W>), Ticket> {
        self.forget_gift(&ticket);
        match self.waiters.collect(ticket) {
            Outcome::Queued(ticket) => Err(ticket),
            Outcome::Given(slot, wake) => {
                self.slots.get(slot).hold = Hold::Leased;
                // Another thread's turn: what the one before has handed over is no longer anybody's to take back.
                self.turn = Turn::begin(asker.thread, asker.now);
                self.gift = None;
                Ok((slot, wake))
            }
        }
    }

    /// Leaves the queue. If the object came first (handed → leased), keep it or give it back. Drop the waker.
    pub fn cancel(&mut self, ticket: Ticket) -> (Option<SlotId>, Option<W>) {
        self.forget_gift(&ticket);
        let (slot, wake) = self.waiters.cancel(ticket);
        if let Some(slot) = slot {
            self.slots.get(slot).hold = Hold::Leased;
        }
        (slot, wake)
    }

    /// leased → idle, unless somebody waits: then nothing changes, and [`give_back`](Self::give_back) is to be called.
    #[inline(always)]
    pub fn give_back_unless_awaited(&mut self, id: SlotId) -> bool {
        if !self.waiters.is_empty() {
            return false;
        }
        self.set_idle(id);
        true
    }

    /// leased → idle, or handed to the first waiter, whom the caller wakes.
    pub fn give_back(&mut self, id: SlotId, asker: Asker) -> Option<W> {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        let in_turn = self.turn.go_on(asker.thread, asker.now, self.patience);
        let wake = self.pass_on(id);
        if !in_turn {
            self.gift = None;
        }
        wake
    }

    /// Whether the latest hand-over may still be taken back.
    pub fn may_take_back(&self) -> bool {
        self.gift.is_some()
    }

    /// leased → acquired: the bare object goes out, and `release` will know it.
    pub fn acquire(&mut self, id: SlotId) {
        self.slots.get(id).hold = Hold::Acquired;
        self.acquired.insert(id, &mut self.slots);
    }

    /// idle → acquired, [`lease`](Self::lease) and [`acquire`](Self::acquire) in one step, where that is quick: if
    /// something is idle and no other object of this pool is out by `acquire`.
    #[inline(always)]
    pub fn acquire_quickly(&mut self) -> Option<SlotId> {
        if !self.acquired.has_room_outside() {
            return None;
        }
        let id = self.idle.pop()?;
        self.slots.get(id).hold = Hold::Acquired;
        self.acquired.insert(id, &mut self.slots);
        Some(id)
    }

    /// acquired → idle; or, if somebody waits, acquired → leased, and the slot that is to be given back next.
    ///
    /// # Errors
    /// Nothing changes unless the object is out by `acquire`.
    pub fn release(&mut self, identity: usize) -> Result<Option<SlotId>, NotAcquired> {
        let Some(id) = self.acquired.remove(identity, &mut self.slots) else {
            return Err(self.why_not_acquired(identity));
        };
        if self.waiters.is_empty() {
            self.set_idle(id);
            return Ok(None);
        }
        self.slots.get(id).hold = Hold::Leased;
        Ok(Some(id))
    }

    /// acquired → idle, where that is quick: if nobody waits, and the object went out last. Else nothing changes.
    #[inline(always)]
    pub fn release_quickly(&mut self, identity: usize) -> bool {
        if !self.waiters.is_empty() {
            return false;
        }
        let Some(id) = self.acquired.remove_last(identity, &self.slots) else { return false };
        self.set_idle(id);
        true
    }

    /// leased → vacant: the pool forgets the value.
    pub fn retire(&mut self, id: SlotId) -> Option<T> {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.slots.remove(id)
    }

    /// Empties the pool: every idle value, in order, and what was acquired and will not be released any more. Leases
    /// that are out stay valid.
    pub fn drain(&mut self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.slots.len());
        while let Some(id) = self.lease() {
            values.extend(self.retire(id));
        }
        for id in self.slots.ids() {
            if self.slots.get(id).hold == Hold::Acquired {
                self.acquired.remove_slot(id, &mut self.slots);
                values.extend(self.slots.remove(id));
            }
        }
        values
    }

    /// Settles that no thread but `survivor` exists any more, which is what a fork does to the child.
    ///
    /// Waiters of other threads are forgotten, and what they had been handed is free again. `orphaned` is asked of each
    /// value that is out whether its holder is gone; then it is free again too. Returns what used to wake the
    /// forgotten, to be dropped, and whom to wake.
    pub fn keep_only(&mut self, survivor: usize, mut orphaned: impl FnMut(&mut T, Hold) -> bool) -> (Vec<W>, Vec<W>) {
        self.gift = None;
        let (forgotten, mut free) = self.waiters.keep_only(survivor);
        for id in self.slots.ids() {
            let slot = self.slots.get(id);
            let hold = slot.hold;
            let out = matches!(hold, Hold::Leased | Hold::Acquired);
            if out && slot.value.as_mut().is_some_and(|value| orphaned(value, hold)) {
                if hold == Hold::Acquired {
                    self.acquired.remove_slot(id, &mut self.slots);
                }
                free.push(id);
            }
        }
        let wake = free.into_iter().filter_map(|id| self.pass_on(id)).collect();
        self.gift = None;
        (forgotten, wake)
    }

    /// The value in a slot.
    #[inline(always)]
    pub fn value_mut(&mut self, id: SlotId) -> Option<&mut T> {
        self.slots.get(id).value.as_mut()
    }

    /// Every value, with what it is doing.
    pub fn values(&self) -> impl Iterator<Item = (&T, Hold)> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref().map(|value| (value, slot.hold)))
    }

    /// How many objects there are, and what they do.
    pub fn counts(&self) -> Counts {
        let (size, idle) = (self.slots.len(), self.idle.len());
        Counts { size, idle, leased: size - idle, waiting: self.waiters.len() }
    }

    #[inline(always)]
    fn set_idle(&mut self, id: SlotId) {
        self.slots.get(id).hold = Hold::Idle;
        self.idle.push(id);
    }

    /// To the first waiter, else idle. Keeps the invariant: the ring is filled only when nobody waits.
    fn pass_on(&mut self, id: SlotId) -> Option<W> {
        match self.waiters.give(id) {
            Some((gift, wake)) => {
                self.slots.get(id).hold = Hold::Handed;
                self.gift = Some(gift);
                Some(wake)
            }
            None => {
                self.set_idle(id);
                None
            }
        }
    }

    /// A gift is its giver's to take back only until the waiter looks.
    fn forget_gift(&mut self, ticket: &Ticket) {
        self.gift = self.gift.filter(|gift| !gift.is_for(ticket));
    }

    #[cold]
    fn why_not_acquired(&self, identity: usize) -> NotAcquired {
        let mut found = NotAcquired::Foreign;
        for (value, hold) in self.values() {
            if value.identity() == identity {
                match hold {
                    Hold::Idle => return NotAcquired::Idle,
                    _ => found = NotAcquired::Leased,
                }
            }
        }
        found
    }
}
