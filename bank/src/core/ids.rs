//! Integers, shared by processes: the calls of an id manager over a bank of ids.

use std::collections::HashMap;

use crate::core::sync::Mutex;

use super::bank::Bank;
use super::claim_id;
use super::model::{Call, NEVER, Pick, Settle, Take, Taken, Term, Value};

/// The ids that this process got, with their tokens: only who holds an id can free it.
#[derive(Default)]
pub struct HeldIds(Mutex<HashMap<i64, i64>>);

impl HeldIds {
    /// A lease without end, of one id. Freed ones first, in the order in which they were freed, else a fresh one.
    pub fn take(fresh_first: bool, key: Option<i64>) -> Take {
        let pick = match key {
            Some(key) => Pick::Key { key: Value::Int(key), create: None, same_payload: false },
            None => Pick::Id { fresh_first },
        };
        Take { id: claim_id::draw(), n: 1, term: Term::Lease { ttl: NEVER, bound: false }, pick, wait: false }
    }

    /// Remembers what came; None if nothing did.
    pub fn note(&self, taken: &Taken) -> Option<i64> {
        let row = &taken.held.first()?.row;
        let Value::Int(id) = row.key else { return None };
        self.0.lock().insert(id, row.token);
        Some(id)
    }

    /// The finishing call that frees an id. None if this process does not hold it and does not force it.
    pub fn release(&self, id: i64, force: bool) -> Option<Settle> {
        let token = self.0.lock().get(&id).copied();
        if token.is_none() && !force {
            return None;
        }
        let call = Call::Release { delay: 0 };
        Some(Settle { key: Value::Int(id), token: token.unwrap_or(-1), call, force })
    }

    /// The id was freed under this token.
    pub fn forget(&self, id: i64, token: i64) {
        let mut held = self.0.lock();
        if held.get(&id) == Some(&token) || token < 0 {
            held.remove(&id);
        }
    }

    /// The ids that this process holds.
    pub fn all(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.0.lock().keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

/// Whether a bank of ids could hold this one.
pub fn in_range(bank: &Bank, id: i64) -> bool {
    (1..bank.kind.top()).contains(&id)
}
