//! A bank by name, and waiting for its answers in a thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::sync::{Condvar, Mutex};

use super::claim_id;
use super::error::{Error, Result};
use super::model::{Found, Kind, Put, PutDone, Query, Settle, Settled, Take, Taken, Value};
use super::store::{Answer, Cancelled, Store, Ticket, staying};

/// How long a call waits for the lock that another process has.
pub const BUSY_LIMIT: Duration = Duration::from_secs(30);

/// How often a wait looks whether its thread was interrupted.
const SLICE: Duration = Duration::from_millis(50);

struct Slot<T> {
    state: Mutex<State<T>>,
    came: Condvar,
}

struct State<T> {
    answer: Option<Result<T>>,
    /// A thread waits on `came`; none does if it carried out its request itself.
    parked: bool,
}

impl<T> Slot<T> {
    fn give(&self, result: Result<T>) {
        let mut state = self.state.lock();
        state.answer = Some(result);
        let parked = state.parked;
        drop(state);
        if parked {
            self.came.notify_one();
        }
    }
}

/// Where a thread waits for one answer.
struct Waiter<T>(Arc<Slot<T>>);

/// The other end; dropped without an answer it says `Closed`, so that nobody waits for ever.
struct Giver<T> {
    slot: Arc<Slot<T>>,
    gave: bool,
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        if !self.gave {
            self.slot.give(Err(Error::Closed));
        }
    }
}

/// An answer for a store, and where to wait for it.
fn channel<T: Send + 'static>() -> (Answer<T>, Waiter<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State { answer: None, parked: false }), came: Condvar::new() });
    let mut giver = Giver { slot: slot.clone(), gave: false };
    let answer = Box::new(move |result| {
        giver.gave = true;
        giver.slot.give(result);
    });
    (answer, Waiter(slot))
}

impl<T> Waiter<T> {
    /// The answer, if it comes within the limit.
    fn wait(&self, limit: Option<Duration>) -> Option<Result<T>> {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut state = self.0.state.lock();
        loop {
            if let Some(result) = state.answer.take() {
                return Some(result);
            }
            state.parked = true;
            match end {
                None => self.0.came.wait(&mut state),
                Some(end) => {
                    if self.0.came.wait_until(&mut state, end) {
                        return state.answer.take();
                    }
                }
            }
        }
    }
}

/// How a wait ended.
pub enum Waited<T> {
    Answer(Result<T>),
    /// The time was up, and the request will never be carried out. `begun`: it was looked at, and found nothing.
    TimeUp {
        begun: bool,
    },
    /// The thread was interrupted, and the request will never be carried out.
    Interrupted,
    /// The thread was interrupted, and the request had been carried out.
    InterruptedAfter(Result<T>),
}

/// One named bank on a store.
#[derive(Clone)]
pub struct Bank {
    pub store: Arc<dyn Store>,
    pub number: i64,
    pub name: Arc<str>,
    pub kind: Kind,
}

impl Bank {
    /// Opens a bank, and makes it if it is not there.
    pub fn open(store: Arc<dyn Store>, name: &str, kind: Kind) -> Result<Bank> {
        let info = match ask(&*store, BUSY_LIMIT, |answer| store.open(name, kind, answer), &mut || false) {
            Waited::Answer(info) => info?,
            _ => return Err(busy(&*store, BUSY_LIMIT)),
        };
        let kind = match kind {
            Kind::Items => Kind::Items,
            Kind::Ids { .. } => Kind::Ids { top: info.top },
            Kind::Permits { .. } => Kind::Permits { top: info.top },
        };
        Ok(Bank { store, number: info.number, name: name.into(), kind })
    }

    fn call<T: Send + 'static>(&self, submit: impl FnOnce(Answer<T>) -> Ticket) -> Result<T> {
        match ask(&*self.store, BUSY_LIMIT, submit, &mut || false) {
            Waited::Answer(answer) => answer,
            _ => Err(busy(&*self.store, BUSY_LIMIT)),
        }
    }

    /// Stores a chunk.
    pub fn put(&self, put: Put) -> Result<PutDone> {
        self.call(|answer| self.store.put(self.number, put, answer))
    }

    /// Takes without waiting for items to come free.
    pub fn take(&self, take: Take) -> Result<Taken> {
        let take = Take { wait: false, ..take };
        self.call(|answer| self.store.take(self.number, take, answer))
    }

    /// Takes, and waits until something is free or the time is up.
    pub fn take_within(&self, take: Take, limit: Duration) -> Result<Taken> {
        let waiting = Take { wait: true, ..take.clone() };
        match ask(&*self.store, limit, |answer| self.store.take(self.number, waiting, answer), &mut || false) {
            Waited::Answer(answer) => answer,
            Waited::TimeUp { begun: false } => self.take(take),
            _ => Ok(Taken::default()),
        }
    }

    /// Finishing calls, each with an answer of its own.
    pub fn settle(&self, settles: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        self.call(|answer| self.store.settle(self.number, settles, answer))
    }

    /// One finishing call.
    pub fn settle_one(&self, settle: Settle) -> Result<Settled> {
        self.settle(vec![settle])?.pop().unwrap_or(Err(Error::Closed))
    }

    pub fn read(&self, query: Query) -> Result<Found> {
        self.call(|answer| self.store.read(self.number, query, answer))
    }

    pub fn resize(&self, top: i64) -> Result<i64> {
        self.call(|answer| self.store.resize(self.number, top, answer)).map(|info| info.top)
    }

    /// An id for a call that brings none; drawn once per call.
    pub fn draw_id() -> Value {
        claim_id::draw()
    }
}

/// Another process has the lock for too long.
pub fn busy(store: &dyn Store, waited: Duration) -> Error {
    Error::Busy {
        path: store.place().to_owned(),
        waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        pid: store.blocked_by(),
    }
}

/// Sends a request and waits for its answer until the limit, or until `interrupted` says so. A request that was begun is
/// waited for: that takes as long as the disk needs.
pub fn ask<T: Send + 'static>(
    store: &dyn Store,
    limit: Duration,
    submit: impl FnOnce(Answer<T>) -> Ticket,
    interrupted: &mut dyn FnMut() -> bool,
) -> Waited<T> {
    let (answer, waiter) = channel();
    let begin = Instant::now();
    let ticket = staying(|| submit(answer));
    store.help();
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        if let Some(answer) = waiter.wait(Some(left.min(SLICE))) {
            return Waited::Answer(answer);
        }
        let stop = interrupted();
        if !stop && begin.elapsed() < limit {
            continue;
        }
        return match store.cancel(ticket) {
            Cancelled::TooLate => match (waiter.wait(None), stop) {
                (Some(answer), false) => Waited::Answer(answer),
                (Some(answer), true) => Waited::InterruptedAfter(answer),
                (None, _) => Waited::Answer(Err(Error::Closed)),
            },
            _ if stop => Waited::Interrupted,
            Cancelled::NotBegun => Waited::TimeUp { begun: false },
            Cancelled::Waiting => Waited::TimeUp { begun: true },
        };
    }
}
