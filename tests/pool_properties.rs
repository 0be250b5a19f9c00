//! The pool's state against a model that is too simple to be wrong: lists that are searched from end to end.

mod plain;

use std::collections::VecDeque;

use opool::pool::{Caller, Hold, Identity, NotAcquired, Order, SlotId, State, Ticket, TimeSlice};
use plain::{Plain, counts};
use proptest::prelude::*;

const ME: usize = 1;
const OTHER: usize = 2;

/// A pooled value: the object that it stands for (several may stand for one), and a serial number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    object: usize,
    serial: usize,
}

impl Identity for Value {
    fn identity(&self) -> usize {
        self.object
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add { object: usize },
    Lease { who: usize },
    Queue { who: usize },
    Collect { which: usize },
    Cancel { which: usize },
    GiveBack { which: usize },
    Acquire { who: usize },
    Release { object: usize },
    Retire { which: usize },
    NoteHolders,
    Fork,
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = prop_oneof![Just(ME), Just(OTHER)];
    let object = 0usize..6;
    let which = any::<usize>();
    let step = prop_oneof![
        3 => object.clone().prop_map(|object| Step::Add { object }),
        4 => who.clone().prop_map(|who| Step::Lease { who }),
        4 => who.clone().prop_map(|who| Step::Queue { who }),
        3 => which.prop_map(|which| Step::Collect { which }),
        2 => which.prop_map(|which| Step::Cancel { which }),
        6 => which.prop_map(|which| Step::GiveBack { which }),
        4 => who.prop_map(|who| Step::Acquire { who }),
        5 => object.prop_map(|object| Step::Release { object }),
        1 => which.prop_map(|which| Step::Retire { which }),
        1 => Just(Step::NoteHolders),
        1 => Just(Step::Fork),
        1 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 1..200)
}

/// What the model knows: every value is in exactly one of these places.
#[derive(Default)]
struct Model {
    idle: VecDeque<Value>,
    leased: Vec<(Value, usize, SlotId)>,
    acquired: Vec<(Value, usize)>,
    /// In the order of their arrival; `Some` once handed over.
    waiters: Vec<(usize, Option<Value>, Option<Ticket>)>,
}

struct Run {
    state: State<Value, usize>,
    model: Model,
    order: Order,
    serial: usize,
    next_waiter: usize,
    /// One tick a step.
    now: u64,
    limits: TimeSlice,
    /// Whether holders are noted, for which the fast path finds nothing.
    noted: bool,
    /// The latest caller that handed something over.
    giver: Option<usize>,
}

impl Run {
    fn new(order: Order, limits: TimeSlice) -> Self {
        let mut state = State::new();
        state.set_order(order);
        state.set_time_slice(limits);
        Run {
            state,
            model: Model::default(),
            order,
            serial: 0,
            next_waiter: 0,
            now: 0,
            limits,
            noted: false,
            giver: None,
        }
    }

    fn caller(&self, thread: usize) -> Caller {
        Caller { thread, now: self.now, nested: false, deadline: u64::MAX }
    }

    /// A caller may take back only what it handed over and the waiter has not collected; the model cannot know more.
    fn took_back(&mut self, who: usize, slot: SlotId) {
        let value = self.value(slot);
        assert!(self.limits != TimeSlice::NONE, "an object was taken back without a time slice");
        assert_eq!(self.giver, Some(who), "only the giver may take it back");
        let waiter = self.model.waiters.iter_mut().find(|(_, given, _)| *given == Some(value));
        waiter.expect("taken back from a waiter").1 = None;
        self.model.leased.push((value, who, slot));
    }

    /// The model's side of a value that comes free; the wake must be for the first who still waits.
    fn comes_free(&mut self, value: Value, wake: Option<usize>) {
        let first = self.model.waiters.iter_mut().find(|(_, given, _)| given.is_none());
        match first {
            Some((_, given, _)) => {
                assert!(wake.is_some(), "no waiter was woken although there is one");
                *given = Some(value);
            }
            None => {
                assert_eq!(wake, None);
                match self.order {
                    Order::Fifo => self.model.idle.push_back(value),
                    Order::Lifo => self.model.idle.push_front(value),
                }
            }
        }
    }

    fn value(&mut self, slot: SlotId) -> Value {
        *self.state.value_mut(slot).expect("a slot that is out has a value")
    }

    /// By the fast path, or if that finds nothing by the slow one.
    fn lease(&mut self) -> Option<SlotId> {
        let quick = self.state.lease();
        assert!(quick.is_none() || !self.noted, "the fast path has leased what the slow one is to note");
        quick.or_else(|| self.state.take(self.now))
    }

