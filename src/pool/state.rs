//! The decisions: who gets what, now.

use std::collections::VecDeque;

use super::acquired::Acquired;
use super::background::Report;
use super::figures::{Figures, Reason, Stopwatch};
use super::ring::Ring;
use super::rules::Rules;
use super::slots::{Farewell, Slots};
use super::supply::Supply;
use super::turn::Turn;
use super::upkeep::Task;
use super::waiters::{Gift, Outcome, Refusal, Waiters};
use super::workers::Workers;
use super::{Hold, Identity, Nanos, Order, Patience, SlotId, Ticket};

/// How many objects there are, and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All objects: `idle` + `leased`.
    pub size: usize,
    /// Free to take.
    pub idle: usize,
    /// Out, by a lease or bare, on the way to a waiter, or being tended to.
    pub leased: usize,
    /// Those who wait.
    pub waiting: usize,
    /// Being made, and not in `size` yet.
    pub creating: usize,
    /// Of `leased`: those that a background thread tends to.
    pub checking: usize,
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

/// What somebody who asks for an object gets.
#[derive(Debug)]
pub enum Answer {
    /// The object.
    Slot(SlotId),
    /// A place in the queue.
    Place(Ticket),
    /// Nothing.
    Refused(Refusal),
}

/// What became of somebody's place in the queue. The waker is to be dropped.
pub enum Turned<W> {
    /// The turn has come: here is the object.
    Slot(SlotId, Option<W>),
    /// The turn will not come.
    Refused(Refusal, Option<W>),
    /// Not yet; the ticket is still good.
    NotYet(Ticket),
}

/// The pool's state. `T` is the pooled value, `W` what wakes a thread.
///
/// Invariant: `waiters` is empty, or nothing that is idle could go out as it is: `idle` is empty, and what is in `kept`
/// has to be checked first (and a check, or the making of another, is under way for each waiter, as far as there are
/// objects to check and room to make).
pub struct State<T, W> {
    pub(super) slots: Slots<T>,
    /// Idle, and free to go out without a further look. Empty if the rules ask for that look.
    pub(super) idle: Ring,
    /// Idle, and to be looked at before going out. Empty unless the rules ask for that.
    pub(super) kept: Ring,
    pub(super) waiters: Waiters<W>,
    pub(super) acquired: Acquired,
    patience: Patience,
    turn: Turn,
    /// The latest hand-over, while whoever gave it may take it back.
    gift: Option<Gift>,

    pub(super) rules: Rules,
    pub(super) watches: bool,
    pub(super) closed: bool,
    /// Whether it was closed without waiting for what is out.
    pub(super) forced: bool,
    pub(super) supply: Supply,
    pub(super) workers: Workers<W>,
    /// What background threads are to do, in this order.
    pub(super) to_do: VecDeque<Task>,
    pub(super) reports: VecDeque<Report>,
    /// Values that have left and are still to be disposed of; and since when others are just being disposed of.
    pub(super) gone: VecDeque<(T, Farewell)>,
    pub(super) disposing: Vec<Nanos>,
    /// How many slots are in the hands of background threads.
    pub(super) checking: usize,
    pub(super) latest_job: u64,
    /// How many values are to be replaced; how many replacements are owed for some that went already; how many came
    /// before any went; and whether one of the latter is being made.
    pub(super) stale: usize,
    pub(super) owed: usize,
    pub(super) ahead: usize,
    pub(super) making_ahead: bool,
    /// Whether somebody found nothing, and did not wait.
    pub(super) wished: bool,
    /// How many slots have a `farewell` of their own.
    pub(super) odd: usize,
    /// When there is something to do again, at the earliest.
    pub(super) due: Nanos,
    /// Those who wait for the end of the pool; and whoever is to be woken next.
    pub(super) closers: Vec<W>,
    pub(super) to_wake: VecDeque<W>,
    pub(super) figures: Figures,
    pub(super) stopwatch: Stopwatch,
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
    /// When to send it away, by [`State::expire`], if it does not look at the clock itself: then `Nanos::MAX`.
    pub deadline: Nanos,
}

