//! What SQLite's errors mean.

use rusqlite::ErrorCode;

use crate::core::error::Error;

/// Where the database is, for messages.
#[derive(Debug, Clone)]
pub struct Context {
    pub path: String,
}

impl Context {
    pub fn new(path: impl Into<String>) -> Self {
        Context { path: path.into() }
    }

    /// One of SQLite's errors as one of ours.
    pub fn explain(&self, error: &rusqlite::Error) -> Error {
        let path = self.path.clone();
        let why = error.to_string();
        let rusqlite::Error::SqliteFailure(code, _) = error else { return Error::Io { path, why } };
        match code.code {
            ErrorCode::DiskFull => Error::Full { path },
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Error::ReadOnly { path, why },
            ErrorCode::DatabaseCorrupt => Error::Corrupt { path, why },
            ErrorCode::NotADatabase => Error::NotABank { path, why: "it is no SQLite database".into() },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Error::Busy { path, waited_ms: super::BUSY.as_millis() as u64, pid: None }
            }
            ErrorCode::CannotOpen => Error::Io { path, why: format!("cannot be opened ({why})") },
            _ => Error::Io { path, why },
        }
    }
}