    /// As the bindings do it.
    fn release(&mut self, object: usize) -> Result<Option<SlotId>, NotAcquired> {
        if self.state.release_quickly(object) { Ok(None) } else { self.state.release(object) }
    }

    /// The value that is idle in the state and not yet in the model.
    fn back_in_the_ring(&mut self) -> Value {
        let idle = self.state.values().filter(|(_, _, hold, _)| *hold == Hold::Idle);
        *idle.map(|(_, value, ..)| value).find(|value| !self.model.idle.contains(value)).expect("one more than before")
    }

    fn step(&mut self, step: Step) {
        self.now += 1;
        match step {
            Step::Add { object } => {
                self.serial += 1;
                let value = Value { object, serial: self.serial };
                let wake = self.state.put(value);
                self.comes_free(value, wake);
            }
            Step::Lease { who } => {
                let slot = self.lease();
                let expected = self.model.idle.pop_front();
                assert_eq!(slot.map(|slot| self.value(slot)), expected);
                self.model.leased.extend(slot.zip(expected).map(|(slot, value)| (value, who, slot)));
            }
            Step::Queue { who } => {
                self.next_waiter += 1;
                let caller = self.caller(who);
                if self.model.idle.is_empty()
                    && let Some(slot) = self.state.lease_or_take_back(caller)
                {
                    return self.took_back(who, slot);
                }
                match self.state.queue(caller, self.next_waiter) {
                    Ok(slot) => {
                        let expected = self.model.idle.pop_front().expect("the model has something idle too");
                        assert_eq!(self.value(slot), expected);
                        self.model.leased.push((expected, who, slot));
                    }
                    Err(ticket) => {
                        assert!(self.model.idle.is_empty(), "queued although something is idle");
                        self.model.waiters.push((who, None, Some(ticket)));
                    }
                }
            }
            Step::Collect { which } if !self.model.waiters.is_empty() => {
                let which = which % self.model.waiters.len();
                let (who, given, ticket) = self.model.waiters.remove(which);
                let caller = self.caller(who);
                match self.state.look(ticket.expect("kept until the end"), caller) {
                    Ok((slot, waker)) => {
                        assert!(waker.is_some());
                        let value = given.expect("not handed over in the model");
                        assert_eq!(self.value(slot), value);
                        self.model.leased.push((value, who, slot));
                    }
                    Err(ticket) => {
                        assert_eq!(given, None);
                        self.model.waiters.insert(which, (who, given, Some(ticket)));
                    }
                }
            }
            Step::Cancel { which } if !self.model.waiters.is_empty() => {
                let (who, given, ticket) = self.model.waiters.remove(which % self.model.waiters.len());
                let (slot, waker) = self.state.cancel(ticket.expect("kept until the end"), 0);
                assert!(waker.is_some());
                match slot {
                    None => assert_eq!(given, None),
                    Some(slot) => {
                        let value = given.expect("not handed over in the model");
                        assert_eq!(self.value(slot), value);
                        self.model.leased.push((value, who, slot));
                    }
                }
            }
            Step::GiveBack { which } if !self.model.leased.is_empty() => {
                let (value, who, slot) = self.model.leased.swap_remove(which % self.model.leased.len());
                let quick = self.state.give_back_quickly(slot);
                assert!(!quick || !self.noted);
                let wake = if quick { None } else { self.state.give_back(slot, self.caller(who)) };
                if wake.is_some() {
                    self.giver = Some(who);
                }
                self.comes_free(value, wake);
            }
            Step::Acquire { who } => {
                let quick = self.state.acquire_quickly();
                assert!(quick.is_none() || !self.noted, "the fast path has leased what the slow one is to note");
                let slot = quick.or_else(|| self.lease().inspect(|&slot| self.state.acquire(slot)));
                let expected = self.model.idle.pop_front();
                assert_eq!(slot.map(|slot| self.value(slot)), expected);
                self.model.acquired.extend(expected.map(|value| (value, who)));
            }
            Step::Release { object } => match self.release(object) {
                Ok(awaited) => {
                    let value = match awaited {
                        Some(slot) => self.value(slot),
                        None => self.back_in_the_ring(),
                    };
                    let place = self.model.acquired.iter().position(|(other, _)| *other == value);
                    self.model.acquired.swap_remove(place.expect("acquired in the model too"));
                    assert_eq!(value.object, object);
                    let caller = self.caller(ME);
                    let wake = awaited.and_then(|slot| self.state.give_back(slot, caller));
                    if wake.is_some() {
                        self.giver = Some(ME);
                    }
                    self.comes_free(value, wake);
                }
                Err(why) => {
                    assert!(self.model.acquired.iter().all(|(value, _)| value.object != object));
                    let idle = self.model.idle.iter().any(|value| value.object == object);
                    let out = self.model.leased.iter().any(|(value, _, _)| value.object == object)
                        || self.model.waiters.iter().any(|(_, given, _)| given.is_some_and(|v| v.object == object));
                    let expected = match (idle, out) {
                        (true, _) => NotAcquired::Idle,
                        (false, true) => NotAcquired::Leased,
                        (false, false) => NotAcquired::Foreign,
                    };
                    assert_eq!(why, expected);
                }
            },
            Step::Retire { which } if !self.model.leased.is_empty() => {
                let (value, _, slot) = self.model.leased.swap_remove(which % self.model.leased.len());
                assert_eq!(self.state.retire(slot, 0), Some(value));
            }
            Step::NoteHolders => {
                self.state.note_each_holder();
                self.noted = true;
            }
            Step::Fork => self.fork(),
            Step::Drain => {
                let drained = self.state.drain();
                let idle = self.model.idle.len();
                assert!(self.model.idle.drain(..).eq(drained[..idle].iter().copied()));
                let mut acquired: Vec<_> = self.model.acquired.drain(..).map(|(value, _)| value.serial).collect();
                let mut rest: Vec<_> = drained[idle..].iter().map(|value| value.serial).collect();
                acquired.sort_unstable();
                rest.sort_unstable();
                assert_eq!(rest, acquired);
            }
            Step::Collect { .. } | Step::Cancel { .. } | Step::GiveBack { .. } | Step::Retire { .. } => {}
        }
    }

