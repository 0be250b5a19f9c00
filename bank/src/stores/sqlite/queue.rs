//! Requests on their way to the writer, and those that wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::core::error::{Error, Result};
use crate::core::model::{BankInfo, Found, Kind, Put, PutDone, Query, Settle, Settled, Take, Taken};
use crate::core::store::Answer;

/// A request and who gets its answer.
pub enum Request {
    Open { name: String, kind: Kind, answer: Answer<BankInfo> },
    Resize { bank: i64, top: i64, answer: Answer<BankInfo> },
    Put { bank: i64, put: Put, answer: Answer<PutDone> },
    Take { bank: i64, take: Take, answer: Answer<Taken> },
    Settle { bank: i64, settles: Vec<Settle>, answer: Answer<Vec<Result<Settled>>> },
}

impl Request {
    /// About how many rows it touches.
    pub fn weight(&self) -> usize {
        match self {
            Request::Open { .. } | Request::Resize { .. } => 1,
            Request::Put { put, .. } => put.items.len(),
            Request::Take { take, .. } => take.n as usize,
            Request::Settle { settles, .. } => settles.len(),
        }
    }

    pub fn refuse(self, error: &Error) {
        let error = error.clone();
        match self {
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
}

/// What threads hand to the writer and the reader. Requests are drained and cancelled under the same lock, so that each is
/// either carried out or cancelled. Both maps are in the order in which the requests came.
#[derive(Default)]
pub struct Queue {
    pub jobs: BTreeMap<u64, Request>,
    /// Takes that found nothing.
    pub waiting: BTreeMap<u64, Request>,
    pub reads: VecDeque<(u64, Read)>,
    pub last_ticket: u64,
    /// Something outside may have freed an item: the waiting takes must look.
    pub look: bool,
    pub stop: bool,
    /// The writer thread is awake, or was woken, and looks at the queue before it sleeps.
    pub told: bool,
    pub accept_rewind: bool,
    /// The writer has drained requests and not answered yet.
    pub busy: bool,
    /// Taken back while they were drained: those that would go on waiting are answered with nothing instead.
    pub cancelled: BTreeSet<u64>,
}

impl Queue {
    pub fn ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }
}
