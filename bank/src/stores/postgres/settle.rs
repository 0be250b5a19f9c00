//! Finishing calls: lock the rows, decide, write them back.

use std::collections::HashMap;

use futures_util::future::join5;

use super::changes::Changes;
use super::failure::Trouble;
use super::rows::{Record, encode, record, remaining, unpack};
use super::session::Session;
use super::statements::Name;
use super::take::{Context, Head, head};
use crate::core::error::{Error, Result};
use crate::core::model::{Call, Ended, Finish, GRACE, NEVER, Payload, Settle, Settled, State, Value, finish};

/// The answers, in order; None for those whose row another transaction has.
pub type Answers = Vec<Option<Result<Settled>>>;

/// Answers of earlier calls, by token and kind of call.
type Kept = HashMap<(i64, i16), Payload>;

struct Batch {
    head: Head,
    rows: HashMap<Value, Record>,
    kept: Kept,
    changes: Changes,
}

/// Carries out calls in one transaction. Rows that are locked by others are left out, and nothing waits for them.
pub async fn settle(
    session: &Session,
    context: &Context,
    bank: i64,
    settles: &[&Settle],
) -> std::result::Result<(Answers, Changes), Trouble> {
    let mut keys: Vec<Vec<u8>> = settles.iter().map(|settle| encode(&settle.key).index).collect();
    keys.sort();
    keys.dedup();
    let mut tokens: Vec<i64> = settles.iter().map(|settle| settle.token).collect();
    tokens.sort_unstable();
    tokens.dedup();
    // Looked at before they are locked: what was there then and cannot be locked now is another transaction's.
    let (begun, head, seen, locked, kept) = join5(
        session.begin(),
        head(session, context, bank),
        session.rows(Name::KeysPlain, &[&bank, &keys]),
        session.rows(Name::KeysLock, &[&bank, &keys]),
        session.rows(Name::Settled, &[&bank, &tokens]),
    )
    .await;
    begun?;
    let head = head?;
    let now = head.now;
    let fail = |error: Error| Trouble::Refused(context.at(error));
    let mut rows = HashMap::new();
    for row in &locked? {
        let found = record(row, 0, now).map_err(fail)?;
        rows.insert(found.row.key.clone(), found);
    }
    let mut others = Vec::new();
    for row in &seen? {
        let found = record(row, 0, now).map_err(fail)?;
        if !rows.contains_key(&found.row.key) {
            others.push(found.row.key);
        }
    }
    let kept = kept?
        .iter()
        .filter(|row| row.get::<_, i64>(4) > now)
        .map(|row| ((row.get(0), row.get(1)), unpack(row.get(2), row.get(3))))
        .collect();
    let mut batch = Batch { head, rows, kept, changes: Changes::default() };
    let answers = settles.iter().map(|settle| (!others.contains(&settle.key)).then(|| batch.settle(settle))).collect();
    Ok((answers, batch.changes))
}

impl Batch {
    /// One finishing call, after those before it.
    fn settle(&mut self, settle: &Settle) -> Result<Settled> {
        let answer = |yes: bool| Ok(Settled { yes, remaining: 0 });
        let Some(record) = self.rows.get(&settle.key).cloned() else {
            return self.settle_old(settle, None).and_then(answer);
        };
        if record.row.token != settle.token && !(settle.force && record.row.state == State::Leased) {
            return self.settle_old(settle, Some(&record)).and_then(answer);
        }
        match finish(&settle.call, record.row.state, record.row.ended, &record.row.result) {
            Finish::Answer(yes) => answer(yes),
            Finish::Stale => Err(stale(settle, Some(&record))),
            Finish::AlreadySettled => {
                Err(Error::AlreadySettled { key: settle.key.clone(), result: record.row.result.clone() })
            }
            Finish::Apply => Ok(self.apply(settle, record)),
        }
    }

    /// The token is not the row's: the answer that this very call had, if it is still known.
    fn settle_old(&self, settle: &Settle, record: Option<&Record>) -> Result<bool> {
        let known = self.kept.get(&(settle.token, settle.call.number() as i16));
        match (&settle.call, known) {
            (Call::Done { result, .. }, Some(stored)) if result != stored => {
                Err(Error::AlreadySettled { key: settle.key.clone(), result: stored.clone() })
            }
            (_, Some(_)) => Ok(true),
            (Call::Release { .. } | Call::Reject { .. }, None) => Ok(false),
            _ => Err(stale(settle, record)),
        }
    }

    fn apply(&mut self, settle: &Settle, mut record: Record) -> Settled {
        let now = self.head.now;
        let after = |span: i64| if span == NEVER { NEVER } else { now.saturating_add(span) };
        let mut answer = Settled { yes: true, remaining: 0 };
        match &settle.call {
            Call::Extend { ttl } => {
                record.ready_at = record.ready_at.max(after(*ttl));
                answer.remaining = remaining(record.ready_at, now);
            }
            Call::Done { result, keep } => {
                (record.row.state, record.gone_at) = match *keep {
                    NEVER => (State::Given, None),
                    0 => (State::Hidden, Some(after(GRACE))),
                    span => (State::Given, Some(after(span))),
                };
                record.ready_at = 0;
                record.row.ended = Ended::Done;
                record.ended_at = now;
                record.row.result = result.clone();
                if record.row.state == State::Hidden {
                    self.changes.forget(record.row.claim.as_ref());
                    record.let_go();
                }
                self.changes.shift(Some(State::Leased), Some(record.row.state));
            }
            Call::Release { delay } => self.free(&mut record, after(*delay), Ended::Released, &Payload::None),
            Call::Reject { reason, delay } => self.free(&mut record, after(*delay), Ended::Rejected, reason),
        }
        self.changes.set(record.clone());
        self.rows.insert(settle.key.clone(), record);
        answer
    }

    /// Gives a leased row back, or buries it. A release takes its attempt back; a reject does not.
    fn free(&mut self, record: &mut Record, ready_at: i64, how: Ended, reason: &Payload) {
        let used_up = how == Ended::Rejected && record.row.max_attempts.is_some_and(|most| record.row.attempts >= most);
        let state = if self.head.retires(&record.row.key) || used_up { State::Dead } else { State::Free };
        if how == Ended::Released {
            record.row.attempts = record.row.attempts.saturating_sub(1);
        }
        self.changes.forget(record.row.claim.as_ref());
        record.let_go();
        record.row.state = state;
        record.ready_at = ready_at;
        record.row.ended = how;
        record.ended_at = self.head.now;
        record.row.result = reason.clone();
        self.changes.shift(Some(State::Leased), Some(state));
        self.changes.freed = true;
    }
}

fn stale(settle: &Settle, record: Option<&Record>) -> Error {
    let (state, now) = record.map_or(("gone", 0), |record| (record.row.state.name(), record.row.token));
    Error::Stale { key: settle.key.clone(), token: settle.token, state, now }
}
