//! The writer thread: one transaction for all that came while it waited for the lock.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::apply::Took;
use super::failure::Context;
use super::queue::Request;
use super::side::Side;
use super::transaction::{Memory, Transaction, dead_owners};
use super::{Shared, connect, same_file};
use crate::core::error::{Error, Result};
use crate::core::fork::inside;
use crate::core::model::{BankInfo, Pick, PutDone, Settled, Taken};

/// The most rows in one transaction, so that others wait for milliseconds.
const BATCH: usize = 2_000;

/// What a request gets once the transaction is on the disk.
enum Outcome {
    Opened(Result<BankInfo>),
    Put(Result<PutDone>),
    Took(Result<Taken>),
    Settled(Result<Vec<Result<Settled>>>),
    Waits,
}

pub struct Writer {
    pub shared: Arc<Shared>,
    pub db: Connection,
    pub memory: Memory,
    pub boot: String,
    /// What `PRAGMA data_version` said when the waiting takes last looked.
    pub seen_version: i64,
    /// The id of a waiting take got something by another process: all must look for themselves.
    pub look_by_id: bool,
}

impl Writer {
    pub fn run(mut self) {
        while self.wait_for_work() {
            self.round();
        }
        let error = Error::Closed;
        let left = {
            let mut queue = self.shared.queue.lock();
            let jobs = std::mem::take(&mut queue.jobs);
            let waiting = std::mem::take(&mut queue.waiting);
            jobs.into_values().chain(waiting.into_values()).collect::<Vec<_>>()
        };
        left.into_iter().for_each(|request| request.refuse(&error));
        let _inside = inside();
        drop(self.db);
    }

    /// Sleeps until there is a request, or until a waiting take could get something. False: stop.
    fn wait_for_work(&mut self) -> bool {
        let mut due = None;
        loop {
            {
                let mut queue = self.shared.queue.lock();
                loop {
                    if queue.stop {
                        return false;
                    }
                    if !queue.jobs.is_empty() {
                        return true;
                    }
                    if queue.look && !queue.waiting.is_empty() {
                        queue.look = false;
                        break;
                    }
                    match due {
                        // A lease ends or a delay is over: as good as a wake-up from outside.
                        Some(limit) if !queue.waiting.is_empty() => {
                            if self.shared.work.wait_for(&mut queue, limit) {
                                break;
                            }
                        }
                        _ => self.shared.work.wait(&mut queue),
                    }
                }
            }
            match self.anything_for_waiters() {
                Ok((true, _)) => return true,
                Ok((false, next)) => due = next,
                // The writing transaction runs into it as well, and tells.
                Err(_) => return true,
            }
        }
    }

    /// A look without a lock: is there anything that a waiting take could get, and if not, when is the next due?
    fn anything_for_waiters(&mut self) -> rusqlite::Result<(bool, Option<Duration>)> {
        let _inside = inside();
        let version: i64 = self.db.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        let changed = version != self.seen_version;
        self.seen_version = version;
        let mut banks = Vec::new();
        let mut ids = Vec::new();
        for request in self.shared.queue.lock().waiting.values() {
            let Request::Take { bank, take, .. } = request else { continue };
            if !banks.contains(bank) {
                banks.push(*bank);
            }
            if changed {
                ids.push((*bank, take.id.clone(), take.pick.clone()));
            }
        }
        let now = self.shared.now();
        let mut next = None;
        for bank in banks {
            let soonest: Option<i64> = self
                .db
                .prepare_cached(
                    "WITH RECURSIVE p(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM p WHERE n < 9) \
                     SELECT min(t) FROM (SELECT (SELECT min(ready_at) FROM item WHERE bank = ?1 AND state < 2 \
                     AND priority = p.n) AS t FROM p)",
                )?
                .query_row([bank], |row| row.get(0))?;
            match soonest {
                Some(at) if at <= now => return Ok((true, None)),
                Some(at) => next = Some(next.map_or(at, |other: i64| other.min(at))),
                None => {}
            }
        }
        for (bank, id, pick) in ids {
            let mut mine = self.db.prepare_cached("SELECT 1 FROM item WHERE bank = ?1 AND claim = ?2")?;
            let mut fresh = self.db.prepare_cached("SELECT 1 FROM bank WHERE id = ?1 AND mark < top")?;
            let mut ended = self.db.prepare_cached("SELECT 1 FROM item WHERE bank = ?1 AND key = ?2 AND state > 1")?;
            self.look_by_id |= mine.exists(rusqlite::params![bank, id])?;
            let worth = match &pick {
                Pick::Next => false,
                Pick::Id { .. } => fresh.exists([bank])?,
                Pick::Key { key, .. } => ended.exists(rusqlite::params![bank, key])?,
            };
            self.look_by_id |= worth;
            if self.look_by_id {
                return Ok((true, None));
            }
        }
        let side = self.shared.side.lock().clone();
        if side.is_current() && !dead_owners(&self.db, &side, &self.boot, &self.memory)?.is_empty() {
            return Ok((true, None));
        }
        let next = next.map(|at| Duration::from_micros((at - now).clamp(1, 50_000) as u64));
        Ok((false, next))
    }

