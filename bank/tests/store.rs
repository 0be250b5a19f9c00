//! The store's contract, without Python.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // helpers of tests are tests, too

mod common;
#[path = "common/homes.rs"]
mod homes;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::*;
use homes::{Home, homes};
use opool_bank::core::model::*;
use opool_bank::core::{Bank, Error};

#[test]
fn an_id_gets_one_item_and_the_same_for_ever() {
    for home in homes() {
        an_id_gets_one_item_and_the_same_for_ever_in(&home);
    }
}

fn an_id_gets_one_item_and_the_same_for_ever_in(home: &Home) {
    let bank = home.open();
    assert_eq!(put(&bank, &["a", "b"]), Ok(2));
    assert_eq!(key_of(&bank.take(claim("alice")).unwrap()), Some("a".into()));
    assert_eq!(key_of(&bank.take(claim("alice")).unwrap()), Some("a".into()));
    assert_eq!(key_of(&bank.take(claim("bob")).unwrap()), Some("b".into()));
    assert_eq!(key_of(&bank.take(claim("carol")).unwrap()), None);
    assert_eq!(put(&bank, &["a", "b"]), Ok(0));
    assert_eq!(key_of(&bank.take(claim("carol")).unwrap()), None);
    let found = bank.read(Query::Verify).unwrap();
    assert_eq!((found.faults, found.counts.given), (vec![], 2));
}

#[test]
fn a_bank_is_there_after_it_was_closed() {
    for home in homes() {
        a_bank_is_there_after_it_was_closed_in(&home);
    }
}

fn a_bank_is_there_after_it_was_closed_in(home: &Home) {
    let bank = home.open();
    put(&bank, &["a"]).unwrap();
    bank.take(claim("alice")).unwrap();
    drop(bank);
    let bank = home.open();
    assert_eq!(key_of(&bank.take(claim("alice")).unwrap()), Some("a".into()));
    assert_eq!(key_of(&bank.take(claim("bob")).unwrap()), None);
}

#[test]
fn a_lease_that_ran_out_goes_to_the_next_and_the_old_token_finishes_nothing() {
    for home in homes() {
        a_lease_that_ran_out_goes_to_the_next_and_the_old_token_finishes_nothing_in(&home);
    }
}