    /// `OTHER` no longer exists, and what it had is free, in any order.
    fn fork(&mut self) {
        let mut orphaned = Vec::new();
        let leased = self.model.leased.iter().map(|(value, who, _)| (*value, *who));
        let out: Vec<_> = leased.chain(self.model.acquired.iter().copied()).collect();
        let forked = self.state.keep_only(
            ME,
            |_| false,
            |value, hold| {
                let orphan = out.contains(&(*value, OTHER));
                if orphan {
                    orphaned.push((*value, hold));
                }
                orphan
            },
        );
        let mut free = Vec::new();
        let mut removed = 0;
        self.model.waiters.retain(|(who, given, _)| {
            if *who == OTHER {
                removed += 1;
                free.extend(*given);
            }
            *who == ME
        });
        assert_eq!(forked.wakers.len(), removed);
        let mut expected = Vec::new();
        self.model.leased.retain(|(value, who, _)| {
            if *who == OTHER {
                expected.push((*value, Hold::Leased));
            }
            *who == ME
        });
        self.model.acquired.retain(|(value, who)| {
            if *who == OTHER {
                expected.push((*value, Hold::Acquired));
            }
            *who == ME
        });
        let serial = |(value, _): &(Value, Hold)| value.serial;
        expected.sort_by_key(serial);
        orphaned.sort_by_key(serial);
        assert_eq!(orphaned, expected);
        free.extend(expected.into_iter().map(|(value, _)| value));

        // Those who still wait are served first, in order; the model learns from the state who got which.
        let served = free.len().min(self.model.waiters.iter().filter(|(_, given, _)| given.is_none()).count());
        assert_eq!(forked.wake.len(), served);
        let handed: Vec<Value> =
            self.state.values().filter(|(_, _, hold, _)| *hold == Hold::Handed).map(|(_, value, ..)| *value).collect();
        let mut index = 0;
        while index < self.model.waiters.len() {
            let (who, given, ticket) = self.model.waiters.remove(index);
            let caller = self.caller(who);
            match self.state.look(ticket.expect("kept until the end"), caller) {
                Ok((slot, _)) => {
                    let value = self.value(slot);
                    assert!(handed.contains(&value));
                    assert!(given.is_none_or(|given| given == value));
                    free.retain(|other| *other != value);
                    self.model.leased.push((value, who, slot));
                }
                Err(ticket) => {
                    self.model.waiters.insert(index, (who, None, Some(ticket)));
                    index += 1;
                }
            }
        }
        // The rest is idle now, behind (or before) what was idle.
        let before: Vec<Value> = self.model.idle.drain(..).collect();
        let mut all = Vec::new();
        while let Some(slot) = self.lease() {
            all.push((self.value(slot), slot));
        }
        let mut kept: Vec<Value> = all.iter().map(|(value, _)| *value).filter(|value| before.contains(value)).collect();
        assert_eq!(kept, before);
        kept.extend(free);
        assert_eq!(all.len(), kept.len());
        assert!(all.iter().all(|(value, _)| kept.contains(value)));
        for (value, slot) in all {
            let wake = self.state.give_back(slot, self.caller(ME));
            self.comes_free(value, wake);
        }
    }