impl<T: Identity, W: Clone> State<T, W> {
    /// A pool of nothing.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        State {
            slots: Slots::new(),
            idle: Ring::new(),
            kept: Ring::new(),
            waiters: Waiters::new(),
            acquired: Acquired::new(),
            patience: Patience::NONE,
            turn: Turn::NOBODY,
            gift: None,
            rules: Rules::NONE,
            watches: false,
            closed: false,
            forced: false,
            supply: Supply::new(),
            workers: Workers::new(),
            to_do: VecDeque::new(),
            reports: VecDeque::new(),
            gone: VecDeque::new(),
            disposing: Vec::new(),
            checking: 0,
            latest_job: 0,
            stale: 0,
            owed: 0,
            ahead: 0,
            making_ahead: false,
            wished: false,
            odd: 0,
            due: Nanos::MAX,
            closers: Vec::new(),
            to_wake: VecDeque::new(),
            figures: Figures::default(),
            stopwatch: Stopwatch::default(),
        }
    }

    /// Chooses how long a thread with short bodies may keep its turn.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Chooses which idle object goes out next.
    pub fn set_order(&mut self, order: Order) {
        self.idle.set_order(order);
        self.kept.set_order(order);
    }

    /// Sets the rules, once, before the first object comes in. `seed` is where random numbers begin.
    pub fn set_rules(&mut self, rules: Rules, seed: u64) {
        debug_assert_eq!(self.slots.len(), 0, "the rules come first");
        self.rules = rules;
        self.watches = rules.watches();
        self.supply.seed(seed);
        self.mind();
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Coming in

    /// vacant → idle, or straight to the first waiter, whom the caller wakes.
    ///
    /// # Errors
    /// The value comes back if the pool is closed, or full.
    pub fn add(&mut self, value: T, now: Nanos) -> Result<Option<W>, (T, Refusal)> {
        if self.closed {
            return Err((value, Refusal::Closed));
        }
        if self.slots.len() + self.supply.making() >= self.rules.max_size {
            return Err((value, Refusal::TooMany));
        }
        let (_, wake) = self.insert(value, now);
        self.gift = None;
        self.look_for_more(now);
        self.mind();
        Ok(wake)
    }

    pub(super) fn insert(&mut self, value: T, now: Nanos) -> (SlotId, Option<W>) {
        let id = self.place(value, now);
        (id, self.pass_on(id, now))
    }

    fn place(&mut self, value: T, now: Nanos) -> SlotId {
        let id = self.slots.insert(value);
        self.idle.reserve(self.slots.capacity());
        self.kept.reserve(self.slots.capacity());
        self.acquired.reserve(&mut self.slots);
        self.figures.created += 1;
        if let Some(lifetime) = self.rules.max_lifetime {
            let shorter = self.rules.jitter * self.supply.random();
            let expires = now.saturating_add((lifetime as f64 * (1.0 - shorter)) as Nanos);
            self.slots.record(id).expires = expires;
            self.due = self.due.min(expires);
        }
        id
    }

    /// vacant → leased: what was borrowed for the caller, who takes it while nobody waits.
    pub fn borrow(&mut self, value: T, now: Nanos) -> SlotId {
        let id = self.place(value, now);
        self.take_over(id, now);
        id
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Taking

    /// idle → leased, if anything is idle that needs no look.
    #[inline(always)]
    pub fn lease(&mut self) -> Option<SlotId> {
        let id = self.idle.pop()?;
        self.slots.get(id).hold = Hold::Leased;
        self.figures.leases += 1;
        Some(id)
    }

    /// As [`lease`](Self::lease), with the look that the rules ask for.
    pub fn take(&mut self, now: Nanos) -> Option<SlotId> {
        if !self.watches {
            return self.lease();
        }
        let id = self.take_fit(now)?;
        self.slots.get(id).hold = Hold::Leased;
        self.figures.leases += 1;
        self.note_taken(id, now);
        Some(id)
    }

    /// As [`take`](Self::take); else takes a place in the queue. One critical section, so no wake can be missed.
    pub fn lease_or_queue(&mut self, asker: Asker, wake: W) -> Answer {
        if self.closed {
            return Answer::Refused(Refusal::Closed);
        }
        if let Some(slot) = self.take(asker.now) {
            return Answer::Slot(slot);
        }
        if asker.nested
            && let Some(slot) = self.waiters.take_from_outer(asker.thread)
        {
            self.gift = None;
            self.take_over(slot, asker.now);
            self.look_for_more(asker.now);
            return Answer::Slot(slot);
        }
        if let Some(refusal) = self.reason_not_to_queue(asker.now) {
            self.figures.refused += 1;
            return Answer::Refused(refusal);
        }
        self.turn.interrupt(asker.thread, asker.now);
        self.gift = None;
        let ticket = self.waiters.push(asker.thread, asker.now, asker.deadline, wake, asker.nested);
        self.look_for_more(asker.now);
        Answer::Place(ticket)
    }

    /// As [`take`](Self::take); else handed → leased, by whoever handed it over: while its turn goes on and the waiter
    /// has not picked it up. The waiter is the first in the queue again.
    pub fn lease_or_take_back(&mut self, asker: Asker) -> Option<SlotId> {
        if let Some(slot) = self.take(asker.now) {
            return Some(slot);
        }
        let gift = self.gift.take()?;
        if !self.turn.go_on(asker.thread, asker.now, self.patience) {
            return None;
        }
        let slot = self.waiters.take_back(gift)?;
        self.take_over(slot, asker.now);
        self.look_for_more(asker.now);
        Some(slot)
    }

    /// handed → leased, if the waiter's turn has come.
    pub fn collect(&mut self, ticket: Ticket, asker: Asker) -> Turned<W> {
        self.forget_gift(&ticket);
        match self.waiters.collect(ticket) {
            Outcome::Queued(ticket) => Turned::NotYet(ticket),
            Outcome::Refused(refusal, since, wake) => {
                self.figures.wait.note(asker.now.saturating_sub(since));
                Turned::Refused(refusal, wake)
            }
            Outcome::Given(slot, since, wake) => {
                self.figures.wait.note(asker.now.saturating_sub(since));
                self.take_over(slot, asker.now);
                // Another thread's turn: what the one before has handed over is no longer anybody's to take back.
                self.turn = Turn::begin(asker.thread, asker.now);
                self.gift = None;
                Turned::Slot(slot, wake)
            }
        }
    }

    /// Leaves the queue. If the object came first (handed → leased), keep it or give it back. Drop the waker.
    pub fn cancel(&mut self, ticket: Ticket, now: Nanos) -> (Option<SlotId>, Option<W>) {
        self.forget_gift(&ticket);
        self.figures.wait.note(now.saturating_sub(self.waiters.since(&ticket)));
        let (slot, wake) = self.waiters.cancel(ticket);
        match slot {
            Some(slot) => self.take_over(slot, now),
            None => self.supply.forsake(),
        }
        (slot, wake)
    }

    /// Sends away those whose deadline has passed, and tells when the next one does.
    pub fn expire(&mut self, now: Nanos) -> Option<Nanos> {
        let expired = self.waiters.expire(now);
        expired.iter().for_each(|_| self.supply.forsake());
        self.to_wake.extend(expired);
        self.next_deadline()
    }

    /// When the next of those who wait is to be sent away, if any is.
    pub fn next_deadline(&self) -> Option<Nanos> {
        Some(self.waiters.next_deadline()).filter(|&deadline| deadline < Nanos::MAX)
    }

    /// Somebody is to be woken at the next opportunity.
    pub fn wake_later(&mut self, wake: W) {
        self.to_wake.push_back(wake);
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
        self.figures.leases += 1;
        Some(id)
    }

    /// The next idle object that is fit to go out. Prefers the order; but rather the one that came last than none.
    fn take_fit(&mut self, now: Nanos) -> Option<SlotId> {
        let mut first = self.kept.first()?;
        if self.slots.record(first).expires <= now && self.may_replace(now) {
            self.kept.pop();
            self.discard(first, Reason::Lifetime);
            self.owed += 1;
            first = self.kept.first()?;
        }
        for id in [first, self.kept.newest()?] {
            if self.is_fit(id, now) {
                self.kept.remove(id);
                return Some(id);
            }
        }
        None
    }

    fn is_fit(&mut self, id: SlotId, now: Nanos) -> bool {
        let idle_for = now.saturating_sub(self.slots.record(id).since);
        self.rules.check_after.is_none_or(|limit| idle_for <= limit)
    }

    /// handed → leased.
    fn take_over(&mut self, id: SlotId, now: Nanos) {
        self.slots.get(id).hold = Hold::Leased;
        self.figures.leases += 1;
        self.note_taken(id, now);
    }

    fn note_taken(&mut self, id: SlotId, now: Nanos) {
        if self.watches {
            let record = self.slots.record(id);
            (record.since, record.reported) = (now, false);
            if let Some(limit) = self.rules.leak_after {
                self.due = self.due.min(now.saturating_add(limit));
            }
        }
    }

    /// Fails fast: when nothing could come, or too many wait for what others hold.
    fn reason_not_to_queue(&self, now: Nanos) -> Option<Refusal> {
        let size = self.slots.len();
        if size == 0 && self.supply.tripped() {
            // One at a time waits for the next attempt, and it is the one who sets it going.
            let waits_for_attempt = self.supply.may_begin(now) > 0 && self.waiters.is_empty();
            if !waits_for_attempt {
                return Some(Refusal::Failed);
            }
        }
        let room = if self.rules.makes { self.rules.max_size.saturating_sub(size + self.supply.making()) } else { 0 };
        let coming = self.supply.making() + self.checking + self.kept.len() + room;
        let waiting = self.waiters.len();
        (waiting >= coming && waiting - coming >= self.rules.max_waiting).then_some(Refusal::TooMany)
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Giving back

    /// leased → idle, where that is quick: if nobody waits, and nothing else is to be minded. Else nothing changes, and
    /// [`give_back`](Self::give_back) is to be called.
    #[inline(always)]
    pub fn give_back_quickly(&mut self, id: SlotId) -> bool {
        if !self.waiters.is_calm() {
            return false;
        }
        self.slots.get(id).hold = Hold::Idle;
        self.idle.push(id);
        true
    }

    /// leased → idle, or handed to the first waiter, whom the caller wakes, or gone.
    pub fn give_back(&mut self, id: SlotId, asker: Asker) -> Option<W> {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.note_use(id, asker.now);
        if let Some(reason) = self.reason_to_keep_out(id, asker.now) {
            self.leave(id, reason, asker.now);
            return None;
        }
        let in_turn = self.turn.go_on(asker.thread, asker.now, self.patience);
        let wake = self.pass_on(id, asker.now);
        if !in_turn {
            self.gift = None;
        }
        wake
    }

    /// leased → vacant: the value has left, and the pool looks for others if it needs them.
    pub fn discard_leased(&mut self, id: SlotId, reason: Reason, now: Nanos) {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.note_use(id, now);
        self.leave(id, reason, now);
    }

    fn leave(&mut self, id: SlotId, reason: Reason, now: Nanos) {
        self.discard(id, reason);
        self.look_for_more(now);
        self.mind();
    }

    /// The end of a use, however the object came back; each has one.
    pub(super) fn note_use(&mut self, id: SlotId, now: Nanos) {
        if self.rules.notes_leases {
            let since = self.slots.record(id).since;
            self.figures.hold.note(now.saturating_sub(since));
        }
    }

    /// Whether the latest hand-over may still be taken back.
    pub fn may_take_back(&self) -> bool {
        self.gift.is_some()
    }

    /// acquired → idle; or, if there is something to be minded, acquired → leased, and the slot that is to be given back
    /// next.
    ///
    /// # Errors
    /// Nothing changes unless the object is out by `acquire`.
    pub fn release(&mut self, identity: usize) -> Result<Option<SlotId>, NotAcquired> {
        let Some(id) = self.acquired.remove(identity, &mut self.slots) else {
            return Err(self.why_not_acquired(identity));
        };
        if self.give_back_quickly(id) {
            return Ok(None);
        }
        self.slots.get(id).hold = Hold::Leased;
        Ok(Some(id))
    }

    /// acquired → idle, where that is quick: if there is nothing to be minded, and the object went out last. Else nothing
    /// changes.
    #[inline(always)]
    pub fn release_quickly(&mut self, identity: usize) -> bool {
        if !self.waiters.is_calm() {
            return false;
        }
        let Some(id) = self.acquired.remove_last(identity, &self.slots) else { return false };
        self.give_back_quickly(id)
    }

    /// leased → vacant: the value is the caller's.
    pub fn retire(&mut self, id: SlotId, now: Nanos) -> Option<T> {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        let value = self.remove(id, Reason::Discarded);
        self.look_for_more(now);
        self.mind();
        value
    }

    /// Empties the pool: every idle value, in order, and everything else that will not be given back any more. Leases
    /// that are out stay valid.
    pub fn drain(&mut self) -> Vec<T> {
        self.to_do.clear();
        let mut values: Vec<T> =
            self.gone.drain(..).filter(|&(_, end)| end != Farewell::Leak).map(|gone| gone.0).collect();
        while let Some(id) = self.idle.pop().or_else(|| self.kept.pop()) {
            values.extend(self.remove(id, Reason::Closed));
        }
        for id in self.slots.ids() {
            match self.slots.get(id).hold {
                Hold::Acquired => self.acquired.remove_slot(id, &mut self.slots),
                Hold::Tended => self.checking -= 1,
                _ => continue,
            }
            let ours = self.slots.record(id).farewell != Farewell::Leak;
            values.extend(self.remove(id, Reason::Closed).filter(|_| ours));
        }
        values
    }

    // -----------------------------------------------------------------------------------------------------------------

    /// To the first waiter, else idle. Keeps the invariant: the rings are filled only when nobody waits.
    pub(super) fn pass_on(&mut self, id: SlotId, now: Nanos) -> Option<W> {
        match self.waiters.give(id) {
            Some((gift, wake)) => {
                self.slots.get(id).hold = Hold::Handed;
                self.gift = Some(gift);
                Some(wake)
            }
            None if self.rules.borrows => {
                self.discard(id, Reason::Surplus);
                None
            }
            None => {
                self.slots.get(id).hold = Hold::Idle;
                if !self.watches {
                    self.idle.push(id);
                    return None;
                }
                self.kept.push(id);
                self.slots.record(id).since = now;
                if let Some(limit) = self.rules.max_idle {
                    self.due = self.due.min(now.saturating_add(limit));
                }
                None
            }
        }
    }

    /// Nothing that was handed over may be taken back any more.
    pub(super) fn forget_gifts(&mut self) {
        self.gift = None;
    }

    /// A gift is its giver's to take back only until the waiter looks.
    fn forget_gift(&mut self, ticket: &Ticket) {
        self.gift = self.gift.filter(|gift| !gift.is_for(ticket));
    }

    #[cold]
    fn why_not_acquired(&self, identity: usize) -> NotAcquired {
        let mut found = NotAcquired::Foreign;
        for (_, value, hold, _) in self.values() {
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