    /// One passage through the turnstile.
    fn round(&mut self) {
        if let Err(error) = self.renew_side() {
            return self.refuse_queued(&error);
        }
        let side = self.shared.side.lock().clone();
        if let Err(error) = side.enter() {
            return self.refuse_queued(&error);
        }
        // Only now, so that all that came while this waited is in the same commit.
        let (batch, waited, accept_rewind) = self.drain();
        self.memory.accept_rewind |= accept_rewind;
        let waited = if std::mem::take(&mut self.look_by_id) { 0 } else { waited };
        let done = self.commit(&side, &batch, waited);
        side.leave();
        match done {
            Ok((outcomes, freed)) => {
                if freed {
                    side.wake_all();
                }
                self.answer(batch, outcomes);
            }
            Err(error) => batch.into_iter().for_each(|(_, request)| request.refuse(&error)),
        }
        let mut queue = self.shared.queue.lock();
        queue.busy = false;
        queue.cancelled.clear();
    }

    fn refuse_queued(&self, error: &Error) {
        let jobs = {
            let mut queue = self.shared.queue.lock();
            let mut jobs = std::mem::take(&mut queue.jobs);
            jobs.append(&mut queue.waiting);
            jobs
        };
        jobs.into_values().for_each(|request| request.refuse(error));
    }

    /// The waiting takes and the requests, in the order in which they came.
    fn drain(&self) -> (Vec<(u64, Request)>, usize, bool) {
        let mut queue = self.shared.queue.lock();
        queue.busy = true;
        let mut batch: Vec<(u64, Request)> = std::mem::take(&mut queue.waiting).into_iter().collect();
        let waited = batch.len();
        let mut weight = 0;
        while weight < BATCH {
            let Some((ticket, request)) = queue.jobs.pop_first() else { break };
            weight += request.weight();
            batch.push((ticket, request));
        }
        (batch, waited, std::mem::take(&mut queue.accept_rewind))
    }

    /// A side file that was removed or replaced: open the one that is there, with a new number for new leases.
    fn renew_side(&mut self) -> Result<()> {
        let current = self.shared.side.lock().clone();
        if current.is_current() {
            return Ok(());
        }
        let side = Arc::new(Side::open(self.shared.side_path.clone())?);
        self.memory.former.extend(self.memory.owner.take());
        *self.shared.side.lock() = side;
        Ok(())
    }

    /// One transaction. Ok: it is on the disk.
    fn commit(&mut self, side: &Side, batch: &[(u64, Request)], waited: usize) -> Result<(Vec<Outcome>, bool)> {
        let _inside = inside();
        let context = &self.shared.context;
        if !same_file(&self.shared) {
            return Err(Error::Moved { path: context.path.clone() });
        }
        let fail = |error: rusqlite::Error| context.explain(&error);
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
        let now = self.shared.now();
        let mut transaction = Transaction::new(&self.db, context, side, &self.boot, &mut self.memory, now);
        transaction.wanted = batch
            .iter()
            .map(|(_, request)| if let Request::Take { take, .. } = request { take.n as usize } else { 0 })
            .sum();
        let done =
            apply_all(&mut transaction, batch, waited).and_then(|outcomes| Ok((outcomes, transaction.finish()?)));
        let new_owner = transaction.new_owner;
        let give_up = |db: &Connection, error: Error| {
            if !db.is_autocommit() {
                // What fails here has rolled back by itself.
                let _ = db.execute_batch("ROLLBACK");
            }
            if let Some(number) = new_owner {
                side.stop_being_owner(number);
            }
            Err(error)
        };
        match done {
            Ok((outcomes, true)) => match self.db.execute_batch("COMMIT") {
                Ok(()) => {
                    let freed = transaction.freed;
                    transaction.committed();
                    Ok((outcomes, freed))
                }
                Err(error) => give_up(&self.db, context.explain(&error)),
            },
            Ok((outcomes, false)) => {
                self.db.execute_batch("ROLLBACK").map_err(fail)?;
                Ok((outcomes, false))
            }
            Err(error) => give_up(&self.db, error),
        }
    }