    fn check(&self) {
        let idle = self.model.idle.len();
        let handed = self.model.waiters.iter().filter(|(_, given, _)| given.is_some()).count();
        let leased = self.model.leased.len() + self.model.acquired.len() + handed;
        let waiting = self.model.waiters.len() - handed;
        assert_eq!(self.state.counts(), counts(idle + leased, idle, waiting));
        assert!(idle == 0 || waiting == 0, "waiters are queued only while nothing is idle");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_is_in_one_place_and_comes_out_in_order(
        steps in steps(),
        order in prop_oneof![Just(Order::Fifo), Just(Order::Lifo)],
        limits in prop_oneof![Just(TimeSlice::NONE), (1u64..5, 1u64..50).prop_map(|(body, turn)| TimeSlice { body, whole: turn })],
    ) {
        let mut run = Run::new(order, limits);
        for step in steps {
            run.step(step);
            run.check();
        }
    }
}

#[test]
fn many_copies_of_one_object_are_acquired_and_released_in_linear_time() {
    let mut state: State<Value, ()> = State::new();
    let copies = 200_000;
    for serial in 0..copies {
        state.put(Value { object: 8, serial });
    }
    for _ in 0..copies {
        let slot = state.lease().expect("one for each");
        state.acquire(slot);
    }
    for _ in 0..copies {
        assert_eq!(state.release(8), Ok(None));
    }
    assert_eq!(state.release(8), Err(NotAcquired::Idle));
    assert_eq!(state.counts(), counts(copies, copies, 0));
}

#[test]
fn a_time_slice_ends_with_its_time_or_with_a_long_body_and_the_waiter_is_served() {
    let limits = TimeSlice { body: 10, whole: 100 };
    let at = |thread, now| Caller { thread, now, nested: false, deadline: u64::MAX };
    for (gap, rounds) in [(9, 11), (10, 0)] {
        let mut state: State<Value, &str> = State::new();
        state.set_time_slice(limits);
        state.put(Value { object: 1, serial: 1 });
        let mut slot = state.lease().expect("idle");
        let ticket = state.queue(at(OTHER, 0), "other").expect_err("nothing is idle");
        assert_eq!(state.give_back(slot, at(ME, 0)), Some("other"));
        assert!(state.lease_or_take_back(at(ME, 0)).is_none(), "the first return is for good");
        let next = state.queue(at(ME, 0), "me").expect_err("nothing is idle");
        (slot, _) = state.look(ticket, at(OTHER, 0)).expect("handed over");
        let mut now = 0;
        let mut taken_back = 0;
        loop {
            now += gap;
            assert_eq!(state.give_back(slot, at(OTHER, now)), Some("me"));
            match state.lease_or_take_back(at(OTHER, now)) {
                Some(again) => slot = again,
                None => break,
            }
            taken_back += 1;
        }
        assert_eq!(taken_back, rounds, "with bodies of {gap}");
        assert!(state.look(next, at(ME, now)).is_ok());
    }
}

/// A signal handler or a destructor may wait while its thread waits already. The thread cannot go on with the outer wait
/// before the inner one is over, so what it is given must reach the inner one.
#[test]
fn a_wait_inside_a_wait_of_the_same_thread_is_served_first() {
    let outer = Caller { thread: ME, now: 0, nested: false, deadline: u64::MAX };
    let inner = Caller { nested: true, ..outer };
    let other = Caller { thread: OTHER, ..outer };
    for given_before in [false, true] {
        let mut state: State<Value, &str> = State::new();
        let outer_ticket = state.queue(outer, "outer").expect_err("empty");
        let other_ticket = state.queue(other, "other").expect_err("empty");
        let slot = if given_before {
            assert_eq!(state.put(Value { object: 1, serial: 1 }), Some("outer"));
            state.queue(inner, "inner").expect("what the outer wait was given")
        } else {
            let inner_ticket = state.queue(inner, "inner").expect_err("empty");
            assert_eq!(state.put(Value { object: 1, serial: 1 }), Some("inner"));
            state.look(inner_ticket, inner).expect("handed over").0
        };
        // The outer wait has kept its place, before the other thread.
        assert_eq!(state.give_back(slot, inner), Some("outer"));
        let (slot, _) = state.look(outer_ticket, outer).expect("handed over");
        assert_eq!(state.give_back(slot, outer), Some("other"));
        assert!(state.look(other_ticket, other).is_ok());
    }
}