fn a_lease_that_ran_out_goes_to_the_next_and_the_old_token_finishes_nothing_in(home: &Home) {
    let (bank, clock) = home.with_clock();
    put(&bank, &["a"]).unwrap();
    let first = bank.take(lease("one", 2)).unwrap().held.remove(0);
    assert_eq!(bank.take(lease("two", 2)).unwrap().held.len(), 0);
    clock.fetch_add(2 * SECOND, Ordering::Relaxed);
    let second = bank.take(lease("two", 2)).unwrap().held.remove(0);
    assert!(second.row.token > first.row.token);
    assert!(matches!(settle(&bank, "a", first.row.token, done("x")), Err(Error::Stale { .. })));
    assert_eq!(settle(&bank, "a", first.row.token, RELEASE), Ok(false));
    assert_eq!(settle(&bank, "a", second.row.token, done("y")), Ok(true));
    assert_eq!(settle(&bank, "a", second.row.token, done("y")), Ok(true));
    assert!(matches!(settle(&bank, "a", second.row.token, done("z")), Err(Error::AlreadySettled { .. })));
    assert_eq!(bank.read(Query::Verify).unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_waiting_take_gets_what_another_thread_frees() {
    for home in homes() {
        a_waiting_take_gets_what_another_thread_frees_in(&home);
    }
}

fn a_waiting_take_gets_what_another_thread_frees_in(home: &Home) {
    let bank = home.open();
    put(&bank, &["a"]).unwrap();
    let held = bank.take(lease("one", 60)).unwrap().held.remove(0);
    let other = bank.clone();
    let waits = std::thread::spawn(move || other.take_within(lease("two", 60), Duration::from_secs(60)));
    settle(&bank, "a", held.row.token, RELEASE).unwrap();
    assert_eq!(key_of(&waits.join().unwrap().unwrap()), Some("a".into()));
}

#[test]
fn a_take_that_waits_in_vain_gets_nothing_and_leaves_nothing() {
    for home in homes() {
        a_take_that_waits_in_vain_gets_nothing_and_leaves_nothing_in(&home);
    }
}

fn a_take_that_waits_in_vain_gets_nothing_and_leaves_nothing_in(home: &Home) {
    let bank = home.open();
    assert_eq!(bank.take_within(claim("one"), Duration::from_millis(30)).unwrap(), Taken::default());
    put(&bank, &["a"]).unwrap();
    assert_eq!(key_of(&bank.take(claim("two")).unwrap()), Some("a".into()));
}

#[test]
fn eight_threads_get_each_item_once() {
    for home in homes() {
        eight_threads_get_each_item_once_in(&home);
    }
}

fn eight_threads_get_each_item_once_in(home: &Home) {
    let bank = home.open();
    let keys: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    put(&bank, &keys.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let bank = bank.clone();
            std::thread::spawn(move || {
                (0..50)
                    .map(|n| key_of(&bank.take(claim(&format!("{thread}-{n}"))).unwrap()).unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 400);
    assert_eq!(bank.read(Query::Verify).unwrap().faults, Vec::<String>::new());
}

#[test]
fn ids_come_freed_first_then_fresh_and_make_no_rows_in_a_loop() {
    for home in homes() {
        ids_come_freed_first_then_fresh_and_make_no_rows_in_a_loop_in(&home);
    }
}

fn ids_come_freed_first_then_fresh_and_make_no_rows_in_a_loop_in(home: &Home) {
    let bank = Bank::open(home.store(None), "ids", Kind::Ids { top: 1_000_000_000 }).unwrap();
    let held = opool_bank::core::ids::HeldIds::default();
    let get = || held.note(&bank.take(opool_bank::core::ids::HeldIds::take(false, None)).unwrap()).unwrap();
    assert_eq!((get(), get(), get()), (1, 2, 3));
    for id in [2, 1] {
        assert!(bank.settle_one(held.release(id, false).unwrap()).unwrap().yes);
    }
    assert_eq!((get(), get(), get()), (2, 1, 4));
    let counts = bank.read(Query::Counts).unwrap().counts;
    assert_eq!((counts.leased, counts.mark, counts.put), (4, 5, 4));
    assert_eq!(bank.read(Query::Verify).unwrap().faults, Vec::<String>::new());
}

#[test]
fn an_atomic_put_stores_all_or_none() {
    for home in homes() {
        an_atomic_put_stores_all_or_none_in(&home);
    }
}

fn an_atomic_put_stores_all_or_none_in(home: &Home) {
    let bank = home.open();
    put(&bank, &["b"]).unwrap();
    let with = |key: &str, payload: Payload| New { payload, ..new(key) };
    let mut spool = bank.store.atomic_put(bank.number, false).unwrap();
    spool.add(&[with("a", Payload::None), with("b", Payload::Int(1))]).unwrap();
    assert!(matches!(spool.commit(), Err(Error::KeyConflict { .. })));
    assert_eq!(bank.read(Query::Counts).unwrap().counts.free, 1);
    let mut spool = bank.store.atomic_put(bank.number, false).unwrap();
    spool.add(&[with("a", Payload::None), with("b", Payload::None)]).unwrap();
    spool.add(&[with("c", Payload::Int(3))]).unwrap();
    assert_eq!(spool.commit(), Ok(PutDone { new: 2 }));
    assert_eq!(bank.read(Query::Verify).unwrap().faults, Vec::<String>::new());
    assert_eq!(bank.read(Query::Counts).unwrap().counts.free, 3);
}
