//! Model checks of the pool: loom runs every interleaving of the real core and the real wake word.
//!
//! `make test-loom` runs them. A lost wake-up shows as a deadlock, a lost or doubled object in the counts.
#![cfg(loom)]

mod plain;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;
use opool::pool::{Caller, Identity, SlotId, State, TimeSlice};
use opool::sync::{Attached, Guarded, Parker, Phase};
use plain::{Plain, counts};

#[derive(Debug)]
struct Token(usize);

impl Identity for Token {
    fn identity(&self) -> usize {
        self.0
    }
}

/// The pool as the bindings use it: the same critical sections in the same order, and no Python.
struct Pool {
    core: Guarded<State<Token, Arc<Parker>>>,
    /// How many hold the one object: never more than one.
    holders: AtomicUsize,
}

impl Pool {
    fn of(objects: usize) -> Arc<Self> {
        Self::with_time_slice(objects, TimeSlice::NONE)
    }

    fn with_time_slice(objects: usize, limits: TimeSlice) -> Arc<Self> {
        let mut state = State::new();
        state.set_time_slice(limits);
        for object in 0..objects {
            assert!(state.put(Token(object)).is_none());
        }
        Arc::new(Pool { core: Guarded::new(state), holders: AtomicUsize::new(0) })
    }

    fn with<R>(&self, critical: impl FnOnce(&mut State<Token, Arc<Parker>>) -> R) -> R {
        self.core.with(Attached::anywhere(), critical)
    }

    fn held(&self, slot: SlotId) -> SlotId {
        assert_eq!(self.holders.fetch_add(1, SeqCst), 0, "two holders");
        slot
    }

    fn lease(&self, me: usize) -> SlotId {
        let caller = Caller { thread: me, now: 0, nested: false, deadline: u64::MAX };
        if let Some(slot) = self.with(|core| core.lease_or_take_back(caller)) {
            return self.held(slot);
        }
        let parker = Arc::new(Parker::new());
        let mut ticket = match self.with(|core| core.queue(caller, Arc::clone(&parker))) {
            Ok(slot) => return self.held(slot),
            Err(ticket) => ticket,
        };
        loop {
            parker.park(None);
            ticket = match self.with(|core| core.look(ticket, caller)) {
                Ok((slot, _)) => return self.held(slot),
                Err(ticket) => ticket,
            }
        }
    }

    /// Queues, and leaves at once: whatever can happen between the two does happen in some interleaving.
    fn lease_or_expire(&self, me: usize) -> Option<SlotId> {
        let caller = Caller { thread: me, now: 0, nested: false, deadline: u64::MAX };
        match self.with(|core| core.queue(caller, Arc::new(Parker::new()))) {
            Ok(slot) => Some(self.held(slot)),
            Err(ticket) => self.with(|core| core.cancel(ticket, 0)).0.map(|slot| self.held(slot)),
        }
    }

    fn give_back(&self, me: usize, slot: SlotId) {
        self.holders.fetch_sub(1, SeqCst);
        if self.with(|core| core.give_back_quickly(slot)) {
            return;
        }
        if let Some(parker) =
            self.with(|core| core.give_back(slot, Caller { thread: me, now: 0, nested: false, deadline: u64::MAX }))
        {
            parker.unpark();
        }
    }

    fn assert_all_back(&self, size: usize) {
        let now = self.with(|core| core.counts());
        assert_eq!(now, counts(size, size, 0));
    }
}

/// Three threads have too many interleavings to try all of them. Up to five preemptions at any places find what is
/// known to go wrong in practice (Musuvathi and Qadeer, PLDI 2007), in seconds.
fn three_threads(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(5);
    builder.check(model);
}

#[test]
fn a_hand_over_that_races_with_a_timeout_loses_nothing() {
    loom::model(|| {
        let pool = Pool::of(1);
        let slot = pool.lease(1);
        let waiter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                if let Some(slot) = pool.lease_or_expire(2) {
                    pool.give_back(2, slot);
                }
            })
        };
        pool.give_back(1, slot);
        waiter.join().unwrap();
        pool.assert_all_back(1);
    });
}

