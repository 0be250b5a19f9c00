//! What the tests of the store share.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use opool_bank::core::model::*;
use opool_bank::core::{Bank, Result, Store};
use opool_bank::stores::sqlite::{Options, SqliteStore};

pub const SECOND: Micros = 1_000_000;

/// A folder that is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("opool-bank-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("test.opool")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn open(path: &Path, options: &Options) -> Bank {
    let store: Arc<dyn Store> = SqliteStore::open(path, options).unwrap();
    Bank::open(store, "test", Kind::Items).unwrap()
}

/// A bank whose clock stands still unless it is moved.
pub fn with_clock(folder: &Folder) -> (Bank, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(SECOND));
    let options = Options { clock: Some(clock.clone()), ..Options::default() };
    (open(&folder.file(), &options), clock)
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub fn new(key: &str) -> New {
    New { key: text(key), payload: Payload::None, priority: 0, delay: 0, max_attempts: None }
}

pub fn put(bank: &Bank, keys: &[&str]) -> Result<u64> {
    bank.put(Put { items: keys.iter().map(|key| new(key)).collect(), keep: false }).map(|done| done.new)
}

pub fn claim(id: &str) -> Take {
    Take { id: text(id), n: 1, term: Term::Given, pick: Pick::Next, wait: false }
}

pub fn lease(id: &str, seconds: i64) -> Take {
    Take { term: Term::Lease { ttl: seconds * SECOND, bound: false }, ..claim(id) }
}

pub fn key_of(taken: &Taken) -> Option<String> {
    match &taken.held.first()?.row.key {
        Value::Text(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

pub fn settle(bank: &Bank, key: &str, token: i64, call: Call) -> Result<bool> {
    bank.settle_one(Settle { key: text(key), token, call, force: false }).map(|settled| settled.yes)
}

pub fn done(result: &str) -> Call {
    Call::Done { result: Payload::Text(result.to_owned()), keep: NEVER }
}

pub const RELEASE: Call = Call::Release { delay: 0 };
