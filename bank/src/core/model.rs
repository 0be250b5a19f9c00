//! Rows, requests, answers, and the rule of the finishing calls.

use std::fmt;

/// A time or a duration, in microseconds.
pub type Micros = i64;

/// The end of a lease without end.
pub const NEVER: Micros = i64::MAX;

/// How long the answers of finished calls are kept for repeats, and hidden items before they are deleted.
pub const GRACE: Micros = 600 * 1_000_000;

/// Priorities are 0 (first) to 9.
pub const PRIORITIES: u8 = 10;

/// The longest key or claim id, in bytes.
pub const MAX_KEY: usize = 4_096;

/// The largest payload or result, in bytes.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// The largest number of rows in one request.
pub const CHUNK: usize = 1_000;

/// A key or a claim id. 1, "1" and b"1" are three.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: String| {
            if text.chars().count() > 80 { text.chars().take(77).collect::<String>() + "..." } else { text }
        };
        match self {
            Value::Int(n) => write!(f, "{n}"),
            Value::Text(text) => write!(f, "{}", short(format!("{text:?}"))),
            Value::Bytes(bytes) => write!(f, "{}", short(format!("b\"{}\"", bytes.escape_ascii()))),
        }
    }
}

/// What an item carries, or what `done` stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Payload {
    #[default]
    None,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// The text of a JSON document.
    Json(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Free = 0,
    Leased = 1,
    Given = 2,
    Dead = 3,
    /// Given and not to be kept: nobody sees it, repeats of its last call are answered for the grace time.
    Hidden = 4,
}

impl State {
    pub fn name(self) -> &'static str {
        ["free", "leased", "given", "dead", "gone"][self as usize]
    }

    pub fn from_number(number: i64) -> Option<State> {
        [State::Free, State::Leased, State::Given, State::Dead, State::Hidden]
            .get(usize::try_from(number).ok()?)
            .copied()
    }
}

/// How a row came to the state in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// Not by a finishing call.
    No = 0,
    Done = 1,
    Released = 2,
    Rejected = 3,
}

/// What kind of bank stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Items that were put.
    Items,
    /// The integers 1 to `top` - 1; a row only for those that were ever given.
    Ids { top: i64 },
    /// The permits 0 to `top` - 1.
    Permits { top: i64 },
}

impl Kind {
    pub fn number(self) -> i64 {
        match self {
            Kind::Items => 0,
            Kind::Ids { .. } => 1,
            Kind::Permits { .. } => 2,
        }
    }

    pub fn name(number: i64) -> &'static str {
        ["items", "ids", "permits"].get(number as usize).unwrap_or(&"something unknown")
    }

    pub fn top(self) -> i64 {
        match self {
            Kind::Items => 0,
            Kind::Ids { top } | Kind::Permits { top } => top,
        }
    }
}

/// One item to put.
#[derive(Debug, Clone, PartialEq)]
pub struct New {
    pub key: Value,
    pub payload: Payload,
    pub priority: u8,
    pub delay: Micros,
    pub max_attempts: Option<u32>,
}

