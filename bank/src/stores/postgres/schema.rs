//! The tables, their versions, and how a database gets from one to the next.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::address::Address;
use super::failure::explain;
use crate::core::boottime;
use crate::core::error::{Error, Result};

/// Each step makes the schema of its number (counted from 1) out of the one before; `{s}` is the schema's name. A step that
/// was released never changes; a new version is a new step.
pub const MIGRATIONS: &[&str] = &[VERSION_1];

const VERSION_1: &str = "
CREATE SEQUENCE {s}.token;
CREATE SEQUENCE {s}.item_id;
CREATE TABLE {s}.bank(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, kind smallint NOT NULL,
  top bigint NOT NULL, mark bigint NOT NULL);
CREATE TABLE {s}.item(
  id bigint PRIMARY KEY, bank bigint NOT NULL, ready_at bigint NOT NULL, token bigint NOT NULL DEFAULT 0,
  made bigint NOT NULL, attempts bigint NOT NULL DEFAULT 0, max_attempts bigint, ended_at bigint NOT NULL DEFAULT 0,
  gone_at bigint, state smallint NOT NULL DEFAULT 0, priority smallint NOT NULL, ended smallint NOT NULL DEFAULT 0,
  payload_kind smallint NOT NULL, result_kind smallint NOT NULL DEFAULT 0, key bytea NOT NULL, key_long bytea,
  claim bytea, claim_long bytea, payload bytea, result bytea)
  WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX item_key ON {s}.item(bank, key);
CREATE INDEX item_next ON {s}.item(bank, priority, ready_at, id) WHERE state < 2;
CREATE INDEX item_gone ON {s}.item(gone_at) WHERE gone_at IS NOT NULL;
CREATE TABLE {s}.claim(
  bank bigint NOT NULL, id bytea NOT NULL, n bigint NOT NULL, call bigint NOT NULL, items bigint[] NOT NULL,
  PRIMARY KEY (bank, id)) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE {s}.settled(
  bank bigint NOT NULL, token bigint NOT NULL, call smallint NOT NULL, result bytea, result_kind smallint NOT NULL,
  until bigint NOT NULL, PRIMARY KEY (bank, token, call));
CREATE INDEX settled_until ON {s}.settled(until);
CREATE TABLE {s}.tally(
  bank bigint NOT NULL, free bigint NOT NULL, leased bigint NOT NULL, given bigint NOT NULL, dead bigint NOT NULL,
  put bigint NOT NULL) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
";

/// The advisory lock under which a schema is made: one for each name.
fn lock_number(schema: &str) -> i64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("opool-bank {schema}").as_bytes());
    digest.as_ref().iter().take(8).fold(0_i64, |number, byte| number << 8 | i64::from(*byte))
}

/// What tells this schema from one of the same name in another database.
pub async fn cookie(client: &Client, address: &Address) -> Result<Vec<u8>> {
    let asked = client.query_typed(&format!("SELECT cookie FROM {}.meta", address.quoted_schema()), &[]).await;
    let rows = asked.map_err(|error| explain(&error, &address.place))?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

/// The version of the schema that is there; 0 if there is none.
async fn version(client: &Client, address: &Address) -> Result<i64> {
    let fail = |error| explain(&error, &address.place);
    let schema = address.quoted_schema();
    match client.simple_query(&format!("SELECT version FROM {schema}.meta")).await {
        Ok(messages) => {
            let version = messages.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                _ => None,
            });
            version.ok_or_else(|| Error::NotABank {
                path: address.place.clone(),
                why: format!("the table {schema}.meta says no version"),
            })
        }
        Err(error) if matches!(error.code(), Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME) => {
            Ok(0)
        }
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => Err(Error::NotABank {
            path: address.place.clone(),
            why: format!("the schema {schema} belongs to another program; give another one (?schema=NAME)"),
        }),
        Err(error) => Err(fail(error)),
    }
}

/// Brings the schema to the newest version, in one transaction under an advisory lock. A role that may not make tables can
/// use a schema that is up to date.
pub async fn prepare(client: &Client, address: &Address, migrations: &[&str]) -> Result<()> {
    let known = migrations.len() as i64;
    let found = version(client, address).await?;
    if found > known {
        return Err(Error::TooNew { path: address.place.clone(), version: found, known });
    }
    if found == known {
        return Ok(());
    }
    let made = migrate(client, address, migrations).await;
    if let Err(error) = made {
        // What failed may have ended the transaction itself.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(error);
    }
    Ok(())
}

async fn migrate(client: &Client, address: &Address, migrations: &[&str]) -> Result<()> {
    let schema = address.quoted_schema();
    let denied = |error: tokio_postgres::Error| match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => Error::ReadOnly {
            path: address.place.clone(),
            why: format!(
                "the schema {schema} is missing or of an older version, and this role may not make it: {}. Open the \
                 bank once as a role that may create schemas in this database, then grant this role their use",
                error.as_db_error().map_or("permission denied", |error| error.message())
            ),
        },
        _ => explain(&error, &address.place),
    };
    let lock = lock_number(&address.schema);
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({lock})"
        ))
        .await
        .map_err(denied)?;
    // Looked at again under the lock: another process may have been first. A failed look would end the transaction.
    let there = client
        .simple_query(&format!("SELECT to_regclass('{}.meta') IS NOT NULL", schema.replace('\'', "''")))
        .await
        .map_err(denied)?;
    let there = there
        .iter()
        .any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("t")));
    let found = if there { version(client, address).await? } else { 0 };
    if found == 0 {
        let cookie: String = boottime::random::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        client
            .batch_execute(&format!(
                "CREATE SCHEMA IF NOT EXISTS {schema}; \
                 CREATE TABLE {schema}.meta(version bigint NOT NULL, cookie bytea NOT NULL); \
                 INSERT INTO {schema}.meta VALUES (0, '\\x{cookie}')"
            ))
            .await
            .map_err(denied)?;
    }
    for step in migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
        client.batch_execute(&step.replace("{s}", &schema)).await.map_err(denied)?;
    }
    let known = migrations.len();
    client.batch_execute(&format!("UPDATE {schema}.meta SET version = {known}; COMMIT")).await.map_err(denied)
}
