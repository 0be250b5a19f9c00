//! A put of any number of items in one transaction: collected in a temporary table first, so that the lock is held only
//! while they are copied, and never while the caller's iterator runs.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::rows::{COLUMNS, kind, record};
use super::side::Side;
use super::transaction::{Memory, Transaction};
use super::{Shared, connect, same_file};
use crate::core::error::{Error, Result};
use crate::core::fork::inside;
use crate::core::model::{New, PutDone, State, Value};
use crate::core::store::AtomicPut;

pub struct Spool {
    shared: Arc<Shared>,
    /// Always there, until `drop`.
    db: ManuallyDrop<Connection>,
    bank: i64,
    keep: bool,
    collected: u64,
    priorities: i64,
}

impl Spool {
    pub fn new(shared: Arc<Shared>, bank: i64, keep: bool) -> Result<Spool> {
        let _inside = inside();
        let db = connect(&shared.path, shared.vfs.as_deref(), &shared.context, false)?;
        db.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -64000; PRAGMA temp_store = FILE;
             CREATE TEMP TABLE spool(id INTEGER PRIMARY KEY, key ANY NOT NULL, payload ANY, payload_kind INTEGER NOT NULL,
             priority INTEGER NOT NULL, delay INTEGER NOT NULL, max_attempts INTEGER) STRICT;",
        )
        .map_err(|error| shared.context.explain(&error))?;
        Ok(Spool { shared, db: ManuallyDrop::new(db), bank, keep, collected: 0, priorities: 0 })
    }

    fn copy(&self, side: &Side) -> Result<PutDone> {
        let _inside = inside();
        let context = &self.shared.context;
        if !same_file(&self.shared) {
            return Err(Error::Moved { path: context.path.clone() });
        }
        let fail = |error: rusqlite::Error| context.explain(&error);
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(fail)?;
        let mut memory = Memory::default();
        let now = self.shared.now();
        let mut transaction = Transaction::new(&self.db, context, side, "", &mut memory, now);
        let done = self.copy_all(&mut transaction).and_then(|new| {
            transaction.finish()?;
            Ok(PutDone { new })
        });
        let ended = self.db.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).map_err(fail);
        let done = done?;
        ended.map_err(Error::unsure).map(|()| done)
    }

    fn copy_all(&self, transaction: &mut Transaction<'_>) -> Result<u64> {
        let fail = |error: rusqlite::Error| self.shared.context.explain(&error);
        let inserted = transaction.run(
            "INSERT INTO item(bank, key, payload, payload_kind, state, priority, ready_at, token, attempts, \
             max_attempts, ended, ended_at, result_kind) SELECT ?1, key, payload, payload_kind, 0, priority, \
             ?2 + delay, 0, 0, max_attempts, 0, 0, 0 FROM spool WHERE true ORDER BY id ON CONFLICT(bank, key) DO NOTHING",
            params![self.bank, transaction.now],
        )? as u64;
        let bank = transaction.bank(self.bank)?;
        bank.put += inserted as i64;
        bank.counts[State::Free as usize] += inserted as i64;
        bank.priorities |= self.priorities;
        bank.changed = true;
        if inserted == self.collected {
            return Ok(inserted);
        }
        let revived = self.revive(transaction)?;
        if !self.keep {
            let mut statement = self
                .db
                .prepare(
                    "SELECT s.key FROM temp.spool s JOIN item i ON i.bank = ?1 AND i.key = s.key \
                     WHERE i.payload IS NOT s.payload OR i.payload_kind <> s.payload_kind ORDER BY s.id LIMIT 11",
                )
                .map_err(fail)?;
            let keys = statement
                .query_map([self.bank], |row| Ok(super::rows::value(row.get_ref(0)?)))
                .and_then(Iterator::collect::<rusqlite::Result<Vec<Value>>>)
                .map_err(fail)?;
            if !keys.is_empty() {
                let more = keys.len() > 10;
                return Err(Error::KeyConflict { keys: keys.into_iter().take(10).collect(), more });
            }
        }
        Ok(inserted + revived)
    }

    /// Keys that are there only for repeats of their last call.
    fn revive(&self, transaction: &mut Transaction<'_>) -> Result<u64> {
        let fail = |error: rusqlite::Error| self.shared.context.explain(&error);
        let wanted: Vec<String> = COLUMNS.split(", ").map(|column| format!("i.{}", column.trim())).collect();
        let sql = format!(
            "SELECT {}, s.payload, s.payload_kind, s.priority, s.delay, s.max_attempts FROM temp.spool s \
             JOIN item i ON i.bank = ?1 AND i.key = s.key WHERE i.gone_at IS NOT NULL AND (i.state = 4 OR i.gone_at <= ?2) \
             GROUP BY i.id",
            wanted.join(", ")
        );
        let mut statement = self.db.prepare(&sql).map_err(fail)?;
        let rows = statement
            .query_map(params![self.bank, transaction.now], |row| {
                let old = record(row, 0)?;
                let new = New {
                    key: old.row.key.clone(),
                    payload: super::rows::payload(row.get_ref(19)?, row.get(20)?),
                    priority: row.get(21)?,
                    delay: row.get(22)?,
                    max_attempts: row.get(23)?,
                };
                Ok((old, new))
            })
            .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
            .map_err(fail)?;
        for (old, new) in &rows {
            transaction.revive(self.bank, old, new)?;
        }
        Ok(rows.len() as u64)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _inside = inside();
        // SAFETY: dropped once, and not used afterwards.
        #[allow(unsafe_code)]
        unsafe {
            ManuallyDrop::drop(&mut self.db);
        }
    }
}

impl AtomicPut for Spool {
    fn add(&mut self, items: &[New]) -> Result<()> {
        let _inside = inside();
        let fail = |error: rusqlite::Error| self.shared.context.explain(&error);
        let mut statement = self
            .db
            .prepare_cached(
                "INSERT INTO temp.spool(key, payload, payload_kind, priority, delay, max_attempts) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .map_err(fail)?;
        self.db.execute_batch("BEGIN").map_err(fail)?;
        for item in items {
            let stored = statement.execute(params![
                item.key,
                item.payload,
                kind(&item.payload),
                item.priority,
                item.delay,
                item.max_attempts
            ]);
            if let Err(error) = stored {
                // The table is thrown away with the connection.
                let _ = self.db.execute_batch("ROLLBACK");
                return Err(fail(error));
            }
            self.priorities |= 1 << item.priority;
        }
        self.db.execute_batch("COMMIT").map_err(fail)?;
        self.collected += items.len() as u64;
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<PutDone> {
        // An open file of its own: the writer thread's would not exclude this thread.
        let side = Side::open(self.shared.side_path.clone())?;
        side.enter()?;
        let done = self.copy(&side);
        side.leave();
        if done.is_ok() {
            side.wake_all();
        }
        done
    }
}
