//! Idempotency keys: the first runner of a key runs, the others get its answer.

use super::claim_id;
use super::model::{Micros, New, Payload, Pick, State, Take, Taken, Term, Value};

/// What a runner is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Run, then store the answer under this lease. The second attempt and later ones: the first runner died.
    Run { attempt: u32 },
    /// Another runner is at it; what remains of its lease.
    InProgress { retry_after: Micros },
    /// It was run: the stored answer.
    Replay { answer: Payload },
    /// The key was used for another request.
    Mismatch,
    /// The first runner died; its effect may have happened. The lease that comes with this must be released.
    Interrupted { attempt: u32 },
}

/// The claim: the key is the item's, the claim id is random per runner, the fingerprint of the request is the payload.
pub fn take(key: Value, fingerprint: Payload, ttl: Micros) -> Take {
    let create = New { key: key.clone(), payload: fingerprint, priority: 0, delay: 0, max_attempts: None };
    Take {
        id: claim_id::draw(),
        n: 1,
        term: Term::Lease { ttl, bound: true },
        pick: Pick::Key { key, create: Some(Box::new(create)), same_payload: true },
        wait: false,
    }
}

/// Reads the answer to that claim.
pub fn judge(taken: &Taken, fingerprint: &Payload, rerun: bool) -> Verdict {
    if let Some(held) = taken.held.first() {
        let attempt = held.row.attempts;
        return if attempt > 1 && !rerun { Verdict::Interrupted { attempt } } else { Verdict::Run { attempt } };
    }
    match &taken.other {
        Some(row) if row.payload != *fingerprint => Verdict::Mismatch,
        Some(row) if row.state == State::Given => Verdict::Replay { answer: row.result.clone() },
        Some(row) => Verdict::InProgress { retry_after: row.remaining.max(0) },
        None => Verdict::InProgress { retry_after: 0 },
    }
}
