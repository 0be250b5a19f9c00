//! The writer: one transaction for all that came while it waited for the lock. A thread of its own, or, when nothing else
//! is going on, the thread of the caller.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::apply::Took;
use super::failure::Context;
use super::queue::Request;
use super::side::Side;
use super::transaction::{Memory, Transaction, dead_owners};
use super::{BUSY, Shared, connect, same_file};
use crate::core::error::{Error, Result};
use crate::core::fork::inside;
use crate::core::model::{BankInfo, Pick, PutDone, Settled, Taken};
use crate::core::sync::Mutex;

/// The most rows in one transaction, so that others wait for milliseconds.
const BATCH: usize = 2_000;

/// What a request gets once the transaction is on the disk.
enum Outcome {
    Opened(Result<BankInfo>),
    Put(Result<PutDone>),
    Took(Result<Taken>),
    Settled(Result<Vec<Result<Settled>>>),
    Waits,
    /// The whole transaction failed.
    Refused(Error),
}

/// What is to be told to callers, without the writer's lock: an answer may drop the store.
#[must_use]
pub struct Answers(Vec<(Request, Outcome)>);

impl Answers {
    pub fn give(self) {
        for (request, outcome) in self.0 {
            match (request, outcome) {
                (Request::Open { answer, .. } | Request::Resize { answer, .. }, Outcome::Opened(result)) => {
                    answer(result)
                }
                (Request::Put { answer, .. }, Outcome::Put(result)) => answer(result),
                (Request::Take { answer, .. }, Outcome::Took(result)) => answer(result),
                (Request::Settle { answer, .. }, Outcome::Settled(result)) => answer(result),
                (request, Outcome::Refused(error)) => request.refuse(&error),
                (request, _) => request.refuse(&Error::Closed),
            }
        }
    }
}

/// Who has it locked carries out what is queued, and looks at the queue once more after unlocking: so nothing that comes
/// meanwhile is left lying, though its caller found the lock taken.
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

/// The writer thread. The connection is closed at its end, and never in a forked child, which has no such thread.
pub fn run(shared: &Shared, writer: &Mutex<Option<Writer>>) {
    let mut due = None;
    while let Some(look) = sleep(shared, due.take()) {
        let mut held = writer.lock();
        let Some(writer) = held.as_mut() else { break };
        if look {
            // An error is left to the writing transaction, which runs into it as well and tells.
            if let Ok((false, next)) = writer.anything_for_waiters() {
                due = next;
                continue;
            }
        }
        let answers = writer.round(true);
        drop(held);
        if let Some(answers) = answers {
            answers.give();
        }
    }
    let left = {
        let mut queue = shared.queue.lock();
        let jobs = std::mem::take(&mut queue.jobs);
        let waiting = std::mem::take(&mut queue.waiting);
        jobs.into_values().chain(waiting.into_values()).collect::<Vec<_>>()
    };
    left.into_iter().for_each(|request| request.refuse(&Error::Closed));
    let writer = writer.lock().take();
    let _inside = inside();
    drop(writer);
}

/// Sleeps until there is a request (false), or until a waiting take could get something (true). None: stop.
fn sleep(shared: &Shared, due: Option<Duration>) -> Option<bool> {
    let mut queue = shared.queue.lock();
    loop {
        if queue.stop {
            return None;
        }
        if !queue.jobs.is_empty() {
            return Some(false);
        }
        if queue.look && !queue.waiting.is_empty() {
            queue.look = false;
            return Some(true);
        }
        queue.told = false;
        match due {
            // A lease ends or a delay is over: as good as a wake-up from outside.
            Some(limit) if !queue.waiting.is_empty() => {
                if shared.work.wait_for(&mut queue, limit) {
                    return Some(true);
                }
            }
            _ => shared.work.wait(&mut queue),
        }
    }
}

/// A caller's thread carries out what is queued, if no thread is at it and no other process is in the way.
pub fn help(shared: &Shared, writer: &Mutex<Option<Writer>>) {
    let Some(mut held) = writer.try_lock() else { return };
    let answers = held.as_mut().and_then(|writer| writer.round(false));
    drop(held);
    // The writer thread takes what came meanwhile, and all of it if this thread would have had to wait.
    {
        let mut queue = shared.queue.lock();
        if !queue.jobs.is_empty() {
            queue.told = true;
            shared.work.notify_one();
        }
    }
    if let Some(answers) = answers {
        answers.give();
    }
}

impl Writer {
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

    /// One passage through the turnstile. None: another process is in the way, and this was not to wait for it.
    fn round(&mut self, patient: bool) -> Option<Answers> {
        let side = match self.enter(patient) {
            Ok(side) => side?,
            Err(error) => return Some(self.refuse_queued(&error)),
        };
        let done = self.transact(&side, patient);
        side.leave();
        let (answers, freed) = done?;
        if freed {
            side.wake_all();
        }
        Some(answers)
    }

