//! Sequences that the random steps of `life_cycle_properties.rs` meet too seldom.

use opool::pool::{Answer, Attempt, Caller, Collected, Identity, Rules, SlotId, State, Ticket, TimeSlice, Work};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 100 * SECOND;

#[derive(Debug, PartialEq, Eq)]
struct Token(usize);

impl Identity for Token {
    fn identity(&self) -> usize {
        self.0
    }
}

type Pool = State<Token, ()>;

fn pool(rules: Rules) -> Pool {
    let mut pool = State::new();
    pool.set_rules(rules, 1);
    pool
}

fn at(thread: usize, now: u64) -> Caller {
    Caller { thread, now, nested: false, deadline: u64::MAX }
}

fn queue(pool: &mut Pool, thread: usize, now: u64) -> Ticket {
    match pool.lease_or_queue(at(thread, now), ()) {
        Answer::Queued(ticket) => ticket,
        other => panic!("not queued but {other:?}"),
    }
}

fn begin(pool: &mut Pool, now: u64) -> Attempt {
    match pool.take_work(now) {
        Some(Work::Make(attempt)) => attempt,
        other => panic!("not an attempt but {other:?}"),
    }
}

fn collect(pool: &mut Pool, ticket: Ticket, thread: usize, now: u64) -> SlotId {
    match pool.collect(ticket, at(thread, now)) {
        Collected::Slot(slot, _) => slot,
        _ => panic!("the turn has not come"),
    }
}

const MAKES: Rules = Rules { makes: true, max_size: 3, ..Rules::NONE };

#[test]
fn the_next_waiter_does_not_wait_for_an_attempt_that_hangs_and_was_abandoned() {
    let mut pool = pool(MAKES);
    let ticket = queue(&mut pool, 1, START);
    let hangs = begin(&mut pool, START);
    assert_eq!(pool.wanted(START), 0);
    pool.cancel(ticket, START + SECOND / 2);

    let ticket = queue(&mut pool, 2, START + SECOND / 2);
    assert_eq!(pool.wanted(START + SECOND / 2), 0, "it may come any moment");
    assert_eq!(pool.wanted(START + SECOND), 1, "it is slow, and a waiter has left");
    assert_eq!(pool.due(), Some(START + SECOND), "a thread looks then");
    let attempt = begin(&mut pool, START + SECOND);
    pool.finish_attempt(attempt, Token(1), START + SECOND);
    collect(&mut pool, ticket, 2, START + SECOND);

    pool.finish_attempt(hangs, Token(2), START + 9 * SECOND);
    assert_eq!(pool.counts().idle, 1, "what comes in the end is welcome");
}

#[test]
fn one_more_attempt_begins_beside_one_that_takes_very_long() {
    let mut pool = pool(MAKES);
    let _ticket = queue(&mut pool, 1, START);
    begin(&mut pool, START);
    assert_eq!(pool.wanted(START + 5 * SECOND - 1), 0);
    assert_eq!(pool.wanted(START + 5 * SECOND), 1);
    begin(&mut pool, START + 5 * SECOND);
    assert_eq!(pool.wanted(START + 25 * SECOND), 0);
}

#[test]
fn an_idle_object_is_checked_although_another_is_being_made() {
    let mut pool = pool(Rules { min_size: 2, check_after: Some(SECOND), ..MAKES });
    let attempt = begin(&mut pool, START);
    pool.finish_attempt(attempt, Token(1), START);
    begin(&mut pool, START); // and it never ends
    let ticket = queue(&mut pool, 1, START + 9 * SECOND);
    let Some(Work::Maintain(task)) = pool.take_work(START + 9 * SECOND) else { panic!("it is not checked") };
    pool.finish_task(task, true, START + 9 * SECOND);
    collect(&mut pool, ticket, 1, START + 9 * SECOND);
}

/// Two checks are under way, for two waiters that have left, so the third idle object is not checked for the next ones.
/// Then the checks are given up while the waiter has been handed an object, and the giver takes that back.
#[test]
fn a_check_begins_for_a_waiter_that_is_in_the_queue_again() {
    let mut pool = pool(Rules { check_after: Some(0), check_limit: Some(SECOND), ..Rules::NONE });
    pool.set_time_slice(TimeSlice { body: 2 * SECOND, whole: 9 * SECOND });
    for token in 0..4 {
        assert!(pool.add(Token(token), START).is_ok());
    }
    let slot = pool.take(START).expect("just added");
    let now = START + SECOND;
    let left = [queue(&mut pool, 5, now), queue(&mut pool, 6, now)];
    for ticket in left {
        pool.cancel(ticket, now);
    }
    let giver = queue(&mut pool, 9, now);
    let _waiter = queue(&mut pool, 2, now);
    assert!(pool.give_back(slot, at(8, now)).is_some());
    let slot = collect(&mut pool, giver, 9, now);
    assert!(pool.give_back(slot, at(9, now + SECOND / 2)).is_some());
    assert_eq!((pool.counts().checking, pool.counts().idle), (2, 1));
    let now = now + SECOND;
    assert!(matches!(pool.take_work(now), Some(Work::Report(_))), "the checks are given up");
    assert!(pool.lease_or_take_back(at(9, now)).is_some());
    assert_eq!((pool.counts().waiting, pool.counts().checking), (1, 1));
}

#[test]
fn what_time_alone_makes_due_is_due() {
    let rules = Rules { max_lifetime: Some(60 * SECOND), max_idle: Some(9 * SECOND), ..MAKES };
    let mut pool = pool(Rules { leak_after: Some(2 * SECOND), make_limit: Some(SECOND / 2), ..rules });
    let ticket = queue(&mut pool, 1, START);
    let attempt = begin(&mut pool, START);
    assert_eq!(pool.due(), Some(START + SECOND / 2), "the attempt is given up");
    pool.finish_attempt(attempt, Token(1), START);
    let slot = collect(&mut pool, ticket, 1, START);
    assert!(pool.take_work(START + SECOND / 2).is_none());
    assert_eq!(pool.due(), Some(START + 2 * SECOND), "the lease is reported");
    assert!(matches!(pool.take_work(START + 2 * SECOND), Some(Work::Report(_))));
    assert_eq!(pool.due(), Some(START + 60 * SECOND), "it is replaced");
    assert!(pool.give_back(slot, at(1, START + 3 * SECOND)).is_none());
    assert_eq!(pool.due(), Some(START + 12 * SECOND), "it is discarded");
    assert!(pool.take_work(START + 12 * SECOND).is_none());
    assert_eq!(pool.counts().size, 0);
}

#[test]
fn a_lease_and_a_new_object_set_the_time_that_is_due() {
    let mut leaks = pool(Rules { leak_after: Some(2 * SECOND), ..Rules::NONE });
    assert!(leaks.add(Token(1), START).is_ok());
    assert!(leaks.take(START + SECOND).is_some());
    assert_eq!(leaks.due(), Some(START + 3 * SECOND));

    let mut ages = pool(Rules { max_lifetime: Some(60 * SECOND), ..MAKES });
    assert!(ages.add(Token(1), START).is_ok());
    assert_eq!(ages.due(), Some(START + 60 * SECOND));
}
