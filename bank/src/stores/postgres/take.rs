//! Claims and leases: all that wait as one statement; what is not the plain case in a transaction of its own.

use std::collections::{BTreeSet, HashSet};

use futures_util::future::{join, join3};

use super::changes::Changes;
use super::failure::Trouble;
use super::rows::{Encoded, Record, encode, record, remaining};
use super::session::Session;
use super::statements::Name;
use crate::core::error::{Error, Result};
use crate::core::model::{Ended, Held, Kind, Micros, NEVER, New, Payload, Pick, State, Take, Taken, Term, Value};

/// What a transaction needs to know from outside.
pub struct Context {
    /// A test's clock.
    pub clock: Option<Micros>,
    /// The highest token that this process has seen.
    pub seen: i64,
    pub place: String,
}

impl Context {
    /// An error that was found without knowing where.
    pub fn at(&self, error: Error) -> Error {
        match error {
            Error::Corrupt { why, .. } => Error::Corrupt { path: self.place.clone(), why },
            other => other,
        }
    }
}

/// A bank's row and the store's time.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub now: Micros,
    pub kind: i64,
    pub top: i64,
    pub mark: i64,
}

impl Head {
    /// Whether it is an id or a permit that there is no more.
    pub fn retires(&self, key: &Value) -> bool {
        self.kind != Kind::Items.number() && matches!(key, Value::Int(number) if *number >= self.top)
    }
}

fn head_of(rows: &[tokio_postgres::Row], context: &Context) -> std::result::Result<Head, Trouble> {
    let Some(row) = rows.first() else {
        return Err(Trouble::Refused(Error::Moved { path: context.place.clone() }));
    };
    let last: i64 = row.get(4);
    if last < context.seen {
        let name = context.place.clone();
        return Err(Trouble::Refused(Error::Rewound { name, seen: context.seen, now: last }));
    }
    Ok(Head { now: row.get(0), kind: row.get::<_, i16>(1).into(), top: row.get(2), mark: row.get(3) })
}

pub async fn head(session: &Session, context: &Context, bank: i64) -> std::result::Result<Head, Trouble> {
    head_of(&session.rows(Name::Head, &[&context.clock, &bank]).await?, context)
}

/// What became of a take.
#[derive(Debug)]
pub enum Took {
    Done(Taken),
    /// Nothing is free, and it wants to wait.
    Waits,
    /// A row that it needs is another transaction's: again, later.
    Locked,
    /// Not the plain case: a transaction of its own.
    Alone,
}

/// A take of a batch.
pub struct Asked<'a> {
    pub take: &'a Take,
    pub call: i64,
}

/// What a batch found.
pub struct Batch {
    pub took: Vec<Took>,
    /// Until something comes free by itself: a delay or a lease that ends.
    pub due: Option<Micros>,
    /// The highest token that was drawn.
    pub token: i64,
    /// The highest `ready_at` of what was taken, by priority.
    pub reached: [Micros; 10],
}

/// Whether a take can be one of many in a statement.
fn is_plain(take: &Take) -> bool {
    take.n == 1 && matches!(take.pick, Pick::Next | Pick::Id { fresh_first: false })
}

