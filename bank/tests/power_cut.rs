//! A power cut at every moment: the files as they were after each write and sync, with what was not synced dropped, kept, and
//! kept in part. Every answered claim must be there.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // helpers of tests are tests, too

mod common;
#[path = "common/vfs.rs"]
mod vfs;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use common::*;
use opool_bank::core::Error;
use opool_bank::core::model::*;
use opool_bank::stores::sqlite::Options;
use vfs::{EVENTS, Event};

fn note(id: &str, key: &str) {
    EVENTS.lock().unwrap().push(Event::Answer { id: id.into(), key: key.into() });
}

/// Puts, claims and settles; closes and opens in between, which copies the log into the file and deletes it.
fn record(path: &Path, fast: bool) -> Vec<Event> {
    vfs::register();
    EVENTS.lock().unwrap().clear();
    for turn in 0..2 {
        let options = Options { fast, vfs: Some("recording".into()), ..Options::default() };
        let bank = open(path, &options);
        let keys: Vec<String> = (0..12).map(|n| format!("{turn}-{n}")).collect();
        put(&bank, &keys.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for n in 0..4 {
            let id = format!("user {turn}-{n}");
            let key = key_of(&bank.take(claim(&id)).unwrap()).unwrap();
            note(&id, &key);
        }
        let held = bank.take(lease(&format!("lease {turn}"), 60)).unwrap().held.remove(0);
        let Value::Text(key) = held.row.key.clone() else { panic!("a text") };
        settle(&bank, &key, held.row.token, done("result")).unwrap();
        note(&format!("done {turn}"), &key);
        if turn == 0 {
            let held = bank.take(lease("other", 60)).unwrap().held.remove(0);
            let Value::Text(key) = held.row.key.clone() else { panic!("a text") };
            settle(&bank, &key, held.row.token, Call::Done { result: Payload::None, keep: 0 }).unwrap();
        }
    }
    std::mem::take(&mut *EVENTS.lock().unwrap())
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Unsynced {
    Dropped,
    Kept,
    /// Some of the writes, and of some of these only the first half.
    InPart(u64),
}

/// The files after the first `cut` events.
fn rebuild(events: &[Event], unsynced: Unsynced) -> HashMap<String, Vec<u8>> {
    let mut synced = HashMap::new();
    // With the first sync of a new log or journal SQLite syncs the folder as well: what was deleted before stays so.
    let mut folder = 0;
    let mut known = HashSet::new();
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Sync { file } => {
                synced.insert(file.clone(), place);
                if known.insert(file.clone()) {
                    folder = place;
                }
            }
            Event::Delete { file } => {
                known.remove(file);
            }
            _ => {}
        }
    }
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    let mut random = match unsynced {
        Unsynced::InPart(seed) => seed * 2 + 1,
        _ => 1,
    };
    for (place, event) in events.iter().enumerate() {
        let is_synced = |file: &String| synced.get(file).is_some_and(|last| place < *last);
        match event {
            Event::Write { file, offset, data } => {
                let mut length = data.len();
                if !is_synced(file) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    match (unsynced, random >> 62) {
                        (Unsynced::Dropped, _) | (Unsynced::InPart(_), 0 | 1) => continue,
                        (Unsynced::InPart(_), 2) => length /= 2,
                        _ => {}
                    }
                }
                let content = files.entry(file.clone()).or_default();
                let end = *offset as usize + length;
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset as usize..end].copy_from_slice(&data[..length]);
            }
            Event::Truncate { file, size } => {
                if is_synced(file) || unsynced == Unsynced::Kept {
                    files.entry(file.clone()).or_default().resize(*size as usize, 0);
                }
            }
            // Without a power cut it is gone; with one it may be back.
            Event::Delete { file } => {
                if unsynced == Unsynced::Kept || place < folder {
                    files.remove(file);
                }
            }
            Event::Sync { .. } | Event::Answer { .. } => {}
        }
    }
    files
}

/// What is missing of what was answered before the cut.
fn lost(events: &[Event], original: &Path, unsynced: Unsynced) -> Vec<String> {
    let folder = Folder::new();
    let from = original.display().to_string();
    for (file, content) in rebuild(events, unsynced) {
        std::fs::write(file.replace(&from, &folder.file().display().to_string()), content).unwrap();
    }
    let answered: Vec<(&String, &String)> = events
        .iter()
        .filter_map(|event| if let Event::Answer { id, key } = event { Some((id, key)) } else { None })
        .collect();
    let store = match opool_bank::stores::sqlite::SqliteStore::open(&folder.file(), &Options::default()) {
        Ok(store) => store,
        // Before the very first commit the file may be half made.
        Err(Error::NotABank { .. }) if answered.is_empty() => return Vec::new(),
        Err(error) => return vec![format!("{error}")],
    };
    let bank = match opool_bank::core::Bank::open(store, "test", Kind::Items) {
        Ok(bank) => bank,
        Err(error) => return vec![format!("{error}")],
    };
    let mut missing = bank.read(Query::Verify).unwrap().faults;
    for (id, key) in answered {
        let item = bank.read(Query::Get(text(key))).unwrap().rows.pop();
        let there = item.as_ref().is_some_and(|row| {
            row.state == State::Given && (row.claim == Some(text(id)) || row.result == Payload::Text("result".into()))
        });
        if !there {
            missing.push(format!("{id} was given {key}, and the file says {item:?}"));
        }
    }
    missing
}

#[test]
fn what_was_answered_survives_a_power_cut_at_every_moment() {
    let folder = Folder::new();
    let events = record(&folder.file(), false);
    assert!(events.len() > 100, "{}", events.len());
    for cut in 0..=events.len() {
        for unsynced in [Unsynced::Dropped, Unsynced::Kept, Unsynced::InPart(cut as u64)] {
            let missing = lost(&events[..cut], &folder.file(), unsynced);
            let told = || events[..cut].iter().map(|event| format!("{event:.90?}\n")).collect::<String>();
            assert_eq!(missing, Vec::<String>::new(), "{unsynced:?}, after\n{}", told());
        }
    }
    // The check itself: without a sync at each commit the same run loses what it answered.
    let folder = Folder::new();
    let events = record(&folder.file(), true);
    let loses = (0..=events.len()).any(|cut| !lost(&events[..cut], &folder.file(), Unsynced::Dropped).is_empty());
    assert!(loses, "nothing is lost without syncs either: the test sees nothing");
}
