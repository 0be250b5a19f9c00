//! What PostgreSQL's errors mean.

use tokio_postgres::error::SqlState;

use crate::core::error::Error;

/// What follows from an error of a statement.
#[derive(Debug)]
pub enum Trouble {
    /// The connection is gone, and whether the transaction was committed is not known. Made again, since every call can be.
    Lost(String),
    /// Nothing was done, and the same again may succeed: a lock that another transaction has, a deadlock.
    Again,
    /// Nothing was done, and the same again would fail as well.
    Refused(Error),
}

fn with_causes(error: &tokio_postgres::Error) -> String {
    let mut text = match error.as_db_error() {
        Some(found) => format!("{} (SQLSTATE {})", found.message(), found.code().code()),
        None => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        let said = found.to_string();
        if error.as_db_error().is_none() && !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = found.source();
    }
    text
}

/// One of PostgreSQL's errors as one of ours.
pub fn explain(error: &tokio_postgres::Error, place: &str) -> Error {
    let path = place.to_owned();
    let why = with_causes(error);
    let Some(code) = error.code() else { return Error::Unreachable { path, why } };
    let class = &code.code()[..2];
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        let why = format!("{why}: the server is a standby, or the role or the database is set to read only");
        return Error::ReadOnly { path, why };
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Error::ReadOnly { path, why };
    }
    if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME {
        return Error::Moved { path };
    }
    if *code == SqlState::DISK_FULL {
        return Error::Full { path };
    }
    if matches!(class, "XX" | "58") && matches!(code.code(), "XX001" | "XX002") {
        return Error::Corrupt { path, why };
    }
    // Connections, shutdown, wrong password or database, too many connections.
    if matches!(class, "08" | "28" | "3D") || matches!(code.code(), "57P01" | "57P02" | "57P03" | "53300") {
        return Error::Unreachable { path, why };
    }
    Error::Refused { path, why }
}

/// What follows from it.
pub fn judge(error: &tokio_postgres::Error, place: &str) -> Trouble {
    let Some(code) = error.code() else { return Trouble::Lost(with_causes(error)) };
    let code = code.code();
    match code {
        // A lock that was not had in time, a deadlock, a snapshot too old; a plan that a change of the schema made void.
        "55P03" | "40P01" | "40001" | "0A000" => Trouble::Again,
        // The statement was not there: a connection pooler gave this transaction another connection.
        "26000" | "42P05" => Trouble::Again,
        "57P01" | "57P02" | "57P03" | "25P03" | "57P05" => Trouble::Lost(with_causes(error)),
        _ if code.starts_with("08") => Trouble::Lost(with_causes(error)),
        _ => Trouble::Refused(explain(error, place)),
    }
}
