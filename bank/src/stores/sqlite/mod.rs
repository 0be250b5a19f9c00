//! A bank on an SQLite file. `DESIGN.md`, sections 3 to 6.

mod apply;
mod failure;
mod locks;
mod queue;
mod reads;
mod rows;
mod schema;
mod side;
mod spool;
mod transaction;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::core::sync::{Condvar, Mutex};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::core::boottime;
use crate::core::error::{Error, Result};
use crate::core::fork::{PerProcess, generation, inside};
use crate::core::model::{BankInfo, Found, Kind, Micros, Put, PutDone, Query, Settle, Settled, Take, Taken};
use crate::core::store::{Answer, AtomicPut, Cancelled, Store, Ticket, stays};
use failure::Context;
use queue::{Queue, Read, Request};
use side::Side;
use writer::Writer;

/// How long SQLite itself waits for writers that do not pass through the turnstile: other programs.
const BUSY: Duration = Duration::from_secs(10);

/// How a file is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A clock that stands still unless it is moved, for tests. Microseconds.
    pub clock: Option<Arc<AtomicI64>>,
    /// Commits are not synced one by one: after a power cut the last ones may be gone, and what they gave is given again.
    pub fast: bool,
    /// SQLite's VFS, for tests.
    pub vfs: Option<String>,
}

/// What the store, its threads and its callers share.
struct Shared {
    path: PathBuf,
    side_path: PathBuf,
    inode: (u64, u64),
    context: Context,
    vfs: Option<String>,
    clock: Option<Arc<AtomicI64>>,
    base: Micros,
    queue: Mutex<Queue>,
    /// There is something for the writer; for the watcher; for the reader.
    work: Condvar,
    watch: Condvar,
    reading: Condvar,
    side: Mutex<Arc<Side>>,
    threads: Mutex<usize>,
    ended: Condvar,
}

impl Shared {
    /// The store's time, in microseconds.
    fn now(&self) -> Micros {
        self.clock.as_ref().map_or_else(|| self.base + boottime::now(), |clock| clock.load(Ordering::Relaxed))
    }

    /// Has the threads end.
    fn stop(&self) {
        self.queue.lock().stop = true;
        for condition in [&self.work, &self.watch, &self.reading] {
            condition.notify_all();
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

/// Whether the file at the path is still the one that was opened.
fn same_file(shared: &Shared) -> bool {
    inode(&shared.path) == Some(shared.inode)
}

/// One connection. `reads`: it is never to write.
fn connect(path: &Path, vfs: Option<&str>, context: &Context, reads: bool) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let opened = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    };
    let connection = opened.map_err(|error| context.explain(&error))?;
    connection.set_prepared_statement_cache_capacity(100);
    connection.busy_timeout(BUSY).map_err(|error| context.explain(&error))?;
    // Plans that do not depend on what is bound: else each statement on a partial index is prepared anew at each use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(|error| context.explain(&error))?;
    if reads {
        connection.execute_batch("PRAGMA query_only = 1").map_err(|error| context.explain(&error))?;
    }
    Ok(connection)
}

/// Refuses a file that is not ours before anything is made beside it.
fn is_a_bank(path: &Path, context: &Context) -> Result<()> {
    let io = |error: std::io::Error| Error::Io { path: context.path.clone(), why: error.to_string() };
    let data = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(data) => data,
    };
    let not = |why: &str| Err(Error::NotABank { path: context.path.clone(), why: why.into() });
    if data.is_dir() {
        return not("it is a folder");
    }
    if !data.is_file() {
        return not("it is no ordinary file");
    }
    if data.len() == 0 {
        return Ok(());
    }
    let mut head = [0_u8; 16];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut head));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Error::ReadOnly { path: context.path.clone(), why: error.to_string() });
        }
        Err(error) => return Err(io(error)),
        Ok(length) if &head[..length] != b"SQLite format 3\0" => return not("it is no SQLite database"),
        Ok(_) => {}
    }
    let _inside = inside();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| context.explain(&error))?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let ours = || -> rusqlite::Result<bool> {
        Ok(number("PRAGMA application_id")? == schema::APPLICATION
            || number("SELECT count(*) FROM sqlite_schema")? == 0)
    };
    match ours() {
        Ok(true) => Ok(()),
        Ok(false) => not("it is an SQLite database of another program; a bank has a file of its own"),
        Err(error) => Err(context.explain(&error)),
    }
}

