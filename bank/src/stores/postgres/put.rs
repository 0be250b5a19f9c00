//! Putting: a chunk is stored as a whole, or not at all.

use std::collections::HashMap;

use futures_util::future::join4;

use super::changes::Changes;
use super::failure::Trouble;
use super::rows::{Record, encode, pack, record};
use super::session::{Session, one};
use super::statements::Name;
use super::take::Context;
use crate::core::error::Error;
use crate::core::model::{Ended, Micros, New, Payload, Put, PutDone, State, Value};

/// Stores what is new of some items; how many were.
pub async fn store(
    session: &Session,
    clock: impl Into<Option<Micros>>,
    bank: i64,
    items: &[New],
    call: i64,
) -> Result<i64, Trouble> {
    let columns = Columns::of(items);
    let clock = clock.into();
    let rows = session
        .rows(
            Name::Put,
            &[
                &clock,
                &bank,
                &columns.key,
                &columns.key_long,
                &columns.payload,
                &columns.payload_kind,
                &columns.priority,
                &columns.delay,
                &columns.max_attempts,
                &call,
            ],
        )
        .await?;
    Ok(one(&rows, 0).unwrap_or(0))
}

#[derive(Default)]
pub struct Columns {
    pub key: Vec<Vec<u8>>,
    pub key_long: Vec<Option<Vec<u8>>>,
    pub payload: Vec<Option<Vec<u8>>>,
    pub payload_kind: Vec<i16>,
    pub priority: Vec<i16>,
    pub delay: Vec<i64>,
    pub max_attempts: Vec<Option<i64>>,
}

impl Columns {
    pub fn of(items: &[New]) -> Columns {
        let mut columns = Columns::default();
        for item in items {
            let key = encode(&item.key);
            let (payload, kind) = pack(&item.payload);
            columns.key.push(key.index);
            columns.key_long.push(key.long);
            columns.payload.push(payload);
            columns.payload_kind.push(kind);
            columns.priority.push(item.priority.into());
            columns.delay.push(item.delay);
            columns.max_attempts.push(item.max_attempts.map(i64::from));
        }
        columns
    }
}

/// A key that is hidden, or given until a time that is over, is as good as not there: its row, which is locked, starts anew.
/// The token goes to 0, so that calls with the old one are answered by what is remembered.
pub fn revive(changes: &mut Changes, mut old: Record, new: &New, now: Micros, call: i64) -> Record {
    changes.remember(&old, now);
    changes.forget(old.row.claim.as_ref());
    changes.shift(Some(old.row.state), Some(State::Free));
    changes.count_put();
    changes.freed = true;
    old.let_go();
    old.row.payload = new.payload.clone();
    old.row.state = State::Free;
    old.row.priority = new.priority;
    old.ready_at = now.saturating_add(new.delay);
    old.row.token = 0;
    old.row.attempts = 0;
    old.row.max_attempts = new.max_attempts;
    old.row.ended = Ended::No;
    old.ended_at = 0;
    old.row.result = Payload::None;
    old.gone_at = None;
    old.made = call;
    changes.set(old.clone());
    old
}

/// The keys whose stored payload is another one, in the order of the items.
fn conflicts(items: &[New], before: &HashMap<Value, Record>, now: Micros) -> Vec<Value> {
    let mut first: HashMap<&Value, &Payload> = HashMap::new();
    let mut conflicts = Vec::new();
    for item in items {
        let stored = match before.get(&item.key) {
            Some(record) if !record.is_gone(now) => &record.row.payload,
            // Not there before: the first of the chunk stands for it.
            _ => first.entry(&item.key).or_insert(&item.payload),
        };
        if *stored != item.payload {
            conflicts.push(item.key.clone());
        }
    }
    conflicts
}

/// A chunk, in a transaction that `changes.commit` ends. None: it needs a row that another transaction has.
pub async fn put(
    session: &Session,
    context: &Context,
    bank: i64,
    put: &Put,
    call: i64,
) -> Result<Option<(PutDone, Changes)>, Trouble> {
    let mut keys: Vec<Vec<u8>> = put.items.iter().map(|item| encode(&item.key).index).collect();
    keys.sort();
    keys.dedup();
    let (begun, head, stored, before) = join4(
        session.begin(),
        super::take::head(session, context, bank),
        store(session, context.clock, bank, &put.items, call),
        session.rows(Name::PutBefore, &[&context.clock, &bank, &keys, &call]),
    )
    .await;
    begun?;
    let head = head?;
    let stored = stored?;
    let mut changes = Changes::freeing(stored > 0);
    let mut before_by_key = HashMap::new();
    let mut gone = Vec::new();
    for row in &before? {
        let found = record(row, 1, head.now).map_err(|error| Trouble::Refused(context.at(error)))?;
        if found.is_gone(head.now) {
            gone.push(encode(&found.row.key).index);
        }
        before_by_key.insert(found.row.key.clone(), found);
    }
    if !put.keep {
        let mut keys = conflicts(&put.items, &before_by_key, head.now);
        if !keys.is_empty() {
            let more = keys.len() > 10;
            keys.truncate(10);
            return Err(Trouble::Refused(Error::KeyConflict { keys, more }));
        }
    }
    // All others of the chunk are there by this call: by this try, or by one whose answer was lost.
    let distinct = keys.len();
    let mut new = distinct - before_by_key.len();
    if !gone.is_empty() {
        let rows = session.rows(Name::KeysLock, &[&bank, &gone]).await?;
        if rows.len() < gone.len() {
            return Ok(None);
        }
        let by_key: HashMap<&Value, &New> = put.items.iter().rev().map(|item| (&item.key, item)).collect();
        for row in &rows {
            let old = record(row, 0, head.now).map_err(|error| Trouble::Refused(context.at(error)))?;
            if !old.is_gone(head.now) {
                // Another transaction was faster.
                return Ok(None);
            }
            if let Some(item) = by_key.get(&old.row.key) {
                revive(&mut changes, old.clone(), item, head.now, call);
                new += 1;
            }
        }
    }
    Ok(Some((PutDone { new: new as u64 }, changes)))
}
