//! What one transaction is to write: rows that it has locked, and what goes with them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{BoxFuture, FutureExt, join_all};

use super::failure::Trouble;
use super::rows::{Encoded, Record, encode, pack};
use super::session::Session;
use super::statements::Name;
use crate::core::model::{Ended, GRACE, Micros, Payload, State, Value};

#[derive(Default)]
pub struct Changes {
    rows: BTreeMap<i64, Record>,
    /// Claim ids that hold nothing any more.
    forget: BTreeSet<Vec<u8>>,
    remember: Vec<(i64, i16, Payload, Micros)>,
    /// Of free, leased, given, dead, put.
    tally: [i64; 5],
    /// Something may have become claimable.
    pub freed: bool,
    /// An item was given or buried: who waits for it by its key cannot get it.
    pub ended: bool,
}

impl Changes {
    /// Nothing yet, of a transaction that has freed something by its statements.
    pub fn freeing(freed: bool) -> Changes {
        Changes { freed, ..Changes::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.forget.is_empty() && self.remember.is_empty() && self.tally == [0; 5]
    }

    /// Counts a row out of one state and into another. Hidden rows are not counted.
    pub fn shift(&mut self, from: Option<State>, to: Option<State>) {
        for (state, by) in [(from, -1), (to, 1)] {
            if let Some(state) = state.filter(|state| *state != State::Hidden) {
                self.tally[state as usize] += by;
            }
        }
        self.ended |= matches!(to, Some(State::Given | State::Dead | State::Hidden));
    }

    pub fn count_put(&mut self) {
        self.tally[4] += 1;
    }

    pub fn forget(&mut self, claim: Option<&Value>) {
        self.forget.extend(claim.map(|claim| encode(claim).index));
    }

    /// Before a row gets a new token: keeps the answer of the call that settled the old one, for repeats of that call.
    pub fn remember(&mut self, old: &Record, now: Micros) {
        let until = old.ended_at.saturating_add(GRACE);
        if old.row.ended != Ended::No && until > now {
            self.remember.push((old.row.token, old.row.ended as i16, old.row.result.clone(), until));
        }
    }

    /// The row as it is to be.
    pub fn set(&mut self, record: Record) {
        self.rows.insert(record.row.row, record);
    }

    /// Sends all of it, and the end of the transaction, in one journey. Ok: it is committed.
    pub async fn commit(&self, session: &Session, bank: i64, notify: Option<(&str, &str)>) -> Result<(), Trouble> {
        let columns = Columns::of(self.rows.values());
        let forget: Vec<&[u8]> = self.forget.iter().map(Vec::as_slice).collect();
        let remembered = Remembered::of(&self.remember);
        let mut sent: Vec<BoxFuture<'_, Result<(), Trouble>>> = Vec::new();
        if !self.rows.is_empty() {
            sent.push(columns.write(session).boxed());
        }
        if !self.remember.is_empty() {
            sent.push(remembered.write(session, &bank).boxed());
        }
        if !forget.is_empty() {
            sent.push(async { session.rows(Name::Forget, &[&bank, &forget]).await.map(drop) }.boxed());
        }
        if self.tally != [0; 5] {
            let [free, leased, given, dead, put] = &self.tally;
            sent.push(
                async { session.rows(Name::Tally, &[&bank, free, leased, given, dead, put]).await.map(drop) }.boxed(),
            );
        }
        if let Some((channel, word)) = &notify {
            sent.push(async { session.rows(Name::Notify, &[channel, word]).await.map(drop) }.boxed());
        }
        sent.push(session.commit().boxed());
        // A statement that fails makes the server answer COMMIT with a rollback: the first error is what counts.
        join_all(sent).await.into_iter().collect()
    }
}

/// The rows as columns.
#[derive(Default)]
struct Columns {
    id: Vec<i64>,
    state: Vec<i16>,
    ready_at: Vec<i64>,
    claim: Vec<Option<Vec<u8>>>,
    claim_long: Vec<Option<Vec<u8>>>,
    token: Vec<i64>,
    attempts: Vec<i64>,
    ended: Vec<i16>,
    ended_at: Vec<i64>,
    result: Vec<Option<Vec<u8>>>,
    result_kind: Vec<i16>,
    gone_at: Vec<Option<i64>>,
    payload: Vec<Option<Vec<u8>>>,
    payload_kind: Vec<i16>,
    priority: Vec<i16>,
    max_attempts: Vec<Option<i64>>,
    made: Vec<i64>,
}

impl Columns {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Columns {
        let mut columns = Columns::default();
        for record in records {
            let row = &record.row;
            let (claim, claim_long) = match row.claim.as_ref().map(encode) {
                Some(Encoded { index, long }) => (Some(index), long),
                None => (None, None),
            };
            let (result, result_kind) = pack(&row.result);
            let (payload, payload_kind) = pack(&row.payload);
            columns.id.push(row.row);
            columns.state.push(row.state as i16);
            columns.ready_at.push(record.ready_at);
            columns.claim.push(claim);
            columns.claim_long.push(claim_long);
            columns.token.push(row.token);
            columns.attempts.push(row.attempts.into());
            columns.ended.push(row.ended as i16);
            columns.ended_at.push(record.ended_at);
            columns.result.push(result);
            columns.result_kind.push(result_kind);
            columns.gone_at.push(record.gone_at);
            columns.payload.push(payload);
            columns.payload_kind.push(payload_kind);
            columns.priority.push(row.priority.into());
            columns.max_attempts.push(row.max_attempts.map(i64::from));
            columns.made.push(record.made);
        }
        columns
    }

    async fn write(&self, session: &Session) -> Result<(), Trouble> {
        session
            .rows(
                Name::Write,
                &[
                    &self.id,
                    &self.state,
                    &self.ready_at,
                    &self.claim,
                    &self.claim_long,
                    &self.token,
                    &self.attempts,
                    &self.ended,
                    &self.ended_at,
                    &self.result,
                    &self.result_kind,
                    &self.gone_at,
                    &self.payload,
                    &self.payload_kind,
                    &self.priority,
                    &self.max_attempts,
                    &self.made,
                ],
            )
            .await
            .map(drop)
    }
}

#[derive(Default)]
struct Remembered {
    token: Vec<i64>,
    call: Vec<i16>,
    result: Vec<Option<Vec<u8>>>,
    result_kind: Vec<i16>,
    until: Vec<i64>,
}

impl Remembered {
    fn of(answers: &[(i64, i16, Payload, Micros)]) -> Remembered {
        let mut columns = Remembered::default();
        for (token, call, result, until) in answers {
            let (result, kind) = pack(result);
            columns.token.push(*token);
            columns.call.push(*call);
            columns.result.push(result);
            columns.result_kind.push(kind);
            columns.until.push(*until);
        }
        columns
    }

    async fn write(&self, session: &Session, bank: &i64) -> Result<(), Trouble> {
        session
            .rows(Name::Remember, &[bank, &self.token, &self.call, &self.result, &self.result_kind, &self.until])
            .await
            .map(drop)
    }
}