#[test]
fn two_waiters_share_one_object_one_after_the_other() {
    three_threads(|| {
        let pool = Pool::of(1);
        let slot = pool.lease(1);
        let waiters: Vec<_> = (2..4)
            .map(|me| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    let slot = pool.lease(me);
                    pool.give_back(me, slot);
                })
            })
            .collect();
        pool.give_back(1, slot);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        pool.assert_all_back(1);
    });
}

#[test]
fn an_object_that_is_added_while_somebody_queues_reaches_them() {
    loom::model(|| {
        let pool = Pool::of(0);
        let waiter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let slot = pool.lease(2);
                pool.give_back(2, slot);
            })
        };
        if let Some(parker) = pool.with(|core| core.put(Token(7))) {
            parker.unpark();
        }
        waiter.join().unwrap();
        pool.assert_all_back(1);
    });
}

#[test]
fn a_waiter_who_expires_leaves_the_next_one_in_place() {
    three_threads(|| {
        let pool = Pool::of(1);
        let slot = pool.lease(1);
        let hasty = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                if let Some(slot) = pool.lease_or_expire(2) {
                    pool.give_back(2, slot);
                }
            })
        };
        let patient = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let slot = pool.lease(3);
                pool.give_back(3, slot);
            })
        };
        pool.give_back(1, slot);
        hasty.join().unwrap();
        patient.join().unwrap();
        pool.assert_all_back(1);
    });
}

/// A ticket is consumed by whatever ends the wait, so the type system forbids to close a waiter twice. What remains is
/// a wake that arrives after the waiter has left: it must not reach the next waiter in the same place of the queue.
#[test]
fn a_late_wake_for_a_closed_waiter_disturbs_nobody() {
    loom::model(|| {
        let pool = Pool::of(1);
        let slot = pool.lease(1);
        let waiter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                if let Some(slot) = pool.lease_or_expire(2) {
                    pool.give_back(2, slot);
                }
                let slot = pool.lease(2);
                pool.give_back(2, slot);
            })
        };
        pool.give_back(1, slot);
        waiter.join().unwrap();
        pool.assert_all_back(1);
    });
}

#[test]
fn a_lease_that_two_threads_release_at_once_is_given_back_once() {
    const RELEASED: u8 = 2;
    loom::model(|| {
        let pool = Pool::of(1);
        let slot = pool.lease(1);
        let phase = Arc::new(Phase::new(0));
        let leave = |pool: Arc<Pool>, phase: Arc<Phase>| {
            move || {
                if phase.replace(Attached::anywhere(), RELEASED) != RELEASED {
                    pool.give_back(1, slot);
                }
            }
        };
        let other = thread::spawn(leave(Arc::clone(&pool), Arc::clone(&phase)));
        leave(Arc::clone(&pool), phase)();
        other.join().unwrap();
        pool.assert_all_back(1);
    });
}

/// A thread in its time slice takes back what it has just handed over: the waiter keeps its place, and is served when a
/// hand-over is final, or when it collects first.
#[test]
fn an_object_that_is_taken_back_still_reaches_the_waiter() {
    loom::model(|| {
        let pool = Pool::with_time_slice(1, TimeSlice { body: 1, whole: 1 });
        let slot = pool.lease(1);
        let waiter = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let slot = pool.lease(2);
                pool.give_back(2, slot);
            })
        };
        pool.give_back(1, slot);
        for _ in 0..2 {
            let slot = pool.lease(1);
            pool.give_back(1, slot);
        }
        waiter.join().unwrap();
        pool.assert_all_back(1);
    });
}

#[test]
fn taking_back_races_with_a_timeout_and_loses_nothing() {
    three_threads(|| {
        let pool = Pool::with_time_slice(1, TimeSlice { body: 1, whole: 1 });
        let slot = pool.lease(1);
        let hasty = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                if let Some(slot) = pool.lease_or_expire(2) {
                    pool.give_back(2, slot);
                }
            })
        };
        let patient = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let slot = pool.lease(3);
                pool.give_back(3, slot);
            })
        };
        pool.give_back(1, slot);
        let slot = pool.lease(1);
        pool.give_back(1, slot);
        hasty.join().unwrap();
        patient.join().unwrap();
        pool.assert_all_back(1);
    });
}
