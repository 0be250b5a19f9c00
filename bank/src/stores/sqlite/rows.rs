//! Values and rows on their way into SQLite and out of it.

use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Row as SqlRow, ToSql};

use crate::core::model::{Ended, NEVER, Payload, Row, State, Value};

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Int(n) => ValueRef::Integer(*n),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A payload's two columns.
pub fn kind(payload: &Payload) -> i64 {
    match payload {
        Payload::None => 0,
        Payload::Int(_) => 1,
        Payload::Text(_) => 2,
        Payload::Bytes(_) => 3,
        Payload::Json(_) => 4,
    }
}

impl ToSql for Payload {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Payload::None => ToSqlOutput::Owned(Sql::Null),
            Payload::Int(n) => ToSqlOutput::Borrowed(ValueRef::Integer(*n)),
            Payload::Text(text) | Payload::Json(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Payload::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

pub fn value(reference: ValueRef<'_>) -> Value {
    match reference {
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // No other program should have put these here; shown rather than hidden.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Null => Value::Text(String::new()),
    }
}

pub fn payload(reference: ValueRef<'_>, kind: i64) -> Payload {
    match (value(reference), kind) {
        (_, 0) => Payload::None,
        (Value::Int(n), _) => Payload::Int(n),
        (Value::Text(text), 4) => Payload::Json(text),
        (Value::Text(text), _) => Payload::Text(text),
        (Value::Bytes(bytes), _) => Payload::Bytes(bytes),
    }
}

/// The columns that `record` reads, in its order.
pub const COLUMNS: &str = "id, key, payload, payload_kind, state, priority, ready_at, claim, claim_i, claim_n, owner, \
                           token, attempts, max_attempts, ended, ended_at, result, result_kind, gone_at";

/// A row as it is stored.
#[derive(Debug, Clone)]
pub struct Record {
    pub row: Row,
    pub ready_at: i64,
    pub claim_n: i64,
    pub owner: Option<i64>,
    pub ended_at: i64,
    pub gone_at: Option<i64>,
}

/// What remains until a time that may be never.
pub fn remaining(until: i64, now: i64) -> i64 {
    if until == NEVER { NEVER } else { until.saturating_sub(now) }
}

pub fn record(row: &SqlRow<'_>, now: i64) -> rusqlite::Result<Record> {
    let bad = |column: usize| rusqlite::Error::IntegralValueOutOfRange(column, 0);
    let ready_at: i64 = row.get(6)?;
    let claim = match row.get_ref(7)? {
        ValueRef::Null => None,
        other => Some(value(other)),
    };
    let ended = match row.get::<_, i64>(14)? {
        0 => Ended::No,
        1 => Ended::Done,
        2 => Ended::Released,
        _ => Ended::Rejected,
    };
    Ok(Record {
        row: Row {
            row: row.get(0)?,
            key: value(row.get_ref(1)?),
            payload: payload(row.get_ref(2)?, row.get(3)?),
            state: State::from_number(row.get(4)?).ok_or_else(|| bad(4))?,
            priority: row.get(5)?,
            remaining: remaining(ready_at, now),
            claim,
            token: row.get(11)?,
            attempts: row.get(12)?,
            max_attempts: row.get(13)?,
            ended,
            result: payload(row.get_ref(16)?, row.get(17)?),
        },
        ready_at,
        claim_n: row.get::<_, Option<i64>>(9)?.unwrap_or(0),
        owner: row.get(10)?,
        ended_at: row.get(15)?,
        gone_at: row.get(18)?,
    })
}