/// The write connection, with the schema up to date and the clock of this boot. Inside the turnstile.
fn prepare(path: &Path, options: &Options, context: &Context, side: &Side, boot: &str) -> Result<(Connection, Micros)> {
    let _inside = inside();
    let fail = |error: rusqlite::Error| context.explain(&error);
    let mut db = connect(path, options.vfs.as_deref(), context, false)?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fail)?;
    if mode != "wal" {
        let why = format!("this file system cannot do write-ahead logging (SQLite stays at {mode:?})");
        return Err(Error::Io { path: context.path.clone(), why });
    }
    let synchronous = if options.fast { "NORMAL" } else { "FULL" };
    db.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -16000; PRAGMA foreign_keys = 0;"
    ))
    .map_err(fail)?;
    schema::prepare(&mut db, context, schema::MIGRATIONS)?;
    let (known_boot, known_base, cookie): (String, Micros, Vec<u8>) = db
        .query_row("SELECT boot, base, side FROM meta WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .map_err(fail)?;
    let mut base = known_base;
    if known_boot != boot || cookie != side.cookie {
        if known_boot != boot {
            let last: Option<Micros> = db.query_row("SELECT max(now) FROM bank", [], |row| row.get(0)).map_err(fail)?;
            base = boottime::wall().max(last.unwrap_or(0)) - boottime::now();
        }
        db.execute(
            "UPDATE meta SET boot = ?1, base = ?2, side = ?3 WHERE id = 1",
            rusqlite::params![boot, base, side.cookie],
        )
        .map_err(fail)?;
    }
    Ok((db, base))
}

/// The stores that are open in this process. A second connection to the same file would be a second writer thread.
static OPEN: PerProcess<Mutex<HashMap<PathBuf, Weak<SqliteStore>>>> = PerProcess::new();

/// A file and its threads. They end when the last `Arc` is dropped, or with `close`.
pub struct SqliteStore {
    shared: Arc<Shared>,
    writer: Arc<Mutex<Option<Writer>>>,
    generation: u64,
    fast: bool,
}

impl SqliteStore {
    /// Opens a file, and makes it if it is not there.
    pub fn open(path: &Path, options: &Options) -> Result<Arc<SqliteStore>> {
        locks::install();
        let path = absolute(path)?;
        let mut open = OPEN.get().lock();
        open.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = open.get(&path).and_then(Weak::upgrade) {
            let stopped = store.shared.queue.lock().stop;
            if !stopped && same_file(&store.shared) {
                if store.fast != options.fast {
                    let why = format!("{} is open in this process with another durability", path.display());
                    return Err(Error::Invalid(why));
                }
                return Ok(store);
            }
        }
        let store = Arc::new(Self::start(&path, options)?);
        open.insert(path, Arc::downgrade(&store));
        Ok(store)
    }

    fn start(path: &Path, options: &Options) -> Result<SqliteStore> {
        let context = Context::new(path.display().to_string());
        is_a_bank(path, &context)?;
        let mut side_path = path.as_os_str().to_owned();
        side_path.push("-side");
        let side_path = PathBuf::from(side_path);
        let side = Side::open(side_path.clone())?;
        let boot = boottime::boot_id();
        side.enter()?;
        let prepared = prepare(path, options, &context, &side, &boot);
        side.leave();
        let (db, base) = prepared?;
        let Some(inode) = inode(path) else { return Err(Error::Moved { path: context.path }) };
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            side_path,
            inode,
            context,
            vfs: options.vfs.clone(),
            clock: options.clock.clone(),
            base,
            queue: Mutex::default(),
            work: Condvar::new(),
            watch: Condvar::new(),
            reading: Condvar::new(),
            side: Mutex::new(Arc::new(side)),
            threads: Mutex::new(0),
            ended: Condvar::new(),
        });
        let writer = Arc::new(Mutex::new(Some(Writer {
            shared: shared.clone(),
            db,
            memory: Default::default(),
            boot,
            seen_version: -1,
            look_by_id: false,
        })));
        let store = SqliteStore {
            shared: shared.clone(),
            writer: writer.clone(),
            generation: generation(),
            fast: options.fast,
        };
        let writing = shared.clone();
        store.spawn("opool-bank-write", move || writer::run(&writing, &writer))?;
        let watched = shared.clone();
        store.spawn("opool-bank-wake", move || writer::watch(&watched))?;
        store.spawn("opool-bank-read", move || writer::read(&shared))?;
        Ok(store)
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let shared = self.shared.clone();
        *shared.threads.lock() += 1;
        let body = move || {
            // A panic must not leave callers waiting: their answers are dropped with the thread, which tells them.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            shared.stop();
            *shared.threads.lock() -= 1;
            shared.ended.notify_all();
        };
        std::thread::Builder::new().name(name.into()).spawn(body).map(drop).map_err(|error| {
            *self.shared.threads.lock() -= 1;
            Error::Io { path: self.shared.context.path.clone(), why: format!("no thread can be started ({error})") }
        })
    }

    /// Answers what is queued with `Closed` and ends the threads; waits for them, but not for ever: another process may
    /// be stopped while it has the lock.
    pub fn close(&self) {
        if self.generation != generation() {
            return;
        }
        self.shared.stop();
        self.shared.side.lock().wake_all();
        let own = std::thread::current().name().is_some_and(|name| name.starts_with("opool-bank-"));
        let mut threads = self.shared.threads.lock();
        while *threads > 0 && !own {
            if self.shared.ended.wait_for(&mut threads, Duration::from_secs(5)) {
                break;
            }
        }
    }

    fn push(&self, request: Request) -> Ticket {
        let mut queue = self.shared.queue.lock();
        if queue.stop {
            drop(queue);
            request.refuse(&Error::Closed);
            return Ticket(0);
        }
        let ticket = queue.ticket();
        let wake = !stays() && !queue.told;
        queue.told |= wake;
        queue.jobs.insert(ticket, request);
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
        Ticket(ticket)
    }
}