/// A chunk: all of its new items are stored, or none.
#[derive(Debug, Clone)]
pub struct Put {
    pub items: Vec<New>,
    /// Keys that are there with another payload: keep what is there, instead of an error.
    pub keep: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Pick {
    /// The next that is free: by priority, then by the time since when it is, then by age.
    Next,
    /// This very item; made first if it is not there and `create` is given.
    /// With `same_payload` an item with another payload than `create`'s is not taken.
    Key { key: Value, create: Option<Box<New>>, same_payload: bool },
    /// A freed id, else one that was never given; the other way round with `fresh_first`.
    Id { fresh_first: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// For good.
    Given,
    /// For `ttl` (`NEVER`: without end). A bound lease ends with its process.
    Lease { ttl: Micros, bound: bool },
}

/// A claim or a lease.
#[derive(Debug, Clone)]
pub struct Take {
    pub id: Value,
    pub n: u32,
    pub term: Term,
    pub pick: Pick,
    /// Nothing is free: stay in the store until something is, or until `cancel`.
    pub wait: bool,
}

/// A row as a reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub row: i64,
    pub key: Value,
    pub payload: Payload,
    pub state: State,
    pub priority: u8,
    /// Until it may be claimed: a delay, or what remains of the lease; negative if that is over; `NEVER`.
    pub remaining: Micros,
    pub token: i64,
    pub attempts: u32,
    pub max_attempts: Option<u32>,
    pub claim: Option<Value>,
    pub result: Payload,
    pub ended: Ended,
}

/// A row that the claim id holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    pub row: Row,
    /// Taken by this very call, not by an earlier one of the same id.
    pub new: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Taken {
    pub held: Vec<Held>,
    /// With `Pick::Key`: the item as it stands, if it could not be taken.
    pub other: Option<Row>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Extend {
        ttl: Micros,
    },
    Release {
        delay: Micros,
    },
    /// `keep`: `NEVER` for ever, 0 not at all, else for so long.
    Done {
        result: Payload,
        keep: Micros,
    },
    Reject {
        reason: Payload,
        delay: Micros,
    },
}

impl Call {
    pub fn number(&self) -> i64 {
        match self {
            Call::Extend { .. } => 0,
            Call::Done { .. } => 1,
            Call::Release { .. } => 2,
            Call::Reject { .. } => 3,
        }
    }
}

/// A finishing call.
#[derive(Debug, Clone, PartialEq)]
pub struct Settle {
    pub key: Value,
    pub token: i64,
    pub call: Call,
    /// Whatever the token is: for tools.
    pub force: bool,
}

/// The answer to a finishing call: whether it holds, and for `extend` what remains of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub yes: bool,
    pub remaining: Micros,
}

/// What a finishing call makes of a row whose token is the caller's.
#[derive(Debug, PartialEq, Eq)]
pub enum Finish {
    /// Carry it out; the answer is True.
    Apply,
    /// Nothing to do; the answer.
    Answer(bool),
    Stale,
    AlreadySettled,
}

/// The table of the finishing calls, for a token that is the row's. Token equality decides, not the clock: a lease that
/// ran out and that nobody took is still the caller's.
pub fn finish(call: &Call, state: State, ended: Ended, stored: &Payload) -> Finish {
    use Finish::{AlreadySettled, Answer, Apply, Stale};
    match (call, state) {
        (_, State::Leased) => Apply,
        (Call::Done { result, .. }, State::Given | State::Hidden) => {
            if ended == Ended::Done && stored == result {
                Answer(true)
            } else {
                AlreadySettled
            }
        }
        (Call::Done { .. } | Call::Extend { .. }, _) => Stale,
        (Call::Release { .. } | Call::Reject { .. }, State::Free) => Answer(true),
        (Call::Reject { .. }, State::Dead) => Answer(true),
        (Call::Release { .. } | Call::Reject { .. }, _) => Answer(false),
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    Get(Value),
    /// The rows that a claim id holds or was given.
    Of(Value),
    Counts,
    /// The rows after `after`, in the order in which they were put.
    Page {
        state: Option<State>,
        after: i64,
        limit: u32,
    },
    /// Counts again what the counters say, and what the invariants say.
    Verify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub free: i64,
    pub leased: i64,
    pub given: i64,
    pub dead: i64,
    /// Ever put, those that are gone since included.
    pub put: i64,
    /// The last token.
    pub token: i64,
    pub top: i64,
    pub mark: i64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    pub rows: Vec<Row>,
    pub counts: Counts,
    /// What `Verify` has to say; nothing if all is well.
    pub faults: Vec<String>,
}

/// What opening a bank answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankInfo {
    pub number: i64,
    pub top: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutDone {
    /// How many were new.
    pub new: u64,
}

/// The margin by which a holder stops before the store lets go.
pub fn margin(ttl: Micros) -> Micros {
    (ttl / 20).max(50_000).min(ttl / 2)
}
