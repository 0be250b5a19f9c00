//! The stores that a test runs on, one after another.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use opool_bank::core::model::*;
use opool_bank::core::{Bank, Store};
use opool_bank::stores::postgres::{self, PostgresStore};
use opool_bank::stores::sqlite::{self, SqliteStore};

use crate::common::{Folder, SECOND};

/// Where a bank is in a test.
pub enum Home {
    File(Folder),
    Postgres(String),
}

/// The server of the Python tests, started by them; it ends when this process does.
const SERVER: &str = "
import sys
sys.path.insert(0, sys.argv[1])
import postgres
found = postgres.programs()
if found is None:
    sys.exit('PostgreSQL is missing')
server = postgres.Server(found)
print(server.folder, flush=True)
sys.stdin.read()
server.remove()
";

/// The folder of the server's socket; None, said aloud, if there is no server here.
fn server() -> Option<&'static str> {
    static STARTED: OnceLock<Option<(String, Child)>> = OnceLock::new();
    let start = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        for python in [root.join(".venv/bin/python"), "python3".into()] {
            let started = Command::new(python)
                .args(["-c", SERVER])
                .arg(root.join("tests/python"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut child) = started else { continue };
            let mut folder = String::new();
            BufReader::new(child.stdout.as_mut()?).read_line(&mut folder).ok()?;
            if !folder.trim().is_empty() {
                return Some((folder.trim().to_owned(), child));
            }
        }
        assert!(std::env::var_os("CI").is_none(), "PostgreSQL or psycopg is missing, and in CI they must not be");
        eprintln!("PostgreSQL OR PSYCOPG IS MISSING: the PostgreSQL store is not tested here");
        None
    };
    STARTED.get_or_init(start).as_ref().map(|(folder, _)| folder.as_str())
}

/// A new one for each store.
pub fn homes() -> Vec<Home> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut homes = vec![Home::File(Folder::new())];
    if let Some(folder) = server() {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let host = folder.replace('/', "%2F");
        homes.push(Home::Postgres(format!("postgresql:///postgres?host={host}&user=root&schema=rust{number}")));
    }
    homes
}

impl Home {
    pub fn store(&self, clock: Option<Arc<AtomicI64>>) -> Arc<dyn Store> {
        match self {
            Home::File(folder) => {
                let options = sqlite::Options { clock, ..sqlite::Options::default() };
                SqliteStore::open(&folder.file(), &options).unwrap()
            }
            Home::Postgres(address) => {
                let options = postgres::Options { clock, ..postgres::Options::default() };
                PostgresStore::open(address, &options).unwrap()
            }
        }
    }

    pub fn open(&self) -> Bank {
        Bank::open(self.store(None), "test", Kind::Items).unwrap()
    }

    /// A bank whose clock stands still unless it is moved.
    pub fn with_clock(&self) -> (Bank, Arc<AtomicI64>) {
        let clock = Arc::new(AtomicI64::new(SECOND));
        (Bank::open(self.store(Some(clock.clone())), "test", Kind::Items).unwrap(), clock)
    }
}
