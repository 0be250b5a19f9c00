//! The end of a pool, and its new start after a fork: races in the core that Python tests would meet only by chance.

mod plain;

use opool::pool::{Caller, FollowUp, Identity, Next, Rules, State, TimeSlice, Work, WorkerId};
use plain::{Plain, counts};

/// A pooled value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value(usize);

impl Identity for Value {
    fn identity(&self) -> usize {
        self.0
    }
}

const ME: usize = 1;
const OTHER: usize = 2;

fn at(thread: usize) -> Caller {
    Caller { thread, now: 0, nested: false, deadline: u64::MAX }
}

/// A pool that makes its objects itself.
fn factory() -> State<Value, &'static str> {
    let mut state = State::new();
    state.set_rules(Rules { makes: true, max_size: 4, disposes: true, ..Rules::NONE }, 1);
    state
}

fn next(state: &mut State<Value, &'static str>, worker: &mut Option<WorkerId>) -> Next<Value> {
    state.next_work(worker, "worker", false, 0)
}

#[test]
fn what_was_handed_over_before_the_end_cannot_be_taken_back_from_its_waiter() {
    let mut state: State<Value, &str> = State::new();
    state.set_time_slice(TimeSlice { body: 10, whole: 100 });
    state.put(Value(1));
    state.put(Value(2));
    let (one, two) = (state.lease().expect("idle"), state.lease().expect("idle"));
    let first = state.queue(at(OTHER), "first").expect_err("nothing is idle");
    let second = state.queue(at(OTHER), "second").expect_err("nothing is idle");
    state.give_back(one, at(ME));
    state.give_back(two, at(ME));
    assert!(state.may_take_back(), "the second return is within a turn");
    state.close(None);
    assert!(state.lease_or_take_back(at(ME)).is_none(), "a closed pool leased something");
    assert!(state.look(first, at(OTHER)).is_ok());
    assert!(state.look(second, at(OTHER)).is_ok());
}

#[test]
fn close_by_force_does_not_wait_for_what_the_other_process_made() {
    let mut state = factory();
    state.put(Value(1));
    let slot = state.lease().expect("idle");
    let forked = state.keep_only(ME, |_| false, |_, _| false);
    assert!(forked.inherited.is_empty(), "it is the survivor's");
    state.close(None);
    assert!(!state.is_over().0, "the survivor has not given it back");
    let mut copied = 0;
    state.close(Some(&mut |&value| {
        copied += 1;
        value
    }));
    assert_eq!(copied, 0, "it was taken from its holder, to be disposed of");
    assert!(state.is_over().0);
    state.give_back(slot, at(ME));
    assert!(matches!(state.follow_up(None), Some(FollowUp::Leak(Value(1)))));
    assert_eq!(state.counts(), counts(0, 0, 0));
}

#[test]
fn an_inherited_object_that_the_survivor_acquired_and_never_released_is_not_dropped_with_the_pool() {
    let mut state = factory();
    state.put(Value(1));
    let slot = state.lease().expect("idle");
    state.acquire(slot);
    state.keep_only(ME, |_| false, |_, _| false);
    state.put(Value(2));
    assert_eq!(state.drain(), [Value(2)]);
}

#[test]
fn a_background_thread_that_forks_is_counted_in_the_child_and_takes_no_other_off_the_list() {
    let mut state = factory();
    let ticket = state.queue(at(ME), "me").expect_err("nothing is idle");
    let (mut forks, mut other) = (None, None);
    assert!(matches!(next(&mut state, &mut forks), Next::Do(_)));
    state.keep_only(ME, |_| false, |_, _| false);
    let Next::Do(Work::Make(attempt)) = next(&mut state, &mut other) else { panic!("the child makes its own") };
    state.cancel(ticket, 0);
    state.close(None);
    state.fail_attempt(attempt, 0);
    assert!(matches!(next(&mut state, &mut forks), Next::End));
    assert!(!state.is_over().1, "the other one has not come for its next work");
    assert!(matches!(next(&mut state, &mut other), Next::End));
    assert!(state.is_over().1);
}
