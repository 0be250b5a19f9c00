//! The worker of a process: drains what is queued, and carries it out as few statements.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::Shared;
use super::changes::Changes;
use super::failure::Trouble;
use super::put;
use super::queue::{Job, Request};
use super::session::{Session, one, unknown};
use super::settle;
use super::statements::{self, Name};
use super::take::{Asked, Context, Took, take_alone, take_many};
use crate::core::error::{Error, Result};
use crate::core::model::{BankInfo, Kind, Micros, Pick, State, Taken, Value};

/// The most rows in one round, so that nobody waits for long.
const BATCH: usize = 2_000;

/// How often takes look that wait for an item, when nobody wakes them.
const POLL: Duration = Duration::from_secs(1);

/// The least time between two notifications of a process: each holds a lock that all commits of the server pass through.
const QUIET: Duration = Duration::from_millis(100);

/// How long a server may be away before calls fail.
pub const OUTAGE: Duration = Duration::from_secs(10);

const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Below which `ready_at`, by priority, nothing claimable is expected: rows that were taken are skipped in the index even
/// while an old snapshot keeps them there. Only a hint: forgotten each second, and before anybody is told that nothing is
/// free.
struct Floors {
    at: [Micros; 10],
    since: Instant,
}

const NO_FLOORS: [Micros; 10] = [i64::MIN; 10];

