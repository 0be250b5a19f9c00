//! Everything that can go wrong, without a word about how it is shown.

use super::model::{Payload, Value};

/// The result of every call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call was refused or failed. The bank is unchanged by it, except where `Io` says that this is not known.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The bank was closed in this process.
    Closed,
    /// An argument that cannot be.
    Invalid(String),
    /// `done` or `extend` with a token that is not the row's any more, or on a row that is not leased.
    Stale { key: Value, token: i64, state: &'static str, now: i64 },
    /// `done` of an item that was settled otherwise; the answer that counts is the stored one.
    AlreadySettled { key: Value, result: Payload },
    /// The claim id was used for something else.
    ClaimMismatch { id: Value, why: String },
    /// Keys that are there with another payload; at most ten of them.
    KeyConflict { keys: Vec<Value>, more: bool },
    /// No item has this key.
    UnknownKey(Value),
    /// A bank of that name is there, of another kind.
    KindMismatch { name: String, is: &'static str, asked: &'static str },
    /// A range or a number of permits other than the one that the bank has.
    SizeMismatch { name: String, is: i64, asked: i64 },
    /// Not one of our files.
    NotABank { path: String, why: String },
    /// Written by a later version.
    TooNew { path: String, version: i64, known: i64 },
    /// The file was moved, deleted or replaced while it was open.
    Moved { path: String },
    /// The file is older than what this process has seen of it.
    Rewound { name: String, seen: i64, now: i64 },
    /// Nobody got to write for so long: who holds the lock, as far as is known.
    Busy { path: String, waited_ms: u64, pid: Option<u32> },
    /// The disk is full.
    Full { path: String },
    /// The file cannot be written.
    ReadOnly { path: String, why: String },
    /// The server of a database does not answer, or lets nobody in. Nothing was done.
    Unreachable { path: String, why: String },
    /// The database refused a statement. Nothing was done.
    Refused { path: String, why: String },
    /// Damaged.
    Corrupt { path: String, why: String },
    /// The operating system or the database said no. After a commit that failed so, `why` says that the call may have
    /// had its effect (see `unsure`).
    Io { path: String, why: String },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Closed => write!(f, "it is closed"),
            Error::Invalid(why) => write!(f, "{why}"),
            Error::Stale { key, token, state, now } => write!(
                f,
                "item {key} is {state} now, and token {token} does not hold it{}: the lease ran out and the item went \
                 on, or it was given back. Drop what was done under this token",
                if now == token { String::new() } else { format!(" (its token is {now})") }
            ),
            Error::AlreadySettled { key, result } => {
                write!(f, "item {key} was given before, with {result:?} as its result; the new result was not stored")
            }
            Error::ClaimMismatch { id, why } => write!(f, "claim id {id}: {why}"),
            Error::KeyConflict { keys, more } => {
                let shown: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let and = if *more { " and more" } else { "" };
                write!(
                    f,
                    "these keys are there with another payload: {}{and}. Nothing of this chunk was stored; \
                     on_conflict=\"keep\" keeps the stored ones",
                    shown.join(", ")
                )
            }
            Error::UnknownKey(key) => write!(f, "no item has the key {key}"),
            Error::KindMismatch { name, is, asked } => {
                write!(f, "bank {name:?} holds {is}, and was opened as one of {asked}: choose another name")
            }
            Error::SizeMismatch { name, is, asked } => {
                write!(f, "bank {name:?} has the size {is}, not {asked}: open it with {is}, or resize it")
            }
            Error::NotABank { path, why } => write!(f, "{path} is not a bank: {why}"),
            Error::TooNew { path, version, known } => write!(
                f,
                "{path} was written by a later version of opool-bank (schema {version}; this one knows up to {known})"
            ),
            Error::Moved { path } => {
                write!(f, "{path} was moved, deleted or replaced while it was open; nothing was written. Open it again")
            }
            Error::Rewound { name, seen, now } => write!(
                f,
                "bank {name:?} is older than what this process has seen of it (token {now} after {seen}): it was \
                 restored from a copy, and what was given since could be given again. \
                 accept_rewind() goes on from here"
            ),
            Error::Busy { path, waited_ms, pid } => {
                write!(f, "{path}: another process has had the write lock for {:.1} s", *waited_ms as f64 / 1e3)?;
                match pid {
                    Some(pid) => write!(f, " (process {pid}); nothing was done. Is it stopped?"),
                    None => write!(f, "; nothing was done"),
                }
            }
            Error::Full { path } => write!(f, "{path}: no space left on the disk; nothing was done"),
            Error::ReadOnly { path, why } => write!(f, "{path} cannot be written ({why})"),
            Error::Unreachable { path, why } => write!(f, "{path} cannot be reached ({why})"),
            Error::Refused { path, why } => write!(f, "{path} refused the call ({why}); nothing was done"),
            Error::Corrupt { path, why } => write!(f, "{path} is damaged ({why})"),
            Error::Io { path, why } => write!(f, "{path}: {why}"),
        }
    }
}

impl Error {
    /// What a commit failed with: it may have happened.
    pub fn unsure(self) -> Error {
        match self {
            Error::Io { path, why } => {
                let why =
                    format!("{why}. Whether the call had an effect is not known: repeat it with the same claim id");
                Error::Io { path, why }
            }
            other => other,
        }
    }
}

impl std::error::Error for Error {}
