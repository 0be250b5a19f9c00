//! Values and rows on their way into PostgreSQL and out of it.
//!
//! A key is stored as bytes that begin with its kind, so that 1, "1" and b"1" are three, and that sort as integers do. What
//! is too long for an index is there by its hash, and whole in a column beside it.

use tokio_postgres::Row as SqlRow;

use crate::core::error::{Error, Result};
use crate::core::model::{Ended, Micros, NEVER, Payload, Row, State, Value};

/// The longest key that an index holds itself.
const SHORT: usize = 512;

/// A key or a claim id as the columns `key, key_long` or `claim, claim_long` hold it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encoded {
    pub index: Vec<u8>,
    pub long: Option<Vec<u8>>,
}

pub fn encode(value: &Value) -> Encoded {
    let mut whole = Vec::new();
    match value {
        Value::Int(number) => {
            whole.push(b'i');
            whole.extend_from_slice(&(number ^ i64::MIN).to_be_bytes());
        }
        Value::Text(text) => {
            whole.push(b't');
            whole.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            whole.push(b'b');
            whole.extend_from_slice(bytes);
        }
    }
    if whole.len() <= SHORT {
        return Encoded { index: whole, long: None };
    }
    let mut index = vec![whole[0].to_ascii_uppercase()];
    index.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, &whole).as_ref());
    Encoded { index, long: Some(whole) }
}

pub fn decode(index: &[u8], long: Option<&[u8]>) -> Value {
    let (kind, rest) = long.unwrap_or(index).split_first().unwrap_or((&b'b', &[]));
    match (kind, <[u8; 8]>::try_from(rest)) {
        (b'i', Ok(number)) => Value::Int(i64::from_be_bytes(number) ^ i64::MIN),
        (b't', _) => Value::Text(String::from_utf8_lossy(rest).into_owned()),
        _ => Value::Bytes(rest.to_vec()),
    }
}

/// A payload's two columns.
pub fn pack(payload: &Payload) -> (Option<Vec<u8>>, i16) {
    match payload {
        Payload::None => (None, 0),
        Payload::Int(number) => (Some(number.to_be_bytes().to_vec()), 1),
        Payload::Text(text) => (Some(text.as_bytes().to_vec()), 2),
        Payload::Bytes(bytes) => (Some(bytes.clone()), 3),
        Payload::Json(text) => (Some(text.as_bytes().to_vec()), 4),
    }
}

pub fn unpack(bytes: Option<&[u8]>, kind: i16) -> Payload {
    let bytes = bytes.unwrap_or_default();
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match kind {
        0 => Payload::None,
        1 => Payload::Int(bytes.try_into().map(i64::from_be_bytes).unwrap_or_default()),
        2 => Payload::Text(text()),
        4 => Payload::Json(text()),
        _ => Payload::Bytes(bytes.to_vec()),
    }
}

/// What remains until a time that may be never.
pub fn remaining(until: Micros, now: Micros) -> Micros {
    if until == NEVER { NEVER } else { until.saturating_sub(now) }
}

/// The columns that `record` reads, in its order.
pub const COLUMNS: [&str; 19] = [
    "id",
    "key",
    "key_long",
    "payload",
    "payload_kind",
    "state",
    "priority",
    "ready_at",
    "claim",
    "claim_long",
    "token",
    "attempts",
    "max_attempts",
    "ended",
    "ended_at",
    "result",
    "result_kind",
    "gone_at",
    "made",
];

/// A row as it is stored.
#[derive(Debug, Clone)]
pub struct Record {
    pub row: Row,
    pub ready_at: Micros,
    pub ended_at: Micros,
    pub gone_at: Option<Micros>,
    /// Which call put it.
    pub made: i64,
}

impl Record {
    /// Whether it is there only for repeats of its last call.
    pub fn is_gone(&self, now: Micros) -> bool {
        self.row.state == State::Hidden || self.gone_at.is_some_and(|at| at <= now)
    }

    /// Nobody holds it any more.
    pub fn let_go(&mut self) {
        self.row.claim = None;
    }
}

/// A row whose columns begin at `first`.
pub fn record(row: &SqlRow, first: usize, now: Micros) -> Result<Record> {
    let at = |column: usize| first + column;
    let read = || -> std::result::Result<Option<Record>, tokio_postgres::Error> {
        let ready_at: Micros = row.try_get(at(7))?;
        let claim: Option<&[u8]> = row.try_get(at(8))?;
        let claim_long: Option<&[u8]> = row.try_get(at(9))?;
        let Some(state) = State::from_number(row.try_get::<_, i16>(at(5))?.into()) else { return Ok(None) };
        let ended = match row.try_get::<_, i16>(at(13))? {
            0 => Ended::No,
            1 => Ended::Done,
            2 => Ended::Released,
            _ => Ended::Rejected,
        };
        let max_attempts: Option<i64> = row.try_get(at(12))?;
        Ok(Some(Record {
            row: Row {
                row: row.try_get(at(0))?,
                key: decode(row.try_get(at(1))?, row.try_get(at(2))?),
                payload: unpack(row.try_get(at(3))?, row.try_get(at(4))?),
                state,
                priority: row.try_get::<_, i16>(at(6))? as u8,
                remaining: remaining(ready_at, now),
                token: row.try_get(at(10))?,
                attempts: row.try_get::<_, i64>(at(11))? as u32,
                max_attempts: max_attempts.map(|most| most as u32),
                claim: claim.map(|claim| decode(claim, claim_long)),
                result: unpack(row.try_get(at(15))?, row.try_get(at(16))?),
                ended,
            },
            ready_at,
            ended_at: row.try_get(at(14))?,
            gone_at: row.try_get(at(17))?,
            made: row.try_get(at(18))?,
        }))
    };
    match read() {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(Error::Corrupt { path: String::new(), why: "an item has an unknown state".into() }),
        Err(error) => Err(Error::Corrupt { path: String::new(), why: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_integers_sort() {
        let long = "x".repeat(4_000);
        let values = [
            Value::Int(i64::MIN),
            Value::Int(-1),
            Value::Int(0),
            Value::Int(i64::MAX),
            Value::Text(String::new()),
            Value::Text("1".into()),
            Value::Bytes(b"1".to_vec()),
            Value::Bytes(long.clone().into_bytes()),
            Value::Text(long),
        ];
        for value in &values {
            let encoded = encode(value);
            assert!(encoded.index.len() <= SHORT);
            assert_eq!(decode(&encoded.index, encoded.long.as_deref()), *value);
        }
        assert!(values[..4].windows(2).all(|two| encode(&two[0]).index < encode(&two[1]).index));
        let mut all: Vec<_> = values.iter().map(|value| encode(value).index).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), values.len());
    }
}
