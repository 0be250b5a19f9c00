//! A bank in a PostgreSQL database. `DESIGN.md`, section 9.

mod address;
mod changes;
mod failure;
mod put;
mod queue;
mod reader;
mod reads;
mod rows;
mod schema;
mod session;
mod settle;
mod spool;
mod statements;
mod take;
mod tls;
pub mod tx;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::core::boottime;
use crate::core::error::{Error, Result};
use crate::core::fork::{PerProcess, generation, install};
use crate::core::model::{BankInfo, Found, Kind, Micros, Put, PutDone, Query, Settle, Settled, Take, Taken};
use crate::core::store::{Answer, AtomicPut, Cancelled, Store, Ticket};
use crate::core::sync::{Condvar, Mutex};
use address::Address;
use queue::{Job, Queue, Read, Request};
use session::{Session, Target};

/// How a database is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A clock that stands still unless it is moved, for tests. Microseconds.
    pub clock: Option<Arc<AtomicI64>>,
    /// `synchronous_commit` may be off: after a crash of the server what was given last is given again.
    pub fast: bool,
}

/// Whether an address is one of this store.
pub fn is_address(text: &str) -> bool {
    text.starts_with("postgresql://") || text.starts_with("postgres://")
}

/// How an address is shown: without its password.
pub fn shown(text: &str) -> Result<String> {
    Address::parse(text).map(|address| address.place)
}

/// What the store, its thread and its callers share.
struct Shared {
    target: Arc<Target>,
    channel: String,
    clock: Option<Arc<AtomicI64>>,
    queue: Mutex<Queue>,
    /// There is something for the worker; for the reader.
    work: Notify,
    reading: Notify,
    /// The word came by which the connections look for a pooler between.
    hello: Notify,
    pooled: AtomicBool,
    cookie: Mutex<Vec<u8>>,
    last_failure: Mutex<Option<Error>>,
    running: Mutex<bool>,
    ended: Condvar,
}

impl Shared {
    fn place(&self) -> &str {
        self.target.place()
    }

    fn clock_now(&self) -> Option<Micros> {
        self.clock.as_ref().map(|clock| clock.load(Ordering::Relaxed))
    }

    fn is_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// The waiting takes are to look.
    fn look(&self) {
        self.queue.lock().look = true;
        self.work.notify_one();
    }
}

/// The stores that are open in this process.
static OPEN: PerProcess<Mutex<HashMap<String, Weak<PostgresStore>>>> = PerProcess::new();

/// A database and this process's thread for it. It ends when the last `Arc` is dropped, or with `close`.
pub struct PostgresStore {
    shared: Arc<Shared>,
    generation: u64,
}

impl PostgresStore {
    /// Opens a database, and makes the schema if it is not there.
    pub fn open(address: &str, options: &Options) -> Result<Arc<PostgresStore>> {
        install();
        let find = |open: &HashMap<String, Weak<PostgresStore>>| {
            let store = open.get(address).and_then(Weak::upgrade)?;
            let stopped = store.shared.queue.lock().stop;
            (!stopped).then_some(store)
        };
        let known = find(&OPEN.get().lock());
        if let Some(store) = known {
            return store.with_durability(options.fast);
        }
        // Not under the lock: another database may be quick to open while this one is not.
        let made = Arc::new(Self::start(Address::parse(address)?, options)?);
        let mut open = OPEN.get().lock();
        open.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = find(&open) {
            drop(open);
            return store.with_durability(options.fast);
        }
        open.insert(address.to_owned(), Arc::downgrade(&made));
        Ok(made)
    }

    fn with_durability(self: Arc<Self>, fast: bool) -> Result<Arc<PostgresStore>> {
        if self.shared.target.fast != fast {
            let why = format!("{} is open in this process with another durability", self.shared.place());
            return Err(Error::Invalid(why));
        }
        Ok(self)
    }

    fn start(address: Address, options: &Options) -> Result<PostgresStore> {
        let channel = address.channel();
        let shared = Arc::new(Shared {
            target: Arc::new(Target::new(address, options.fast)?),
            channel,
            clock: options.clock.clone(),
            queue: Mutex::default(),
            work: Notify::new(),
            reading: Notify::new(),
            hello: Notify::new(),
            pooled: AtomicBool::new(false),
            cookie: Mutex::default(),
            last_failure: Mutex::new(None),
            running: Mutex::new(true),
            ended: Condvar::new(),
        });
        let store = PostgresStore { shared: shared.clone(), generation: generation() };
        let (answer, opened) = std::sync::mpsc::channel();
        let body = move || {
            // A panic must not leave callers waiting: their answers are dropped with the queue, which tells them.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| serve(&shared, &answer)));
            let left = {
                let mut queue = shared.queue.lock();
                queue.stop = true;
                let jobs = (std::mem::take(&mut queue.jobs), std::mem::take(&mut queue.waiting));
                (jobs, std::mem::take(&mut queue.reads))
            };
            drop(left);
            *shared.running.lock() = false;
            shared.ended.notify_all();
        };
        let thread = std::thread::Builder::new().name("opool-bank-pg".into()).spawn(body);
        if let Err(error) = thread {
            *store.shared.running.lock() = false;
            let why = format!("no thread can be started ({error})");
            return Err(Error::Io { path: store.shared.place().to_owned(), why });
        }
        opened.recv().unwrap_or(Err(Error::Closed))?;
        Ok(store)
    }

