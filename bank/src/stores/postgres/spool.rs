//! A put of any number of items in one transaction: collected in a temporary table of a connection of its own, and then
//! copied, so that no lock is held while the caller's iterator runs.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_postgres::types::{ToSql, Type};

use super::Shared;
use super::changes::Changes;
use super::failure::Trouble;
use super::put::{Columns, revive};
use super::rows::{COLUMNS, decode, record, unpack};
use super::session::{Session, one, unknown};
use super::statements::text;
use crate::core::boottime;
use crate::core::error::{Error, Result};
use crate::core::model::{New, PutDone, Value};
use crate::core::store::AtomicPut;

const MAKE: &str = "CREATE TEMPORARY TABLE opool_spool(
    id bigint GENERATED ALWAYS AS IDENTITY, key bytea NOT NULL, key_long bytea, payload bytea, payload_kind smallint NOT NULL,
    priority smallint NOT NULL, delay bigint NOT NULL, max_attempts bigint)";

const ADD: &str = "INSERT INTO opool_spool(key, key_long, payload, payload_kind, priority, delay, max_attempts)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::smallint[], $5::smallint[], $6::bigint[], $7::bigint[])";

const COPY: &str = "WITH stored AS (
      INSERT INTO {s}.item(id, bank, key, key_long, payload, payload_kind, priority, ready_at, max_attempts, made)
      SELECT n.item, $2, n.key, n.key_long, n.payload, n.payload_kind, n.priority, {now} + n.delay, n.max_attempts, $3
      FROM (SELECT nextval('{s}.item_id') AS item, m.* FROM (SELECT * FROM opool_spool ORDER BY id) m) n
      ORDER BY n.key, n.item ON CONFLICT (bank, key) DO NOTHING RETURNING 1),
    counted AS (
      INSERT INTO {s}.tally(bank, free, leased, given, dead, put)
      SELECT $2, count(*), 0, 0, 0, count(*) FROM stored HAVING count(*) > 0)
    SELECT count(*), {now} FROM stored";

/// Keys that are there only for repeats of their last call, with what they are to carry.
const GONE: &str = "SELECT {cols}, o.payload, o.payload_kind, o.priority, o.delay, o.max_attempts
    FROM (SELECT DISTINCT ON (key) * FROM opool_spool ORDER BY key, id) o CROSS JOIN LATERAL (
      SELECT * FROM {s}.item n WHERE n.bank = $2 AND n.key = o.key AND (n.state = 4 OR n.gone_at <= {now}) LIMIT 1
      FOR UPDATE) i";

const CONFLICTS: &str = "SELECT o.key, o.key_long FROM opool_spool o JOIN {s}.item i ON i.bank = $1 AND i.key = o.key
    WHERE (i.payload IS DISTINCT FROM o.payload OR i.payload_kind <> o.payload_kind) AND i.id <> ALL ($2)
    ORDER BY o.id LIMIT 11";

pub struct Spool {
    shared: Arc<Shared>,
    runtime: Runtime,
    session: Session,
    bank: i64,
    keep: bool,
    /// Behind a pooler the table lives in one transaction, which keeps its connection.
    open: bool,
}

