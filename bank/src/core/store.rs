//! What a database must be able to do.

use std::cell::Cell;

use super::error::Result;
use super::model::{BankInfo, Found, Kind, New, Put, PutDone, Query, Settle, Settled, Take, Taken};

/// Gets the answer, in a thread of the store. It must not wait for the store, and never needs the GIL.
pub type Answer<T> = Box<dyn FnOnce(Result<T>) + Send>;

/// Names a request that was handed to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

thread_local! {
    static STAYS: Cell<bool> = const { Cell::new(false) };
}

/// Submits a request that this thread then offers to carry out, with `Store::help`: the store need not wake a thread of
/// its own for it.
pub fn staying<T>(submit: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            STAYS.set(false);
        }
    }
    STAYS.set(true);
    let _reset = Reset;
    submit()
}

/// Whether the request that is being submitted is followed by `Store::help` in the same thread.
pub fn stays() -> bool {
    STAYS.get()
}

/// What became of a request that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The answer came, or is about to: the request is carried out.
    TooLate,
    /// It was not begun and never will be; its answer never comes.
    NotBegun,
    /// A take that found nothing and waited; its answer never comes.
    Waiting,
}

/// Items that are collected outside of the bank, and then stored in one transaction.
pub trait AtomicPut: Send {
    /// Collects; takes no lock that others wait for.
    fn add(&mut self, items: &[New]) -> Result<()>;

    /// Stores all, or none. How many were new.
    fn commit(self: Box<Self>) -> Result<PutDone>;
}

/// The state of one bank in a database. Each method returns at once; the answer comes by callback, exactly once, unless
/// `cancel` says that it never will.
pub trait Store: Send + Sync {
    /// Opens a bank by its name, and makes it if it is not there.
    fn open(&self, name: &str, kind: Kind, answer: Answer<BankInfo>) -> Ticket;

    /// Changes the size of a bank of ids or permits.
    fn resize(&self, bank: i64, top: i64, answer: Answer<BankInfo>) -> Ticket;

    /// Stores the new ones of a chunk: all, or none if one is refused.
    fn put(&self, bank: i64, put: Put, answer: Answer<PutDone>) -> Ticket;

    /// Begins a put of any number of items, all or none. It works in the caller's threads.
    fn atomic_put(&self, bank: i64, keep: bool) -> Result<Box<dyn AtomicPut>>;

    /// Takes items for a claim id, for good or for a time. A take that waits stays in the store.
    fn take(&self, bank: i64, take: Take, answer: Answer<Taken>) -> Ticket;

    /// Carries out finishing calls, in order, each with an answer of its own.
    fn settle(&self, bank: i64, settles: Vec<Settle>, answer: Answer<Vec<Result<Settled>>>) -> Ticket;

    /// Reads what every call that was answered before has left.
    fn read(&self, bank: i64, query: Query, answer: Answer<Found>) -> Ticket;

    /// Offers this thread, which is about to wait for its own request: the store may carry out in it what is queued,
    /// and give the answers. It never waits here for another process; only for the disk.
    fn help(&self) {}

    /// Takes a request back, unless it is too late for that.
    fn cancel(&self, ticket: Ticket) -> Cancelled;

    /// Goes on after the database was found to be older than what this process has seen.
    fn accept_rewind(&self);

    /// How many takes of this process wait for an item.
    fn waiting(&self) -> usize;

    /// Ends it in this process: what is queued is answered with `Closed`.
    fn close(&self);

    /// Which process keeps others from writing, and since when, as far as the store knows.
    fn blocked_by(&self) -> Option<u32>;

    /// Where it is, for messages.
    fn place(&self) -> &str;

    /// The store's clock and the holder's, in microseconds; a test may stand still.
    fn boottime(&self) -> i64;
}
