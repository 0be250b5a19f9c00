//! The tables, their versions, and how a file gets from one to the next.

use rusqlite::{Connection, TransactionBehavior};

use super::failure::Context;
use crate::core::error::{Error, Result};

/// `PRAGMA application_id`: "opOL".
pub const APPLICATION: i64 = 0x6f70_4f4c;

/// Each step makes the schema of its number (counted from 1) out of the one before. A step that was released never
/// changes; a new version is a new step.
pub const MIGRATIONS: &[&str] = &[VERSION_1];

const VERSION_1: &str = "
CREATE TABLE meta(
  id INTEGER PRIMARY KEY CHECK (id = 1), side BLOB NOT NULL, boot TEXT NOT NULL, base INTEGER NOT NULL,
  owner INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES (1, x'', '', 0, 0);
CREATE TABLE bank(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL, top INTEGER NOT NULL,
  mark INTEGER NOT NULL, token INTEGER NOT NULL DEFAULT 0, priorities INTEGER NOT NULL DEFAULT 0,
  free INTEGER NOT NULL DEFAULT 0, leased INTEGER NOT NULL DEFAULT 0, given INTEGER NOT NULL DEFAULT 0,
  dead INTEGER NOT NULL DEFAULT 0, put INTEGER NOT NULL DEFAULT 0, now INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE item(
  id INTEGER PRIMARY KEY, bank INTEGER NOT NULL, key ANY NOT NULL, payload ANY, payload_kind INTEGER NOT NULL,
  state INTEGER NOT NULL, priority INTEGER NOT NULL, ready_at INTEGER NOT NULL, claim ANY, claim_i INTEGER,
  claim_n INTEGER, owner INTEGER, token INTEGER NOT NULL, attempts INTEGER NOT NULL, max_attempts INTEGER,
  ended INTEGER NOT NULL, ended_at INTEGER NOT NULL, result ANY, result_kind INTEGER NOT NULL, gone_at INTEGER) STRICT;
CREATE UNIQUE INDEX item_key ON item(bank, key);
CREATE INDEX item_next ON item(bank, priority, ready_at, id) WHERE state < 2;
CREATE UNIQUE INDEX item_claim ON item(bank, claim, claim_i) WHERE claim IS NOT NULL;
CREATE INDEX item_owner ON item(owner) WHERE owner IS NOT NULL;
CREATE INDEX item_gone ON item(gone_at) WHERE gone_at IS NOT NULL;
CREATE TABLE settled(
  id INTEGER PRIMARY KEY, bank INTEGER NOT NULL, token INTEGER NOT NULL, call INTEGER NOT NULL, result ANY,
  result_kind INTEGER NOT NULL, until INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX settled_token ON settled(bank, token, call);
CREATE TABLE owner(number INTEGER PRIMARY KEY, side BLOB NOT NULL, boot TEXT NOT NULL, pid INTEGER NOT NULL) STRICT;
";

/// Brings a file to the newest schema, in one transaction; an empty one is made ours. Refuses what is not ours, and what
/// a later version wrote.
pub fn prepare(connection: &mut Connection, context: &Context, migrations: &[&str]) -> Result<()> {
    let fail = |error: rusqlite::Error| context.explain(&error);
    let number = |connection: &Connection, name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(fail)
    };
    let known = migrations.len() as i64;
    let application = number(connection, "application_id")?;
    let version = number(connection, "user_version")?;
    if application != APPLICATION {
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
        if tables > 0 || application != 0 {
            let why = format!(
                "it is an SQLite database of another program ({tables} tables and indexes, application_id {application})"
            );
            return Err(Error::NotABank { path: context.path.clone(), why });
        }
    }
    if version > known {
        return Err(Error::TooNew { path: context.path.clone(), version, known });
    }
    if application == APPLICATION && version == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    // Looked at again under the lock: another process may have been first.
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    for step in migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(fail)?;
    }
    transaction
        .execute_batch(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {known};"))
        .map_err(fail)?;
    transaction.commit().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_file_is_brought_to_the_newest_schema_in_one_transaction() {
        let context = Context::new("x");
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection, &context, &["CREATE TABLE a(x); INSERT INTO a VALUES (1);"]).unwrap();
        let steps = ["CREATE TABLE a(x);", "ALTER TABLE a ADD COLUMN y DEFAULT 7;", "UPDATE a SET y = y + x;"];
        prepare(&mut connection, &context, &steps).unwrap();
        assert_eq!(version(&connection), 3);
        assert_eq!(connection.query_row("SELECT y FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 8);
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_schema() {
        let context = Context::new("x");
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection, &context, &["CREATE TABLE a(x);"]).unwrap();
        let steps = ["CREATE TABLE a(x);", "ALTER TABLE a ADD COLUMN y;", "this is no SQL"];
        assert!(prepare(&mut connection, &context, &steps).is_err());
        assert_eq!(version(&connection), 1);
        assert!(connection.prepare("SELECT y FROM a").is_err());
    }

    #[test]
    fn a_file_of_a_later_version_is_refused() {
        let context = Context::new("x");
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection, &context, &["CREATE TABLE a(x);", "CREATE TABLE b(x);"]).unwrap();
        let answer = prepare(&mut connection, &context, &["CREATE TABLE a(x);"]);
        assert!(matches!(answer, Err(Error::TooNew { version: 2, known: 1, .. })), "{answer:?}");
    }

    #[test]
    fn the_database_of_another_program_is_refused() {
        let context = Context::new("x");
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs(x)").unwrap();
        assert!(matches!(prepare(&mut connection, &context, MIGRATIONS), Err(Error::NotABank { .. })));
    }
}