impl Spool {
    pub fn new(shared: Arc<Shared>, bank: i64, keep: bool) -> Result<Spool> {
        let failed = |error: std::io::Error| Error::Io { path: shared.place().to_owned(), why: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let pooled = shared.is_pooled();
        let session = runtime.block_on(async {
            let mut session = Session::connect(&shared.target, None).await?;
            session.set_up(pooled).await?;
            if pooled {
                session.begin().await.map_err(|trouble| explained(trouble, &shared))?;
            }
            // The caller's iterator may take its time; and copying waits for another put of the same keys.
            let scope = if pooled { "SET LOCAL" } else { "SET" };
            let set = format!(
                "{scope} idle_in_transaction_session_timeout = 0; {scope} lock_timeout = '10s'; \
                 {scope} enable_seqscan = on; {scope} enable_bitmapscan = on"
            );
            session.run(&set).await.map_err(|trouble| explained(trouble, &shared))?;
            session.run(MAKE).await.map_err(|trouble| explained(trouble, &shared))?;
            Ok::<_, Error>(session)
        })?;
        Ok(Spool { shared, runtime, session, bank, keep, open: pooled })
    }

    async fn copy(&self) -> std::result::Result<PutDone, Trouble> {
        let session = &self.session;
        let schema = &session.target().schema;
        let clock = self.shared.clock_now();
        let call = i64::from_be_bytes(boottime::random()) | 1;
        if !self.open {
            session.begin().await?;
        }
        session.run("ANALYZE opool_spool").await?;
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&clock, Type::INT8), (&self.bank, Type::INT8), (&call, Type::INT8)];
        let stored = session.run_typed(&text(COPY, schema), &values).await?;
        let mut new = one::<i64>(&stored, 0).unwrap_or(0);
        let now = one::<i64>(&stored, 1).unwrap_or(0);
        let mut changes = Changes::freeing(new > 0);
        let columns = COLUMNS.map(|column| format!("i.{column}")).join(", ");
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&clock, Type::INT8), (&self.bank, Type::INT8)];
        let gone = session.run_typed(&text(GONE, schema).replace("{cols}", &columns), &values).await?;
        let mut revived = Vec::new();
        for row in &gone {
            let refused = |error: Error| Trouble::Refused(error);
            let old = record(row, 0, now).map_err(refused)?;
            let first = COLUMNS.len();
            let new_item = New {
                key: old.row.key.clone(),
                payload: unpack(row.get(first), row.get(first + 1)),
                priority: row.get::<_, i16>(first + 2) as u8,
                delay: row.get(first + 3),
                max_attempts: row.get::<_, Option<i64>>(first + 4).map(|most| most as u32),
            };
            revived.push(old.row.row);
            revive(&mut changes, old, &new_item, now, call);
            new += 1;
        }
        if !self.keep {
            let values: [(&(dyn ToSql + Sync), Type); 2] = [(&self.bank, Type::INT8), (&revived, Type::INT8_ARRAY)];
            let rows = session.run_typed(&text(CONFLICTS, schema), &values).await?;
            if !rows.is_empty() {
                let keys: Vec<Value> = rows.iter().take(10).map(|row| decode(row.get(0), row.get(1))).collect();
                return Err(Trouble::Refused(Error::KeyConflict { keys, more: rows.len() > 10 }));
            }
        }
        let word = self.bank.to_string();
        let notify = (!session.is_pooled()).then_some((self.shared.channel.as_str(), word.as_str()));
        changes.commit(session, self.bank, notify).await?;
        Ok(PutDone { new: new as u64 })
    }
}

fn explained(trouble: Trouble, shared: &Shared) -> Error {
    match trouble {
        Trouble::Refused(error) => error,
        Trouble::Again => Error::Busy { path: shared.place().to_owned(), waited_ms: 10_000, pid: None },
        Trouble::Lost(why) => unknown(shared.place(), &why),
    }
}

impl AtomicPut for Spool {
    fn add(&mut self, items: &[New]) -> Result<()> {
        let columns = Columns::of(items);
        let values: [(&(dyn ToSql + Sync), Type); 7] = [
            (&columns.key, Type::BYTEA_ARRAY),
            (&columns.key_long, Type::BYTEA_ARRAY),
            (&columns.payload, Type::BYTEA_ARRAY),
            (&columns.payload_kind, Type::INT2_ARRAY),
            (&columns.priority, Type::INT2_ARRAY),
            (&columns.delay, Type::INT8_ARRAY),
            (&columns.max_attempts, Type::INT8_ARRAY),
        ];
        self.runtime
            .block_on(self.session.run_typed(ADD, &values))
            .map(drop)
            .map_err(|trouble| explained(trouble, &self.shared))
    }

    fn commit(self: Box<Self>) -> Result<PutDone> {
        let done = self.runtime.block_on(async {
            let done = self.copy().await;
            if done.is_err() {
                self.session.rollback().await;
            }
            done
        });
        self.shared.look();
        done.map_err(|trouble| explained(trouble, &self.shared))
    }
}