pub struct Worker {
    shared: Arc<Shared>,
    session: Option<Session>,
    /// Not before this after a connection could not be made.
    retry_at: Instant,
    pause: Duration,
    seen: i64,
    /// When the waiting takes look again.
    look_at: Instant,
    notified: Option<Instant>,
    /// Banks in which something came free since.
    to_notify: BTreeSet<i64>,
    floors: HashMap<i64, Floors>,
    touched: BTreeSet<i64>,
    upkeep_at: Instant,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, session: Session) -> Worker {
        let now = Instant::now();
        Worker {
            shared,
            session: Some(session),
            retry_at: now,
            pause: Duration::from_millis(50),
            seen: 0,
            look_at: now,
            notified: None,
            to_notify: BTreeSet::new(),
            floors: HashMap::new(),
            touched: BTreeSet::new(),
            upkeep_at: now + Duration::from_secs(1),
        }
    }

    pub async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            self.round(batch).await;
            self.upkeep().await;
            let mut queue = self.shared.queue.lock();
            queue.busy = false;
            queue.cancelled.clear();
        }
        self.end().await;
    }

    /// What was given back without waiting for the answer still goes out; the rest is refused.
    async fn end(&mut self) {
        let jobs: Vec<Job> = {
            let mut queue = self.shared.queue.lock();
            let jobs = std::mem::take(&mut queue.jobs);
            let waiting = std::mem::take(&mut queue.waiting);
            jobs.into_values().chain(waiting.into_values()).collect()
        };
        let (last, others): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| matches!(job.request, Request::Settle { .. }));
        others.into_iter().for_each(|job| job.refuse(&Error::Closed));
        if self.session.as_ref().is_some_and(|session| !session.client.is_closed()) {
            // What does not get through in this time ends with its lease.
            let _ = tokio::time::timeout(Duration::from_secs(2), self.round(last)).await;
        }
        let left = std::mem::take(&mut self.shared.queue.lock().jobs);
        left.into_values().for_each(|job| job.refuse(&Error::Closed));
    }

    /// Sleeps until there is something to do. None: stop.
    async fn next_batch(&mut self) -> Option<Vec<Job>> {
        loop {
            let until = {
                let mut queue = self.shared.queue.lock();
                if queue.stop {
                    return None;
                }
                let now = Instant::now();
                let looks = !queue.waiting.is_empty() && (queue.look || self.look_at <= now);
                let ready: Vec<u64> = queue
                    .jobs
                    .values()
                    .filter(|job| job.not_before.is_none_or(|at| at <= now))
                    .map(|job| job.ticket)
                    .collect();
                if looks || !ready.is_empty() {
                    queue.busy = true;
                    let mut batch: Vec<Job> = Vec::new();
                    if looks {
                        queue.look = false;
                        batch.extend(std::mem::take(&mut queue.waiting).into_values());
                    }
                    let mut weight = 0;
                    for ticket in ready {
                        if weight >= BATCH {
                            break;
                        }
                        let Some(job) = queue.jobs.remove(&ticket) else { continue };
                        weight += job.weight();
                        batch.push(job);
                    }
                    return Some(batch);
                }
                let later = queue.jobs.values().filter_map(|job| job.not_before).min();
                let look = (!queue.waiting.is_empty()).then_some(self.look_at);
                let notify = self.notified.filter(|_| !self.to_notify.is_empty()).map(|at| at + QUIET);
                [later, look, notify].into_iter().flatten().min()
            };
            match until {
                None => self.shared.work.notified().await,
                // The time being up is as good as a wake-up.
                Some(until) => drop(tokio::time::timeout_at(until.into(), self.shared.work.notified()).await),
            }
            self.notify_late().await;
        }
    }

    /// The trailing edge: what came free shortly after a notification.
    async fn notify_late(&mut self) {
        if self.to_notify.is_empty() || self.notified.is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        let Some(session) = &self.session else { return };
        let banks = std::mem::take(&mut self.to_notify);
        self.notified = Some(Instant::now());
        for bank in banks {
            // Who misses it looks by itself within a second.
            let _ = session.rows(Name::Notify, &[&self.shared.channel, &bank.to_string()]).await;
        }
    }

    /// The word for a commit that frees something, unless there was one just before.
    fn notification(&mut self, bank: i64, changes: &Changes) -> Option<String> {
        if !changes.freed || self.session.as_ref().is_some_and(Session::is_pooled) {
            return None;
        }
        if self.notified.is_some_and(|at| at.elapsed() < QUIET) {
            self.to_notify.insert(bank);
            return None;
        }
        self.notified = Some(Instant::now());
        self.to_notify.remove(&bank);
        Some(bank.to_string())
    }

    fn context(&self) -> Context {
        Context { clock: self.shared.clock_now(), seen: self.seen, place: self.shared.place().to_owned() }
    }

    async fn connected(&mut self) -> bool {
        if self.session.as_ref().is_some_and(|session| session.client.is_closed()) {
            self.session = None;
        }
        if self.session.is_some() {
            return true;
        }
        if Instant::now() < self.retry_at {
            return false;
        }
        let made = async {
            let mut session = Session::connect(&self.shared.target, None).await?;
            session.set_up(self.shared.is_pooled()).await?;
            Ok::<_, Error>(session)
        };
        match made.await {
            Ok(session) => {
                self.session = Some(session);
                self.pause = Duration::from_millis(50);
                *self.shared.last_failure.lock() = None;
                true
            }
            Err(error) => {
                *self.shared.last_failure.lock() = Some(error);
                self.retry_at = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                false
            }
        }
    }

    /// No connection: jobs wait for one, but not for ever.
    fn outage(&mut self, jobs: Vec<Job>) {
        let error = self.shared.last_failure.lock().clone();
        self.look_at = self.look_at.max(self.retry_at);
        for mut job in jobs {
            if job.since.elapsed() < OUTAGE || is_waiting(&job) {
                job.not_before = Some(self.retry_at);
                self.requeue(job);
            } else if job.uncertain {
                let why = error.as_ref().map(ToString::to_string).unwrap_or_default();
                job.refuse(&unknown(self.shared.place(), &why));
            } else {
                let place = self.shared.place().to_owned();
                let error = error.clone().unwrap_or(Error::Unreachable { path: place, why: "no connection".into() });
                job.refuse(&error);
            }
        }
    }

    /// Back into the queue; one that was taken back meanwhile is answered instead.
    fn requeue(&self, job: Job) {
        let mut queue = self.shared.queue.lock();
        if !queue.cancelled.contains(&job.ticket) {
            queue.jobs.insert(job.ticket, job);
            return;
        }
        drop(queue);
        let place = self.shared.place();
        let error = if job.uncertain {
            unknown(place, "before its answer came, and the time of the call was up")
        } else {
            Error::Busy { path: place.to_owned(), waited_ms: job.since.elapsed().as_millis() as u64, pid: None }
        };
        job.refuse(&error);
    }

    fn wait(&self, job: Job) {
        let mut queue = self.shared.queue.lock();
        if queue.cancelled.contains(&job.ticket) {
            drop(queue);
            if let Request::Take { answer, .. } = job.request {
                answer(Ok(Taken::default()));
            }
            return;
        }
        queue.waiting.insert(job.ticket, Job { not_before: None, uncertain: false, ..job });
    }

    async fn round(&mut self, batch: Vec<Job>) {
        if !self.connected().await {
            return self.outage(batch);
        }
        let accept = std::mem::take(&mut self.shared.queue.lock().accept_rewind);
        if accept {
            self.accept_rewind().await;
        }
        let mut banks: BTreeMap<i64, Vec<Job>> = BTreeMap::new();
        for job in batch {
            banks.entry(job.bank()).or_default().push(job);
        }
        for (bank, jobs) in banks {
            let mut settles = Vec::new();
            let mut takes = Vec::new();
            let mut others = Vec::new();
            for job in jobs {
                match &job.request {
                    Request::Settle { .. } => settles.push(job),
                    Request::Take { .. } => takes.push(job),
                    _ => others.push(job),
                }
            }
            // What is given back first, so that the takes of this round can have it.
            self.settles(bank, settles).await;
            for job in others {
                self.single(job).await;
            }
            self.takes(bank, takes).await;
            self.touched.insert(bank);
        }
    }

    /// Tokens go on from the highest that was ever seen: none is used twice.
    async fn accept_rewind(&mut self) {
        let Some(session) = &self.session else { return };
        let schema = &session.target().schema;
        let text = format!("SELECT setval('{schema}.token', greatest(last_value, $1)) FROM {schema}.token");
        // If it fails, the next call is refused again.
        let _ = session.run_typed(&text, &[(&self.seen, Type::INT8)]).await;
    }

    /// What follows from an error: the jobs of a lost connection go again, one that is refused alone has its answer, and
    /// others are tried one by one. Gives those.
    async fn troubled(&mut self, trouble: Trouble, mut jobs: Vec<Job>) -> Vec<Job> {
        match trouble {
            Trouble::Lost(why) => {
                self.session = None;
                let error = Error::Unreachable { path: self.shared.place().to_owned(), why };
                *self.shared.last_failure.lock() = Some(error);
                for mut job in jobs {
                    job.uncertain = true;
                    job.not_before = None;
                    self.requeue(job);
                }
                return Vec::new();
            }
            Trouble::Again | Trouble::Refused(_) => {
                if let Some(session) = &self.session {
                    session.rollback().await;
                }
            }
        }
        if jobs.len() > 1 {
            return jobs;
        }
        if let Some(mut job) = jobs.pop() {
            match trouble {
                Trouble::Refused(error) => job.refuse(&error),
                _ => {
                    job.put_off();
                    self.requeue(job);
                }
            }
        }
        Vec::new()
    }

    /// After a commit: what those need who wait.
    fn note(&self, freed: bool, ended: bool) {
        let mut queue = self.shared.queue.lock();
        let keyed =
            |job: &Job| matches!(&job.request, Request::Take { take, .. } if matches!(take.pick, Pick::Key { .. }));
        if freed || (ended && queue.waiting.values().any(keyed)) {
            queue.look = true;
        }
    }

    async fn commit(&mut self, bank: i64, changes: &Changes) -> std::result::Result<(), Trouble> {
        let word = self.notification(bank, changes);
        let channel = self.shared.channel.clone();
        let Some(session) = &self.session else { return Err(Trouble::Lost("no connection".into())) };
        if changes.is_empty() && word.is_none() {
            // Also what a put has stored is in this transaction.
            session.commit().await?;
        } else {
            changes.commit(session, bank, word.as_deref().map(|word| (channel.as_str(), word))).await?;
        }
        self.note(changes.freed, changes.ended);
        Ok(())
    }

    async fn settles(&mut self, bank: i64, mut jobs: Vec<Job>) {
        let mut one_by_one: Vec<Vec<Job>> = vec![std::mem::take(&mut jobs)];
        while let Some(jobs) = one_by_one.pop() {
            if jobs.is_empty() {
                continue;
            }
            if self.session.is_none() {
                jobs.into_iter().for_each(|job| self.requeue(job));
                continue;
            }
            if let Err((trouble, jobs)) = self.settle_batch(bank, jobs).await {
                let left = self.troubled(trouble, jobs).await;
                one_by_one.extend(left.into_iter().rev().map(|job| vec![job]));
            }
        }
    }

    async fn settle_batch(&mut self, bank: i64, mut jobs: Vec<Job>) -> std::result::Result<(), (Trouble, Vec<Job>)> {
        let context = self.context();
        let Some(session) = &self.session else { return Ok(()) };
        let mut settles = Vec::new();
        for job in &jobs {
            if let Request::Settle { settles: all, done, .. } = &job.request {
                settles.extend(all.iter().zip(done).filter(|(_, done)| done.is_none()).map(|(settle, _)| settle));
            }
        }
        let settled = settle::settle(session, &context, bank, &settles).await;
        let (answers, changes) = match settled {
            Ok(settled) => settled,
            Err(trouble) => return Err((trouble, jobs)),
        };
        if let Err(trouble) = self.commit(bank, &changes).await {
            return Err((trouble, jobs));
        }
        let mut answers = answers.into_iter();
        for job in &mut jobs {
            if let Request::Settle { done, .. } = &mut job.request {
                done.iter_mut().filter(|done| done.is_none()).for_each(|done| *done = answers.next().flatten());
            }
            job.uncertain = false;
        }
        for mut job in jobs {
            match job.request {
                Request::Settle { done, answer, .. } if done.iter().all(Option::is_some) => {
                    answer(Ok(done.into_iter().flatten().collect()));
                }
                _ => {
                    job.put_off();
                    self.requeue(job);
                }
            }
        }
        Ok(())
    }

    async fn takes(&mut self, bank: i64, jobs: Vec<Job>) {
        let mut one_by_one: Vec<Vec<Job>> = vec![jobs];
        while let Some(jobs) = one_by_one.pop() {
            if jobs.is_empty() {
                continue;
            }
            if self.session.is_none() {
                jobs.into_iter().for_each(|job| self.requeue(job));
                continue;
            }
            if let Err((trouble, jobs)) = self.take_batch(bank, jobs).await {
                let left = self.troubled(trouble, jobs).await;
                one_by_one.extend(left.into_iter().rev().map(|job| vec![job]));
            }
        }
    }

    async fn take_batch(&mut self, bank: i64, jobs: Vec<Job>) -> std::result::Result<(), (Trouble, Vec<Job>)> {
        let context = self.context();
        let floors = self.floors.get(&bank).filter(|floors| floors.since.elapsed() < POLL);
        let floors = floors.map_or((NO_FLOORS, Instant::now()), |floors| (floors.at, floors.since));
        let Some(session) = &self.session else { return Ok(()) };
        let asked: Vec<Asked<'_>> = jobs
            .iter()
            .filter_map(|job| match &job.request {
                Request::Take { take, .. } => Some(Asked { take, call: job.call }),
                _ => None,
            })
            .collect();
        let batch = match take_many(session, &context, bank, &asked, &floors.0).await {
            Ok(batch) => batch,
            Err(trouble) => return Err((trouble, jobs)),
        };
        drop(asked);
        self.seen = self.seen.max(batch.token);
        let mut at = floors.0;
        at.iter_mut().zip(batch.reached).for_each(|(floor, reached)| *floor = (*floor).max(reached));
        if batch.took.iter().any(|took| matches!(took, Took::Locked | Took::Waits)) {
            at = NO_FLOORS;
        }
        self.floors.insert(bank, Floors { at, since: floors.1 });
        let due = batch.due.map_or(POLL, |due| Duration::from_micros(due.unsigned_abs()).min(POLL));
        self.look_at = Instant::now() + due.max(Duration::from_millis(1));
        let given = batch.took.iter().any(
            |took| matches!(took, Took::Done(taken) if taken.held.iter().any(|held| held.row.state == State::Given)),
        );
        if given {
            self.note(false, true);
        }
        let mut alone = Vec::new();
        for (job, took) in jobs.into_iter().zip(batch.took) {
            match took {
                Took::Alone => alone.push(job),
                took => self.took(job, took),
            }
        }
        for job in alone {
            self.alone(bank, job).await;
        }
        Ok(())
    }

    fn took(&self, mut job: Job, took: Took) {
        match took {
            Took::Done(taken) => {
                if let Request::Take { answer, .. } = job.request {
                    answer(Ok(taken));
                }
            }
            Took::Waits => self.wait(job),
            Took::Locked | Took::Alone => {
                job.uncertain = false;
                job.put_off();
                self.requeue(job);
            }
        }
    }

    async fn alone(&mut self, bank: i64, job: Job) {
        let context = self.context();
        let (Some(session), Request::Take { take, .. }) = (&self.session, &job.request) else {
            return self.requeue(job);
        };
        let asked = Asked { take, call: job.call };
        let taken = take_alone(session, &context, bank, &asked).await;
        let done = match taken {
            Ok((took, changes, token)) => {
                let ended = match (&took, changes.is_empty()) {
                    // Nothing to keep, not even the id's row.
                    (Took::Locked | Took::Waits, true) => {
                        session.rollback().await;
                        Ok(())
                    }
                    (Took::Done(taken), true) if taken.held.is_empty() => {
                        session.rollback().await;
                        Ok(())
                    }
                    _ => self.commit(bank, &changes).await,
                };
                ended.map(|()| (took, token))
            }
            Err(trouble) => Err(trouble),
        };
        match done {
            Ok((took, token)) => {
                self.seen = self.seen.max(token);
                self.look_at = self.look_at.min(Instant::now() + POLL);
                self.took(job, took);
            }
            Err(trouble) => {
                self.troubled(trouble, vec![job]).await;
            }
        }
    }

    async fn single(&mut self, job: Job) {
        if self.session.is_none() {
            return self.requeue(job);
        }
        let done = match &job.request {
            Request::Open { name, kind, .. } => self.open(name, *kind).await.map(Outcome::Info),
            Request::Resize { bank, top, .. } => self.resize(*bank, *top).await.map(Outcome::Info),
            Request::Put { bank, put, .. } => self.put(*bank, put, job.call).await,
            _ => return self.requeue(job),
        };
        match done {
            Ok(outcome) => match (job.request, outcome) {
                (Request::Open { answer, .. } | Request::Resize { answer, .. }, Outcome::Info(info)) => {
                    answer(Ok(info))
                }
                (Request::Put { answer, .. }, Outcome::Put(done)) => answer(Ok(done)),
                (request, _) => {
                    let mut job = Job { request, ..job };
                    job.uncertain = false;
                    job.put_off();
                    self.requeue(job);
                }
            },
            Err(trouble) => {
                self.troubled(trouble, vec![job]).await;
            }
        }
    }

    async fn put(
        &mut self,
        bank: i64,
        put: &crate::core::model::Put,
        call: i64,
    ) -> std::result::Result<Outcome, Trouble> {
        let context = self.context();
        let Some(session) = &self.session else { return Ok(Outcome::Later) };
        match put::put(session, &context, bank, put, call).await? {
            Some((done, changes)) => {
                self.commit(bank, &changes).await?;
                Ok(Outcome::Put(done))
            }
            None => {
                session.rollback().await;
                Ok(Outcome::Later)
            }
        }
    }

    async fn open(&mut self, name: &str, kind: Kind) -> std::result::Result<BankInfo, Trouble> {
        let Some(session) = &self.session else { return Err(Trouble::Again) };
        let mut found = session.rows(Name::Open, &[&name]).await?;
        if found.is_empty() {
            if kind != Kind::Items && kind.top() == 0 {
                return Err(Trouble::Refused(Error::UnknownKey(Value::Text(name.to_owned()))));
            }
            let mark = i64::from(matches!(kind, Kind::Ids { .. }));
            session.rows(Name::OpenMake, &[&name, &(kind.number() as i16), &kind.top(), &mark]).await?;
            found = session.rows(Name::Open, &[&name]).await?;
        }
        let (Some(number), Some(is), Some(top)) =
            (one::<i64>(&found, 0), one::<i16>(&found, 1).map(i64::from), one::<i64>(&found, 2))
        else {
            return Err(Trouble::Again);
        };
        if is != kind.number() {
            let (is, asked) = (Kind::name(is), Kind::name(kind.number()));
            return Err(Trouble::Refused(Error::KindMismatch { name: name.to_owned(), is, asked }));
        }
        if top != kind.top() && kind.top() != 0 {
            return Err(Trouble::Refused(Error::SizeMismatch { name: name.to_owned(), is: top, asked: kind.top() }));
        }
        Ok(BankInfo { number, top })
    }

    /// Another number of permits or ids. Rows at or above it are buried as they come back; growing digs them out again.
    async fn resize(&mut self, bank: i64, top: i64) -> std::result::Result<BankInfo, Trouble> {
        let clock = self.shared.clock_now();
        let Some(session) = &self.session else { return Err(Trouble::Again) };
        session.begin().await?;
        let row = session.rows(Name::ResizeBank, &[&bank, &top]).await?;
        if one::<i16>(&row, 0) == Some(Kind::Items.number() as i16) {
            let name: String = one(&row, 1).unwrap_or_default();
            return Err(Trouble::Refused(Error::Invalid(format!("bank {name:?} holds items, which have no number"))));
        }
        let key = super::rows::encode(&Value::Int(top)).index;
        session.rows(Name::ResizeBury, &[&bank, &key]).await?;
        session.rows(Name::ResizeRevive, &[&clock, &bank, &key]).await?;
        let changes = Changes::freeing(true);
        self.commit(bank, &changes).await?;
        Ok(BankInfo { number: bank, top })
    }

    /// Once a second at most: folds the tallies, deletes what is no longer kept.
    async fn upkeep(&mut self) {
        if Instant::now() < self.upkeep_at || self.touched.is_empty() {
            return;
        }
        let Some(session) = &self.session else { return };
        let begin = Instant::now();
        let clock = self.shared.clock_now();
        let schema = &session.target().schema;
        // What fails here is done by the next one.
        for bank in std::mem::take(&mut self.touched) {
            let _ = session.run_typed(&statements::text(statements::FOLD, schema), &[(&bank, Type::INT8)]).await;
        }
        for text in [statements::CLEAN_SETTLED, statements::CLEAN_GONE] {
            let _ = session.run_typed(&statements::text(text, schema), &[(&clock, Type::INT8)]).await;
        }
        // While an old snapshot keeps what was deleted, this takes longer and longer: then less often.
        self.upkeep_at = Instant::now() + Duration::from_secs(1).max(begin.elapsed() * 50);
    }
}

/// What became of a request that is carried out alone.
enum Outcome {
    Info(BankInfo),
    Put(crate::core::model::PutDone),
    /// A row is another transaction's.
    Later,
}

fn is_waiting(job: &Job) -> bool {
    matches!(&job.request, Request::Take { take, .. } if take.wait)
}

/// The error of something that no caller asked for.
pub fn refused_unless(done: std::result::Result<(), Trouble>, place: &str) -> Result<()> {
    done.map_err(|trouble| match trouble {
        Trouble::Refused(error) => error,
        Trouble::Lost(why) => Error::Unreachable { path: place.to_owned(), why },
        Trouble::Again => Error::Busy { path: place.to_owned(), waited_ms: 200, pid: None },
    })
}