    /// Passes the turnstile of the side file that is there.
    fn enter(&mut self, patient: bool) -> Result<Option<Arc<Side>>> {
        let mut side = self.shared.side.lock().clone();
        if !side.is_current() {
            if !patient {
                return Ok(None);
            }
            // It was removed or replaced: open the one that is there, with a new number for new leases.
            side = Arc::new(Side::open(self.shared.side_path.clone())?);
            self.memory.former.extend(self.memory.owner.take());
            *self.shared.side.lock() = side.clone();
        }
        if patient {
            side.enter()?;
            return Ok(Some(side));
        }
        Ok(side.try_enter()?.then_some(side))
    }

    /// One transaction for all that is queued once it is begun; takes that wait go back into the queue.
    fn transact(&mut self, side: &Side, patient: bool) -> Option<(Answers, bool)> {
        let _inside = inside();
        let begun = self.begin(patient);
        if let Ok(false) = begun {
            return None;
        }
        // Only now, so that all that came while this waited is in the same commit.
        let (batch, waited) = self.drain();
        let (outcomes, freed) = match begun.and_then(|_| self.commit(side, &batch, waited)) {
            Ok(done) => done,
            Err(error) => (batch.iter().map(|_| Outcome::Refused(error.clone())).collect(), false),
        };
        Some((self.keep_waiting(batch, outcomes), freed))
    }

    /// Begins the transaction. False: another program writes, and this was not to wait for it.
    fn begin(&mut self, patient: bool) -> Result<bool> {
        let context = &self.shared.context;
        if !same_file(&self.shared) {
            return Err(Error::Moved { path: context.path.clone() });
        }
        let begin = || self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([]);
        let wait = |limit| self.db.busy_timeout(limit).map_err(|error| context.explain(&error));
        if !patient {
            wait(Duration::ZERO)?;
        }
        let begun = begin();
        if !patient {
            wait(BUSY)?;
        }
        match begun {
            Ok(_) => Ok(true),
            Err(error) if !patient && error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            Err(error) => Err(context.explain(&error)),
        }
    }

    fn refuse_queued(&self, error: &Error) -> Answers {
        let mut queue = self.shared.queue.lock();
        let mut jobs = std::mem::take(&mut queue.jobs);
        jobs.append(&mut queue.waiting);
        Answers(jobs.into_values().map(|request| (request, Outcome::Refused(error.clone()))).collect())
    }

    /// The waiting takes and the requests, in the order in which they came, and how many waited.
    fn drain(&mut self) -> (Vec<(u64, Request)>, usize) {
        let mut queue = self.shared.queue.lock();
        queue.busy = true;
        let mut batch: Vec<(u64, Request)> = std::mem::take(&mut queue.waiting).into_iter().collect();
        let waited = if std::mem::take(&mut self.look_by_id) { 0 } else { batch.len() };
        let mut weight = 0;
        while weight < BATCH {
            let Some((ticket, request)) = queue.jobs.pop_first() else { break };
            weight += request.weight();
            batch.push((ticket, request));
        }
        self.memory.accept_rewind |= std::mem::take(&mut queue.accept_rewind);
        (batch, waited)
    }

    /// Applies the batch and commits. Ok: it is on the disk.
    fn commit(&mut self, side: &Side, batch: &[(u64, Request)], waited: usize) -> Result<(Vec<Outcome>, bool)> {
        let context = &self.shared.context;
        let end = |db: &Connection, sql: &str| {
            db.prepare_cached(sql).and_then(|mut end| end.execute([])).map_err(|error| context.explain(&error))
        };
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
                let _ = end(db, "ROLLBACK");
            }
            if let Some(number) = new_owner {
                side.stop_being_owner(number);
            }
            Err(error)
        };
        match done {
            Ok((outcomes, true)) => match end(&self.db, "COMMIT") {
                Ok(_) => {
                    let freed = transaction.freed;
                    transaction.committed();
                    Ok((outcomes, freed))
                }
                Err(error) => give_up(&self.db, error.unsure()),
            },
            Ok((outcomes, false)) => {
                end(&self.db, "ROLLBACK")?;
                Ok((outcomes, false))
            }
            Err(error) => give_up(&self.db, error),
        }
    }

    /// Puts the takes that go on waiting back into the queue; the answers of the others.
    fn keep_waiting(&self, batch: Vec<(u64, Request)>, outcomes: Vec<Outcome>) -> Answers {
        let mut answers = Vec::with_capacity(batch.len());
        let mut queue = self.shared.queue.lock();
        queue.busy = false;
        for ((ticket, request), outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Waits if queue.cancelled.contains(&ticket) => {
                    answers.push((request, Outcome::Took(Ok(Taken::default()))));
                }
                Outcome::Waits => {
                    queue.waiting.insert(ticket, request);
                }
                outcome => answers.push((request, outcome)),
            }
        }
        queue.cancelled.clear();
        if !queue.waiting.is_empty() {
            self.shared.watch.notify_one();
        }
        Answers(answers)
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
