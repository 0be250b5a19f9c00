//! Requests on their way to the worker, and those that wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::core::error::{Error, Result};
use crate::core::model::{BankInfo, Found, Kind, Put, PutDone, Query, Settle, Settled, Take, Taken};
use crate::core::store::Answer;

pub enum Request {
    Open { name: String, kind: Kind, answer: Answer<BankInfo> },
    Resize { bank: i64, top: i64, answer: Answer<BankInfo> },
    Put { bank: i64, put: Put, answer: Answer<PutDone> },
    Take { bank: i64, take: Take, answer: Answer<Taken> },
    Settle { bank: i64, settles: Vec<Settle>, done: Vec<Option<Result<Settled>>>, answer: Answer<Vec<Result<Settled>>> },
}

/// A request, and what became of it so far.
pub struct Job {
    pub ticket: u64,
    pub request: Request,
    /// Drawn once per call: by it a repeat knows what an earlier try has done.
    pub call: i64,
    /// A try was sent, and no answer to it came: it may have been carried out.
    pub uncertain: bool,
    pub since: Instant,
    /// It found a row that another transaction has: not before this.
    pub not_before: Option<Instant>,
    pub pause: Duration,
}

impl Job {
    pub fn new(ticket: u64, request: Request, call: i64) -> Job {
        let pause = Duration::from_millis(2);
        Job { ticket, request, call, uncertain: false, since: Instant::now(), not_before: None, pause }
    }

    pub fn bank(&self) -> i64 {
        match &self.request {
            Request::Open { .. } => 0,
            Request::Resize { bank, .. }
            | Request::Put { bank, .. }
            | Request::Take { bank, .. }
            | Request::Settle { bank, .. } => *bank,
        }
    }

    /// About how many rows it touches.
    pub fn weight(&self) -> usize {
        match &self.request {
            Request::Open { .. } | Request::Resize { .. } => 1,
            Request::Put { put, .. } => put.items.len(),
            Request::Take { take, .. } => take.n as usize,
            Request::Settle { settles, .. } => settles.len(),
        }
    }

    /// Has it tried again a little later, and later each time.
    pub fn put_off(&mut self) {
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(Duration::from_millis(100));
    }

    pub fn refuse(self, error: &Error) {
        let error = error.clone();
        match self.request {
            Request::Open { answer, .. } | Request::Resize { answer, .. } => answer(Err(error)),
            Request::Put { answer, .. } => answer(Err(error)),
            Request::Take { answer, .. } => answer(Err(error)),
            Request::Settle { answer, .. } => answer(Err(error)),
        }
    }
}

pub struct Read {
    pub bank: i64,
    pub query: Query,
    pub answer: Answer<Found>,
    pub since: Instant,
}

/// What threads hand to the worker and the reader. Requests are drained and cancelled under the same lock, so that each is
/// either carried out or cancelled. The maps are in the order in which the requests came.
#[derive(Default)]
pub struct Queue {
    pub jobs: BTreeMap<u64, Job>,
    /// Takes that found nothing.
    pub waiting: BTreeMap<u64, Job>,
    pub reads: VecDeque<(u64, Read)>,
    pub last_ticket: u64,
    /// Something may have become claimable: the waiting takes must look.
    pub look: bool,
    pub stop: bool,
    pub accept_rewind: bool,
    /// The worker has drained requests and not answered yet.
    pub busy: bool,
    /// Taken back while they were drained: they are answered in any case, and go back into no queue.
    pub cancelled: BTreeSet<u64>,
}

impl Queue {
    pub fn ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }
}