/// One name for one file, so that the registry finds it.
fn absolute(path: &Path) -> Result<PathBuf> {
    let io = |error: std::io::Error| Error::Io {
        path: path.display().to_string(),
        why: format!("its folder cannot be found ({error})"),
    };
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    let Some(name) = path.file_name() else {
        return Err(Error::Invalid(format!("{:?} names no file", path.display().to_string())));
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Ok(folder.canonicalize().map_err(io)?.join(name))
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for SqliteStore {
    fn open(&self, name: &str, kind: Kind, answer: Answer<BankInfo>) -> Ticket {
        self.push(Request::Open { name: name.to_owned(), kind, answer })
    }

    fn resize(&self, bank: i64, top: i64, answer: Answer<BankInfo>) -> Ticket {
        self.push(Request::Resize { bank, top, answer })
    }

    fn put(&self, bank: i64, put: Put, answer: Answer<PutDone>) -> Ticket {
        self.push(Request::Put { bank, put, answer })
    }

    fn atomic_put(&self, bank: i64, keep: bool) -> Result<Box<dyn AtomicPut>> {
        Ok(Box::new(spool::Spool::new(self.shared.clone(), bank, keep)?))
    }

    fn take(&self, bank: i64, take: Take, answer: Answer<Taken>) -> Ticket {
        self.push(Request::Take { bank, take, answer })
    }

    fn settle(&self, bank: i64, settles: Vec<Settle>, answer: Answer<Vec<Result<Settled>>>) -> Ticket {
        self.push(Request::Settle { bank, settles, answer })
    }

    fn read(&self, bank: i64, query: Query, answer: Answer<Found>) -> Ticket {
        let mut queue = self.shared.queue.lock();
        if queue.stop {
            drop(queue);
            answer(Err(Error::Closed));
            return Ticket(0);
        }
        let ticket = queue.ticket();
        queue.reads.push_back((ticket, Read { bank, query, answer }));
        drop(queue);
        self.shared.reading.notify_one();
        Ticket(ticket)
    }

    fn help(&self) {
        let work = || writer::help(&self.shared, &self.writer);
        if self.generation == generation() && std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            self.shared.stop();
        }
    }

    fn cancel(&self, Ticket(ticket): Ticket) -> Cancelled {
        let mut queue = self.shared.queue.lock();
        if let Some(job) = queue.jobs.remove(&ticket) {
            drop(queue);
            drop(job);
            return Cancelled::NotBegun;
        }
        if let Some(job) = queue.waiting.remove(&ticket) {
            drop(queue);
            drop(job);
            return Cancelled::Waiting;
        }
        if let Some(place) = queue.reads.iter().position(|(other, _)| *other == ticket) {
            let read = queue.reads.remove(place);
            drop(queue);
            drop(read);
            return Cancelled::NotBegun;
        }
        if queue.busy {
            queue.cancelled.insert(ticket);
        }
        Cancelled::TooLate
    }

    fn accept_rewind(&self) {
        self.shared.queue.lock().accept_rewind = true;
    }

    fn waiting(&self) -> usize {
        self.shared.queue.lock().waiting.len()
    }

    fn close(&self) {
        SqliteStore::close(self);
    }

    fn blocked_by(&self) -> Option<u32> {
        self.shared.side.lock().inside()
    }

    fn place(&self) -> &str {
        &self.shared.context.path
    }

    fn boottime(&self) -> Micros {
        self.shared.clock.as_ref().map_or_else(boottime::now, |clock| clock.load(Ordering::Relaxed))
    }
}
