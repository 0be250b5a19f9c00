//! Reads: on a connection of their own, each a snapshot that begins after the call.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{COLUMNS, record};
use super::transaction::read_bank;
use crate::core::error::{Error, Result};
use crate::core::model::{Counts, Found, Micros, Query, Row, State};

fn rows(db: &Connection, wanted: &str, values: &[&dyn rusqlite::ToSql], now: Micros) -> rusqlite::Result<Vec<Row>> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM item WHERE {wanted}"))?;
    let found = statement.query_map(values, |row| record(row, now))?;
    let mut rows = Vec::new();
    for found in found {
        let found = found?;
        // Kept only for repeats of its last call: nobody sees it.
        if found.row.state != State::Hidden && found.gone_at.is_none_or(|at| at > now) {
            rows.push(found.row);
        }
    }
    Ok(rows)
}

/// One page, and where the next begins. Hidden rows are skipped, not counted.
fn page(
    db: &Connection,
    bank: i64,
    state: Option<State>,
    after: i64,
    limit: u32,
    now: Micros,
) -> rusqlite::Result<Vec<Row>> {
    let mut after = after;
    loop {
        let wanted = match state {
            Some(state) => {
                format!("bank = ?1 AND id > ?2 AND state = {} ORDER BY id LIMIT ?3", state as i64)
            }
            None => "bank = ?1 AND id > ?2 AND state <> 4 ORDER BY id LIMIT ?3".to_owned(),
        };
        // Walks the table by its row number; an index would mean a sort for each page.
        let wanted = wanted.replace("bank = ?1", "+bank = ?1");
        let found = rows(db, &wanted, &[&bank, &after, &limit], now)?;
        if !found.is_empty() {
            return Ok(found);
        }
        // All of the page may have been over; the next may not.
        let last: Option<i64> = db
            .query_row(
                "SELECT max(id) FROM (SELECT id FROM item WHERE +bank = ?1 AND id > ?2 ORDER BY id LIMIT ?3)",
                params![bank, after, limit],
                |row| row.get(0),
            )
            .optional()?
            .flatten();
        match last {
            Some(last) if last > after => after = last,
            _ => return Ok(Vec::new()),
        }
    }
}

/// Answers a query.
pub fn answer(
    db: &Connection,
    bank: i64,
    query: &Query,
    now: Micros,
    explain: impl Fn(&rusqlite::Error) -> Error,
) -> Result<Found> {
    let fail = |error: rusqlite::Error| explain(&error);
    let found = |rows: Vec<Row>| Found { rows, ..Found::default() };
    match query {
        Query::Get(key) => rows(db, "bank = ?1 AND key = ?2", &[&bank, key], now).map(found).map_err(fail),
        Query::Of(id) => {
            rows(db, "bank = ?1 AND claim = ?2 ORDER BY claim_i", &[&bank, id], now).map(found).map_err(fail)
        }
        Query::Page { state, after, limit } => page(db, bank, *state, *after, *limit, now).map(found).map_err(fail),
        Query::Counts => counts(db, bank).map(|counts| Found { counts, ..Found::default() }).map_err(fail),
        Query::Verify => {
            let transaction = db.unchecked_transaction().map_err(fail)?;
            let counts = counts(db, bank).map_err(fail)?;
            let faults = verify(db, bank, &counts).map_err(fail)?;
            drop(transaction);
            Ok(Found { rows: Vec::new(), counts, faults })
        }
    }
}

fn counts(db: &Connection, bank: i64) -> rusqlite::Result<Counts> {
    let row = read_bank(db, bank)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let [free, leased, given, dead] = row.counts;
    Ok(Counts { free, leased, given, dead, put: row.put, token: row.token, top: row.top, mark: row.mark })
}

/// The invariants of a bank, looked up one by one.
fn verify(db: &Connection, bank: i64, counts: &Counts) -> rusqlite::Result<Vec<String>> {
    let mut faults = Vec::new();
    let count = |sql: &str| db.query_row(sql, [bank], |row| row.get::<_, i64>(0));
    for (state, counted) in [
        (State::Free, counts.free),
        (State::Leased, counts.leased),
        (State::Given, counts.given),
        (State::Dead, counts.dead),
    ] {
        let there = count(&format!("SELECT count(*) FROM item WHERE bank = ?1 AND state = {}", state as i64))?;
        if there != counted {
            faults.push(format!("the counter of {} items says {counted}, and there are {there}", state.name()));
        }
    }
    for (what, sql) in [
        (
            "items have a token that was not handed out yet",
            "SELECT count(*) FROM item WHERE bank = ?1 AND token > (SELECT token FROM bank WHERE id = ?1)",
        ),
        (
            "tokens stand on two items",
            "SELECT count(*) FROM (SELECT token FROM item WHERE bank = ?1 AND token > 0 GROUP BY token HAVING count(*) > 1)",
        ),
        (
            "claim ids hold more items than they asked for",
            "SELECT count(*) FROM (SELECT claim FROM item WHERE bank = ?1 AND claim IS NOT NULL GROUP BY claim \
             HAVING count(*) > max(claim_n))",
        ),
        (
            "items that nobody holds have a claim id or an owner",
            "SELECT count(*) FROM item WHERE bank = ?1 AND state IN (0, 3, 4) AND (claim IS NOT NULL OR owner IS NOT NULL)",
        ),
        (
            "given items have an owner, or no claim id",
            "SELECT count(*) FROM item WHERE bank = ?1 AND state = 2 AND (claim IS NULL OR owner IS NOT NULL)",
        ),
        (
            "free items have a priority that the bank does not look for",
            "SELECT count(*) FROM item WHERE bank = ?1 AND state < 2 \
             AND (SELECT priorities FROM bank WHERE id = ?1) & (1 << priority) = 0",
        ),
        (
            "ids are out of the range of those that were ever given",
            "SELECT count(*) FROM item WHERE bank = ?1 AND (SELECT kind FROM bank WHERE id = ?1) > 0 \
             AND (typeof(key) <> 'integer' OR key < 0 OR key >= (SELECT mark FROM bank WHERE id = ?1))",
        ),
    ] {
        let found = count(sql)?;
        if found > 0 {
            faults.push(format!("{found} {what}"));
        }
    }
    let mut statement = db.prepare("PRAGMA integrity_check(20)")?;
    for line in statement.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            faults.push(format!("SQLite: {line}"));
        }
    }
    Ok(faults)
}