/// Takes for many callers. `floors`: below them, by priority, nothing claimable is expected; `None` only after a look at all.
pub async fn take_many(
    session: &Session,
    context: &Context,
    bank: i64,
    asked: &[Asked<'_>],
    floors: &[Micros; 10],
) -> std::result::Result<Batch, Trouble> {
    let mut batch = Batch { took: Vec::new(), due: None, token: 0, reached: [i64::MIN; 10] };
    let mut places = Vec::new();
    let mut seen = HashSet::new();
    for (place, one) in asked.iter().enumerate() {
        // Of two takes with one id the second looks after the first.
        let plain = is_plain(one.take) && seen.insert(&one.take.id);
        batch.took.push(if plain { Took::Waits } else { Took::Alone });
        if plain {
            places.push(place);
        }
    }
    if places.is_empty() {
        return Ok(batch);
    }
    let ids: Vec<Encoded> = places.iter().map(|place| encode(&asked[*place].take.id)).collect();
    let served = take_next(session, context, bank, asked, (&places, &ids), floors, &mut batch).await?;
    if served < places.len() {
        look_again(session, context, bank, asked, (&places, &ids), &mut batch).await?;
    }
    Ok(batch)
}

/// The statement. Gives how many got something.
async fn take_next(
    session: &Session,
    context: &Context,
    bank: i64,
    asked: &[Asked<'_>],
    (places, ids): (&[usize], &[Encoded]),
    floors: &[Micros; 10],
    batch: &mut Batch,
) -> std::result::Result<usize, Trouble> {
    let index: Vec<&[u8]> = ids.iter().map(|id| id.index.as_slice()).collect();
    let long: Vec<Option<&[u8]>> = ids.iter().map(|id| id.long.as_deref()).collect();
    let calls: Vec<i64> = places.iter().map(|place| asked[*place].call).collect();
    let terms: Vec<Term> = places.iter().map(|place| asked[*place].take.term).collect();
    let given: Vec<bool> = terms.iter().map(|term| *term == Term::Given).collect();
    let ttls: Vec<i64> = terms.iter().map(|term| if let Term::Lease { ttl, .. } = term { *ttl } else { 0 }).collect();
    let floors: Vec<i64> = floors.to_vec();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
        [&context.clock, &bank, &index, &long, &calls, &given, &ttls, &context.seen, &floors];
    let rows = if session.is_pooled() {
        let sent = join3(session.begin(), session.rows(Name::TakeNext, &values), session.commit()).await;
        if let (Ok(()), Err(Trouble::Refused(_) | Trouble::Again), _) | (Err(_), _, _) = &sent {
            session.rollback().await;
        }
        sent.0?;
        let rows = sent.1?;
        sent.2?;
        rows
    } else {
        session.rows(Name::TakeNext, &values).await?
    };
    for row in &rows {
        let nth = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or_default();
        let now: Micros = row.get(1);
        let since: Micros = row.get(2);
        let mut taken = record(row, 3, now).map_err(|error| Trouble::Refused(context.at(error)))?;
        if taken.row.state == State::Given {
            taken.row.remaining = NEVER;
        }
        batch.token = batch.token.max(taken.row.token);
        if let Some(reached) = batch.reached.get_mut(usize::from(taken.row.priority)) {
            *reached = (*reached).max(since);
        }
        let place = places[nth];
        batch.took[place] = Took::Done(Taken { held: vec![Held { row: taken.row, new: true }], other: None });
    }
    Ok(rows.len())
}

/// Those that got nothing: which have a row already, and was there really nothing?
async fn look_again(
    session: &Session,
    context: &Context,
    bank: i64,
    asked: &[Asked<'_>],
    (places, ids): (&[usize], &[Encoded]),
    batch: &mut Batch,
) -> std::result::Result<(), Trouble> {
    let left: Vec<&[u8]> = places
        .iter()
        .zip(ids)
        .filter(|(place, _)| matches!(batch.took[**place], Took::Waits))
        .map(|(_, id)| id.index.as_slice())
        .collect();
    let rows = session.rows(Name::Residue, &[&context.clock, &bank, &left]).await?;
    let head = head_of(&rows, context)?;
    let row = &rows[0];
    let known: Vec<Vec<u8>> = row.get(5);
    let known: BTreeSet<&[u8]> = known.iter().map(Vec::as_slice).collect();
    let free: bool = row.get(6);
    batch.due = row.get::<_, Option<Micros>>(7).map(|at| (at - head.now).max(0));
    for (place, id) in places.iter().zip(ids) {
        if !matches!(batch.took[*place], Took::Waits) {
            continue;
        }
        let take = asked[*place].take;
        let fresh = matches!(take.pick, Pick::Id { .. }) && head.mark < head.top;
        batch.took[*place] = if known.contains(id.index.as_slice()) {
            Took::Alone
        } else if free {
            // There is one, and another transaction has it: whether that keeps it is not known.
            Took::Locked
        } else if fresh {
            Took::Alone
        } else if take.wait {
            Took::Waits
        } else {
            Took::Done(Taken::default())
        };
    }
    Ok(())
}

/// What a take has of its transaction.
struct Alone<'a> {
    session: &'a Session,
    context: &'a Context,
    bank: i64,
    take: &'a Take,
    id: Vec<u8>,
    call: i64,
    head: Head,
    changes: Changes,
    held: Vec<Held>,
    other: Option<Record>,
}

/// One take in a transaction of its own, which `changes.commit` ends if there is anything to commit.
pub async fn take_alone(
    session: &Session,
    context: &Context,
    bank: i64,
    asked: &Asked<'_>,
) -> std::result::Result<(Took, Changes, i64), Trouble> {
    let take = asked.take;
    let id = encode(&take.id).index;
    let n = i64::from(take.n);
    let ((begun, head, inserted), (claim, mine, count)) = join(
        join3(
            session.begin(),
            head(session, context, bank),
            session.rows(Name::ClaimInsert, &[&bank, &id, &n, &asked.call]),
        ),
        join3(
            session.rows(Name::ClaimLock, &[&bank, &id]),
            session.rows(Name::ClaimItemsLock, &[&bank, &id]),
            session.rows(Name::ClaimItemsPlain, &[&bank, &id]),
        ),
    )
    .await;
    begun?;
    let head = head?;
    inserted?;
    let claim = claim?;
    let fail = |error: Error| Trouble::Refused(context.at(error));
    let mine = mine?.iter().map(|row| record(row, 0, head.now)).collect::<Result<Vec<_>>>().map_err(fail)?;
    if count?.first().map_or(0, |row| row.get::<_, i64>(0)) != mine.len() as i64 {
        return Ok((Took::Locked, Changes::default(), 0));
    }
    let Some(claim) = claim.first() else { return Err(Trouble::Again) };
    let (claim_n, claim_call): (i64, i64) = (claim.get(0), claim.get(1));
    let changes = Changes::default();
    let mut alone =
        Alone { session, context, bank, take, id, call: asked.call, head, changes, held: Vec::new(), other: None };
    let gone = |record: &Record| record.is_gone(head.now);
    let mine: Vec<Record> = mine.into_iter().filter(|record| !gone(record)).collect();
    if let Some(held) = alone.repeat(claim_n, claim_call == asked.call, &mine).map_err(Trouble::Refused)? {
        return Ok((Took::Done(Taken { held, other: None }), alone.changes, 0));
    }
    let mut token = 0;
    if !alone.take_rows(mine, &mut token).await? {
        return Ok((Took::Locked, Changes::default(), 0));
    }
    alone.finish(token).await
}

impl Alone<'_> {
    /// What the id has already: the answer to a repeat. None if it has nothing that counts. `same`: a try of this very call
    /// took it.
    fn repeat(&mut self, claim_n: i64, same: bool, mine: &[Record]) -> Result<Option<Vec<Held>>> {
        let Some(first) = mine.first() else { return Ok(None) };
        let take = self.take;
        let mismatch = |why: String| Err(Error::ClaimMismatch { id: take.id.clone(), why });
        if claim_n != i64::from(take.n) {
            return mismatch(format!("it was used to ask for {claim_n} items, and now for {}", take.n));
        }
        if let Pick::Key { key, .. } = &take.pick
            && first.row.key != *key
        {
            return mismatch(format!("it holds item {}, not {key}", first.row.key));
        }
        let given = mine.iter().find(|record| record.row.state == State::Given);
        if let (Term::Lease { .. }, Some(given)) = (take.term, given) {
            return mismatch(format!("item {} was given to it for good; a lease could give that back", given.row.key));
        }
        let runs = |record: &&Record| record.row.state == State::Given || record.ready_at > self.head.now;
        let running: Vec<Record> = mine.iter().filter(runs).cloned().collect();
        if running.is_empty() {
            return Ok(None);
        }
        let mut held = Vec::new();
        for mut record in running {
            if take.term == Term::Given && record.row.state == State::Leased {
                record.row.state = State::Given;
                record.ready_at = 0;
                record.row.ended = Ended::No;
                self.changes.shift(Some(State::Leased), Some(State::Given));
                self.changes.set(record.clone());
            }
            if record.row.state == State::Given {
                record.row.remaining = NEVER;
            }
            held.push(Held { row: record.row, new: same });
        }
        Ok(Some(held))
    }

    /// Takes rows until there are enough or no more. False: one that it needs is locked.
    async fn take_rows(&mut self, own: Vec<Record>, token: &mut i64) -> std::result::Result<bool, Trouble> {
        let wanted = self.take.n as usize;
        let tokens = self.session.rows(Name::Tokens, &[&(i64::from(self.take.n))]).await?;
        let mut tokens = tokens.iter().map(|row| row.get::<_, i64>(0));
        let mut tried: Vec<i64> = own.iter().map(|record| record.row.row).collect();
        // The id's own rows that ran out, and that nobody took, come first.
        for record in own {
            self.take_row(record, &mut tokens, token);
        }
        while self.held.len() < wanted {
            let found = match self.pick(wanted - self.held.len(), &tried).await? {
                Some(found) => found,
                None => return Ok(false),
            };
            if found.is_empty() {
                break;
            }
            tried.extend(found.iter().map(|record| record.row.row));
            for record in found {
                self.take_row(record, &mut tokens, token);
            }
        }
        Ok(true)
    }

    /// More rows, at most `n`. None: the one that is asked for is locked.
    async fn pick(&mut self, n: usize, tried: &[i64]) -> std::result::Result<Option<Vec<Record>>, Trouble> {
        match &self.take.pick {
            Pick::Next => self.next(n, tried).await.map(Some),
            Pick::Id { fresh_first } => {
                let first = if *fresh_first { self.fresh(n).await? } else { self.next(n, tried).await? };
                if !first.is_empty() {
                    return Ok(Some(first));
                }
                if *fresh_first { self.next(n, tried).await } else { self.fresh(n).await }.map(Some)
            }
            Pick::Key { key, create, same_payload } => {
                if !tried.is_empty() {
                    return Ok(Some(Vec::new()));
                }
                self.pick_key(key, create.as_deref(), *same_payload).await
            }
        }
    }

    fn read(&self, rows: &[tokio_postgres::Row]) -> std::result::Result<Vec<Record>, Trouble> {
        let records = rows.iter().map(|row| record(row, 0, self.head.now)).collect::<Result<Vec<_>>>();
        records.map_err(|error| Trouble::Refused(self.context.at(error)))
    }

    async fn next(&self, n: usize, tried: &[i64]) -> std::result::Result<Vec<Record>, Trouble> {
        let tried = tried.to_vec();
        let now = Some(self.head.now);
        let rows = self.session.rows(Name::NextLock, &[&now, &self.bank, &(n as i64), &tried]).await?;
        self.read(&rows)
    }

    /// Ids that were never given, as rows. The mark moves in the same transaction.
    async fn fresh(&mut self, n: usize) -> std::result::Result<Vec<Record>, Trouble> {
        let moved = self.session.rows(Name::Fresh, &[&self.bank, &(n as i64)]).await?;
        let Some(row) = moved.first() else { return Ok(Vec::new()) };
        let (from, to): (i64, i64) = (row.get(0), row.get(1));
        let mut records = Vec::new();
        for id in from..to {
            let new = New { key: Value::Int(id), payload: Payload::None, priority: 0, delay: 0, max_attempts: None };
            records.extend(self.make(&new).await?);
        }
        Ok(records)
    }

    /// Stores a row and locks it; one that is there already is only locked.
    async fn make(&mut self, new: &New) -> std::result::Result<Option<Record>, Trouble> {
        super::put::store(self.session, self.head.now, self.bank, std::slice::from_ref(new), self.call).await?;
        let key = vec![encode(&new.key).index];
        let rows = self.session.rows(Name::KeysLock, &[&self.bank, &key]).await?;
        Ok(self.read(&rows)?.pop())
    }

    async fn pick_key(
        &mut self,
        key: &Value,
        create: Option<&New>,
        same_payload: bool,
    ) -> std::result::Result<Option<Vec<Record>>, Trouble> {
        let keys = vec![encode(key).index];
        let (seen, locked) = join(
            self.session.rows(Name::KeysPlain, &[&self.bank, &keys]),
            self.session.rows(Name::KeysLock, &[&self.bank, &keys]),
        )
        .await;
        let seen = self.read(&seen?)?.pop();
        let mut found = self.read(&locked?)?.pop();
        if found.is_none() && seen.is_some() {
            return Ok(None);
        }
        if found.as_ref().is_none_or(|record| record.is_gone(self.head.now)) {
            let Some(new) = create else { return Err(Trouble::Refused(Error::UnknownKey(key.clone()))) };
            found = match found {
                Some(old) => Some(super::put::revive(&mut self.changes, old, new, self.head.now, self.call)),
                None => self.make(new).await?,
            };
        }
        // Another transaction was first with this key.
        let Some(record) = found else { return Ok(None) };
        let other = same_payload && create.is_some_and(|new| new.payload != record.row.payload);
        let claimable = matches!(record.row.state, State::Free | State::Leased) && record.ready_at <= self.head.now;
        if claimable && !other {
            return Ok(Some(vec![record]));
        }
        self.other = Some(record);
        Ok(Some(Vec::new()))
    }

    /// Takes a locked row that is free or run out; or buries it: its attempts are used up, or it is a permit that there is no
    /// more.
    fn take_row(&mut self, mut record: Record, tokens: &mut impl Iterator<Item = i64>, highest: &mut i64) {
        let used_up = record.row.max_attempts.is_some_and(|most| record.row.attempts >= most);
        if self.head.retires(&record.row.key) || used_up {
            self.changes.forget(record.row.claim.as_ref());
            self.changes.shift(Some(record.row.state), Some(State::Dead));
            record.let_go();
            record.row.state = State::Dead;
            self.changes.set(record);
            return;
        }
        let Some(token) = tokens.next() else { return };
        self.changes.remember(&record, self.head.now);
        if record.row.claim.as_ref() != Some(&self.take.id) {
            self.changes.forget(record.row.claim.as_ref());
        }
        let (state, ready_at) = match self.take.term {
            Term::Given => (State::Given, 0),
            Term::Lease { ttl, .. } => {
                (State::Leased, if ttl == NEVER { NEVER } else { self.head.now.saturating_add(ttl) })
            }
        };
        *highest = (*highest).max(token);
        self.changes.shift(Some(record.row.state), Some(state));
        record.ready_at = ready_at;
        record.ended_at = 0;
        record.row.state = state;
        record.row.token = token;
        record.row.attempts += 1;
        record.row.claim = Some(self.take.id.clone());
        record.row.result = Payload::None;
        record.row.ended = Ended::No;
        record.row.remaining = if state == State::Given { NEVER } else { remaining(ready_at, self.head.now) };
        self.changes.set(record.clone());
        self.held.push(Held { row: record.row, new: true });
    }

    /// Writes the id's row, or deletes it.
    async fn finish(self, token: i64) -> std::result::Result<(Took, Changes, i64), Trouble> {
        if self.held.is_empty() {
            let other = self.other.map(|record| record.row);
            let hopeless = other.as_ref().is_some_and(|row| matches!(row.state, State::Given | State::Dead));
            let plain_none = matches!(self.take.pick, Pick::Next | Pick::Id { .. });
            self.session.rows(Name::ClaimDelete, &[&self.bank, &self.id]).await?;
            if plain_none {
                let none: Vec<&[u8]> = Vec::new();
                let rows = self.session.rows(Name::Residue, &[&self.context.clock, &self.bank, &none]).await?;
                let (free, mark, top) = rows
                    .first()
                    .map_or((false, 0, 0), |row| (row.get::<_, bool>(6), row.get::<_, i64>(3), row.get::<_, i64>(2)));
                // What others have, or what this very transaction buries, which the next try sees.
                let more = matches!(self.take.pick, Pick::Id { .. }) && mark < top;
                if free || more {
                    return Ok((Took::Locked, self.changes, 0));
                }
            }
            let waits = self.take.wait && !hopeless;
            let took = if waits { Took::Waits } else { Took::Done(Taken { held: Vec::new(), other }) };
            return Ok((took, self.changes, 0));
        }
        let items: Vec<i64> = self.held.iter().map(|held| held.row.row).collect();
        let n = i64::from(self.take.n);
        self.session.rows(Name::ClaimSet, &[&self.bank, &self.id, &n, &self.call, &items]).await?;
        Ok((Took::Done(Taken { held: self.held, other: None }), self.changes, token))
    }
}
