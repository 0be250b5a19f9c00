//! Claim ids for calls that bring none: 48 bits of milliseconds, then 80 random bits.
//!
//! Ids that grow keep the inserts into the unique index in one place; ids that are random all over cost ten times the
//! write-ahead log.

use super::boottime::{random, wall};
use super::model::Value;

/// A new claim id.
pub fn draw() -> Value {
    let milliseconds = (wall() / 1_000) as u64;
    let mut id = Vec::with_capacity(16);
    id.extend_from_slice(&milliseconds.to_be_bytes()[2..]);
    id.extend_from_slice(&random::<10>());
    Value::Bytes(id)
}