    /// What a user should know of how this works here; nothing if it works as it is meant to.
    pub fn remark(&self) -> Option<String> {
        self.shared.is_pooled().then(|| {
            format!(
                "{} is behind a connection pooler that gives each transaction another connection: items that come free \
                 are found by polling each second, and statements are planned anew each time. Connect to the server \
                 itself, or to the pooler in session mode, to be woken at once",
                self.shared.place()
            )
        })
    }

    /// What a transaction of the caller needs to put something here.
    pub fn for_transactions(&self) -> tx::Place {
        tx::Place {
            schema: self.shared.target.schema.clone(),
            channel: self.shared.channel.clone(),
            cookie: self.shared.cookie.lock().clone(),
        }
    }

    /// Answers what is queued with `Closed` and ends the thread; waits for it, but not for ever.
    fn end(&self) {
        if self.generation != generation() {
            return;
        }
        self.shared.queue.lock().stop = true;
        self.shared.work.notify_one();
        self.shared.reading.notify_one();
        let own = std::thread::current().name() == Some("opool-bank-pg");
        let mut running = self.shared.running.lock();
        while *running && !own {
            if self.shared.ended.wait_for(&mut running, Duration::from_secs(5)) {
                break;
            }
        }
    }

    fn push(&self, request: Request) -> Ticket {
        // Not zero: that is what rows have that no call has made.
        let call = i64::from_be_bytes(boottime::random()) | 1;
        let mut queue = self.shared.queue.lock();
        if queue.stop {
            drop(queue);
            Job::new(0, request, call).refuse(&Error::Closed);
            return Ticket(0);
        }
        let ticket = queue.ticket();
        queue.jobs.insert(ticket, Job::new(ticket, request, call));
        drop(queue);
        self.shared.work.notify_one();
        Ticket(ticket)
    }
}

/// The thread: both connections, until the store is closed.
fn serve(shared: &Arc<Shared>, opened: &std::sync::mpsc::Sender<Result<()>>) {
    let place = shared.place().to_owned();
    // Who opens it waits for this.
    let answer = |said| drop(opened.send(said));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return answer(Err(Error::Io { path: place, why: error.to_string() })),
    };
    runtime.block_on(async {
        let (reader, writer) = match connect(shared).await {
            Ok(sessions) => sessions,
            Err(error) => return answer(Err(error)),
        };
        answer(Ok(()));
        let worker = worker::Worker::new(shared.clone(), writer).run();
        futures_util::future::join(worker, reader::run(shared, reader)).await;
    });
}

async fn connect(shared: &Arc<Shared>) -> Result<(Session, Session)> {
    let mut writer = Session::connect(&shared.target, None).await?;
    schema::prepare(&writer.client, &shared.target.address, schema::MIGRATIONS).await?;
    let cookie = schema::cookie(&writer.client, &shared.target.address).await?;
    *shared.cookie.lock() = cookie;
    let word = format!("hello {:x}", i64::from_be_bytes(boottime::random()));
    let mut reader = reader::connect(shared, Some(word.clone())).await?;
    let heard = shared.hello.notified();
    let pooled = session::is_behind_a_pooler(&reader, &writer, &shared.channel, heard, &word).await?;
    shared.pooled.store(pooled, Ordering::Relaxed);
    writer.set_up(pooled).await?;
    reader.set_up(pooled).await?;
    Ok((reader, writer))
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.end();
    }
}

impl Store for PostgresStore {
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
        let done = settles.iter().map(|_| None).collect();
        self.push(Request::Settle { bank, settles, done, answer })
    }

    fn read(&self, bank: i64, query: Query, answer: Answer<Found>) -> Ticket {
        let mut queue = self.shared.queue.lock();
        if queue.stop {
            drop(queue);
            answer(Err(Error::Closed));
            return Ticket(0);
        }
        let ticket = queue.ticket();
        queue.reads.push_back((ticket, Read { bank, query, answer, since: Instant::now() }));
        drop(queue);
        self.shared.reading.notify_one();
        Ticket(ticket)
    }

    fn cancel(&self, Ticket(ticket): Ticket) -> Cancelled {
        let mut queue = self.shared.queue.lock();
        if let Some(job) = queue.jobs.remove(&ticket) {
            drop(queue);
            if job.uncertain {
                // It may have been carried out, and nobody can say until the server is back.
                job.refuse(&session::unknown(
                    self.shared.place(),
                    "and the time of the call was up before it was back",
                ));
                return Cancelled::TooLate;
            }
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
        self.end();
    }

    fn blocked_by(&self) -> Option<u32> {
        None
    }

    fn place(&self) -> &str {
        self.shared.place()
    }

    fn boottime(&self) -> Micros {
        self.shared.clock_now().unwrap_or_else(boottime::now)
    }
}