    /// Hands out the answers; takes that wait go back into the queue.
    fn answer(&self, batch: Vec<(u64, Request)>, outcomes: Vec<Outcome>) {
        let mut waits = Vec::new();
        for ((ticket, request), outcome) in batch.into_iter().zip(outcomes) {
            match (request, outcome) {
                (request, Outcome::Waits) => waits.push((ticket, request)),
                (Request::Open { answer, .. } | Request::Resize { answer, .. }, Outcome::Opened(result)) => {
                    answer(result)
                }
                (Request::Put { answer, .. }, Outcome::Put(result)) => answer(result),
                (Request::Take { answer, .. }, Outcome::Took(result)) => answer(result),
                (Request::Settle { answer, .. }, Outcome::Settled(result)) => answer(result),
                (request, _) => request.refuse(&Error::Closed),
            }
        }
        if !waits.is_empty() {
            let mut queue = self.shared.queue.lock();
            let mut nothing = Vec::new();
            for (ticket, request) in waits {
                match request {
                    Request::Take { answer, .. } if queue.cancelled.contains(&ticket) => nothing.push(answer),
                    request => {
                        queue.waiting.insert(ticket, request);
                    }
                }
            }
            drop(queue);
            self.shared.watch.notify_one();
            nothing.into_iter().for_each(|answer| answer(Ok(Taken::default())));
        }
    }
}

/// Applies each request. An error of the database ends the whole transaction; one of a single call is that call's answer.
fn apply_all(transaction: &mut Transaction<'_>, batch: &[(u64, Request)], waited: usize) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(batch.len());
    for (place, (_, request)) in batch.iter().enumerate() {
        outcomes.push(apply(transaction, request, place < waited)?);
    }
    // What was freed after a take had looked goes to it in the same commit, in the order in which they wait.
    // So does the news that what it waits for by its key is gone.
    if transaction.freed || !transaction.ended.is_empty() {
        for ((_, request), outcome) in batch.iter().zip(&mut outcomes) {
            if let (Request::Take { bank, take, .. }, Outcome::Waits) = (request, &outcome) {
                *outcome = took(fatal(transaction.take(*bank, take, true))?);
            }
        }
    }
    Ok(outcomes)
}

fn took(result: Result<Took>) -> Outcome {
    match result {
        Ok(Took::Waits) => Outcome::Waits,
        Ok(Took::Done(taken)) => Outcome::Took(Ok(taken)),
        Err(error) => Outcome::Took(Err(error)),
    }
}

/// Errors of the database are everybody's; errors of a call are its own.
fn fatal<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(
            error @ (Error::Io { .. }
            | Error::Full { .. }
            | Error::ReadOnly { .. }
            | Error::Corrupt { .. }
            | Error::Busy { .. }
            | Error::NotABank { .. }
            | Error::Moved { .. }),
        ) => Err(error),
        other => Ok(other),
    }
}

fn apply(transaction: &mut Transaction<'_>, request: &Request, again: bool) -> Result<Outcome> {
    Ok(match request {
        Request::Open { name, kind, .. } => Outcome::Opened(fatal(transaction.open_bank(name, *kind))?),
        Request::Resize { bank, top, .. } => Outcome::Opened(fatal(transaction.resize(*bank, *top))?),
        Request::Put { bank, put, .. } => Outcome::Put(fatal(transaction.put(*bank, put))?),
        Request::Take { bank, take, .. } => took(fatal(transaction.take(*bank, take, again))?),
        Request::Settle { bank, settles, .. } => {
            let mut answers = Vec::with_capacity(settles.len());
            for settle in settles {
                answers.push(fatal(transaction.settle(*bank, settle))?);
            }
            Outcome::Settled(Ok(answers))
        }
    })
}

/// Wakes the writer for the takes that wait, when another process committed, and every 50 ms.
pub fn watch(shared: &Shared) {
    loop {
        {
            let mut queue = shared.queue.lock();
            while queue.waiting.is_empty() && !queue.stop {
                shared.watch.wait(&mut queue);
            }
            if queue.stop {
                return;
            }
        }
        let side = shared.side.lock().clone();
        // Read before the look: a commit after it changes the word, and then the wait returns at once.
        let word = side.read_word();
        shared.queue.lock().look = true;
        shared.work.notify_one();
        side.wait(word, Duration::from_millis(50));
    }
}

/// Answers the reads.
pub fn read(shared: &Shared) {
    let mut db: Option<Connection> = None;
    loop {
        let (_, read) = {
            let mut queue = shared.queue.lock();
            loop {
                if let Some(read) = queue.reads.pop_front() {
                    break read;
                }
                if queue.stop {
                    drop(queue);
                    let _inside = inside();
                    drop(db);
                    return;
                }
                shared.reading.wait(&mut queue);
            }
        };
        let inside = inside();
        let opened = match db.take() {
            Some(db) => Ok(db),
            None => connect(&shared.path, shared.vfs.as_deref(), &shared.context, true),
        };
        let found = opened.and_then(|connection| {
            let explain = |error: &rusqlite::Error| Context::explain(&shared.context, error);
            let found = super::reads::answer(&connection, read.bank, &read.query, shared.now(), explain);
            db = Some(connection);
            found
        });
        drop(inside);
        (read.answer)(found);
    }
}
