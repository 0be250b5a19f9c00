//! One writing transaction: the banks' rows, read once and written once, and what every request needs.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Context;
use super::rows::{COLUMNS, Record, record};
use super::side::Side;
use crate::core::error::{Error, Result};
use crate::core::model::{Ended, GRACE, Micros, New, PRIORITIES, State, Value};

/// How many candidates are read ahead at most for the takes of one transaction.
const AHEAD: usize = 256;

/// A bank's row, in memory while the transaction lasts.
#[derive(Debug, Clone)]
pub struct BankRow {
    pub id: i64,
    pub name: String,
    pub kind: i64,
    pub top: i64,
    pub mark: i64,
    pub token: i64,
    pub priorities: i64,
    /// Of free, leased, given, dead.
    pub counts: [i64; 4],
    pub put: i64,
    pub changed: bool,
}

impl BankRow {
    /// Counts a row out of one state and into another. Hidden rows are not counted.
    pub fn shift(&mut self, from: Option<State>, to: Option<State>) {
        for (state, by) in [(from, -1), (to, 1)] {
            if let Some(count) = state.and_then(|state| self.counts.get_mut(state as usize)) {
                *count += by;
            }
        }
        self.changed = true;
    }
}

/// Which owner this process is, and what it knows from earlier transactions.
#[derive(Debug, Default)]
pub struct Memory {
    /// This process's number, once it has leased something that ends with it.
    pub owner: Option<i64>,
    /// Numbers that it had with side files that are no more.
    pub former: Vec<i64>,
    /// The highest token that was seen of each bank.
    pub tokens: HashMap<i64, i64>,
    /// An older file than what was seen is to be accepted.
    pub accept_rewind: bool,
    /// When old rows were last deleted.
    pub cleaned: Micros,
}

/// The open transaction.
pub struct Transaction<'a> {
    pub db: &'a Connection,
    pub context: &'a Context,
    pub side: &'a Side,
    pub boot: &'a str,
    pub memory: &'a mut Memory,
    pub now: Micros,
    banks: HashMap<i64, BankRow>,
    ahead: HashMap<i64, VecDeque<Record>>,
    /// Banks of which it is known that nothing is free at this moment.
    pub empty: HashSet<i64>,
    /// Claim ids that got something: a waiting take of the same id must look.
    pub served: HashSet<(i64, Value)>,
    /// Items that were given or buried: who waits for one by its key cannot get it.
    pub ended: HashSet<(i64, Value)>,
    /// Something may have become claimable.
    pub freed: bool,
    /// How many rows the takes of this transaction want.
    pub wanted: usize,
    reaped: bool,
    dirty: bool,
    pub new_owner: Option<i64>,
}

impl<'a> Transaction<'a> {
    pub fn new(
        db: &'a Connection,
        context: &'a Context,
        side: &'a Side,
        boot: &'a str,
        memory: &'a mut Memory,
        now: Micros,
    ) -> Self {
        Transaction {
            db,
            context,
            side,
            boot,
            memory,
            now,
            banks: HashMap::new(),
            ahead: HashMap::new(),
            empty: HashSet::new(),
            served: HashSet::new(),
            ended: HashSet::new(),
            freed: false,
            wanted: 1,
            reaped: false,
            dirty: false,
            new_owner: None,
        }
    }

    pub fn fail(&self, error: &rusqlite::Error) -> Error {
        self.context.explain(error)
    }

    pub fn run(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<usize> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|error| self.fail(&error))
    }

    /// A bank's row, as of this transaction.
    pub fn bank(&mut self, id: i64) -> Result<&mut BankRow> {
        if !self.banks.contains_key(&id) {
            let row = read_bank(self.db, id).map_err(|error| self.fail(&error))?;
            let Some(mut row) = row else {
                return Err(Error::Moved { path: self.context.path.clone() });
            };
            let seen = self.memory.tokens.get(&id).copied().unwrap_or(0);
            if row.token < seen {
                if !self.memory.accept_rewind {
                    return Err(Error::Rewound { name: row.name, seen, now: row.token });
                }
                // Tokens go on from the highest that was ever seen: none is used twice.
                row.token = seen;
                row.changed = true;
            }
            self.banks.insert(id, row);
        }
        self.banks.get_mut(&id).ok_or(Error::Closed)
    }

    /// A token that was never used before.
    pub fn next_token(&mut self, bank: i64) -> Result<i64> {
        let bank = self.bank(bank)?;
        bank.token += 1;
        bank.changed = true;
        Ok(bank.token)
    }

    /// What is read ahead is no longer true.
    pub fn forget_ahead(&mut self, bank: i64) {
        self.ahead.remove(&bank);
    }

    /// A row became claimable, now or later.
    pub fn note_freed(&mut self, bank: i64) {
        self.freed = true;
        self.empty.remove(&bank);
        self.forget_ahead(bank);
    }

    pub fn one(&self, wanted: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Option<Record>> {
        let sql = format!("SELECT {COLUMNS} FROM item WHERE {wanted}");
        self.db
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row(values, |row| record(row, self.now)).optional())
            .map_err(|error| self.fail(&error))
    }

    pub fn many(&self, wanted: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Record>> {
        let sql = format!("SELECT {COLUMNS} FROM item WHERE {wanted}");
        let rows = || {
            let mut statement = self.db.prepare_cached(&sql)?;
            let rows = statement.query_map(values, |row| record(row, self.now))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        rows().map_err(|error: rusqlite::Error| self.fail(&error))
    }

    pub fn by_key(&self, bank: i64, key: &Value) -> Result<Option<Record>> {
        self.one("bank = ?1 AND key = ?2", &[&bank, key])
    }

    /// The next row that is free or run out, in order; None if there is none at this moment.
    pub fn next_claimable(&mut self, bank: i64) -> Result<Option<Record>> {
        if self.empty.contains(&bank) {
            return Ok(None);
        }
        if let Some(found) = self.ahead.get_mut(&bank).and_then(VecDeque::pop_front) {
            return Ok(Some(found));
        }
        loop {
            let priorities = self.bank(bank)?.priorities;
            for priority in (0..PRIORITIES).filter(|priority| priorities & (1 << priority) != 0) {
                let found = self.many(
                    "bank = ?1 AND state < 2 AND priority = ?2 AND ready_at <= ?3 ORDER BY ready_at, id LIMIT ?4",
                    &[&bank, &priority, &self.now, &(self.wanted.clamp(1, AHEAD) as i64)],
                )?;
                if !found.is_empty() {
                    let mut found = VecDeque::from(found);
                    let first = found.pop_front();
                    self.ahead.insert(bank, found);
                    return Ok(first);
                }
            }
            if !self.reap()? {
                self.empty.insert(bank);
                return Ok(None);
            }
        }
    }

    /// Ends the leases of owners that died on this machine, now. True if there were any.
    pub fn reap(&mut self) -> Result<bool> {
        if self.reaped {
            return Ok(false);
        }
        self.reaped = true;
        let mut ended = 0;
        for number in self.dead_owners()? {
            ended += self.run(
                "UPDATE item SET ready_at = ?2, owner = NULL WHERE owner = ?1 AND state = 1",
                &[&number, &self.now],
            )?;
            self.run("DELETE FROM owner WHERE number = ?1", &[&number])?;
            self.dirty = true;
        }
        if ended > 0 {
            self.empty.clear();
            self.ahead.clear();
            self.freed = true;
        }
        Ok(ended > 0)
    }

    /// Registered owners whose byte nobody has locked. Only those that registered with this side file, on this boot.
    fn dead_owners(&self) -> Result<Vec<i64>> {
        dead_owners(self.db, self.side, self.boot, self.memory).map_err(|error| self.fail(&error))
    }

    /// This process's number; its byte is locked before any row with it is written.
    pub fn owner(&mut self) -> Result<i64> {
        if let Some(number) = self.memory.owner.or(self.new_owner) {
            return Ok(number);
        }
        let number: i64 = self
            .db
            .query_row("UPDATE meta SET owner = owner + 1 WHERE id = 1 RETURNING owner", [], |row| row.get(0))
            .map_err(|error| self.fail(&error))?;
        self.side.become_owner(number)?;
        self.run(
            "INSERT INTO owner(number, side, boot, pid) VALUES (?1, ?2, ?3, ?4)",
            &[&number, &self.side.cookie, &self.boot, &std::process::id()],
        )?;
        self.new_owner = Some(number);
        Ok(number)
    }

    /// Before a row gets a new token: keeps the answer of the call that settled the old one, for repeats of that call.
    pub fn remember_settled(&self, bank: i64, old: &Record) -> Result<()> {
        if old.row.ended == Ended::No || old.ended_at.saturating_add(GRACE) <= self.now {
            return Ok(());
        }
        self.run(
            "INSERT INTO settled(bank, token, call, result, result_kind, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT DO NOTHING",
            &[
                &bank,
                &old.row.token,
                &(old.row.ended as i64),
                &old.row.result,
                &super::rows::kind(&old.row.result),
                &old.ended_at.saturating_add(GRACE),
            ],
        )?;
        Ok(())
    }

    /// Stores a new row. False if its key is there.
    pub fn insert(&mut self, bank: i64, new: &New) -> Result<bool> {
        let ready_at = self.now.saturating_add(new.delay);
        let inserted = self.run(
            "INSERT INTO item(bank, key, payload, payload_kind, state, priority, ready_at, token, attempts, \
             max_attempts, ended, ended_at, result_kind) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, 0, 0, ?7, 0, 0, 0) \
             ON CONFLICT(bank, key) DO NOTHING",
            &[
                &bank,
                &new.key,
                &new.payload,
                &super::rows::kind(&new.payload),
                &new.priority,
                &ready_at,
                &new.max_attempts,
            ],
        )?;
        if inserted == 1 {
            self.count_new(bank, new.priority)?;
        }
        Ok(inserted == 1)
    }

    fn count_new(&mut self, bank: i64, priority: u8) -> Result<()> {
        let row = self.bank(bank)?;
        row.put += 1;
        row.priorities |= 1 << priority;
        row.shift(None, Some(State::Free));
        self.note_freed(bank);
        Ok(())
    }

    /// A key that is hidden, or given until a time that is over, is as good as not there: its row starts anew. The
    /// token goes to 0, so that calls with the old one are answered by what `remember_settled` kept.
    pub fn revive(&mut self, bank: i64, old: &Record, new: &New) -> Result<()> {
        self.remember_settled(bank, old)?;
        self.run(
            "UPDATE item SET payload = ?2, payload_kind = ?3, state = 0, priority = ?4, ready_at = ?5, claim = NULL, \
             claim_i = NULL, claim_n = NULL, owner = NULL, token = 0, attempts = 0, max_attempts = ?6, ended = 0, \
             ended_at = 0, result = NULL, result_kind = 0, gone_at = NULL WHERE id = ?1",
            &[
                &old.row.row,
                &new.payload,
                &super::rows::kind(&new.payload),
                &new.priority,
                &self.now.saturating_add(new.delay),
                &new.max_attempts,
            ],
        )?;
        self.bank(bank)?.shift(Some(old.row.state), None);
        self.count_new(bank, new.priority)
    }

    /// Whether a row is there only for repeats of its last call.
    pub fn is_gone(&self, record: &Record) -> bool {
        record.row.state == State::Hidden || record.gone_at.is_some_and(|at| at <= self.now)
    }

    /// A copy of a bank's row, for a request that may be undone.
    pub fn save_bank(&mut self, bank: i64) -> Result<BankRow> {
        Ok(self.bank(bank)?.clone())
    }

    pub fn restore_bank(&mut self, row: BankRow) {
        self.forget_ahead(row.id);
        self.banks.insert(row.id, row);
    }

    /// Deletes some of what is only kept for repeats, once a second at most.
    fn clean(&mut self) -> Result<()> {
        if self.now - self.memory.cleaned < 1_000_000 {
            return Ok(());
        }
        self.memory.cleaned = self.now;
        self.run(
            "DELETE FROM settled WHERE id IN (SELECT id FROM settled ORDER BY id LIMIT 1000) AND until <= ?1",
            &[&self.now],
        )?;
        let gone = || {
            let mut statement = self.db.prepare_cached(
                "SELECT id, bank, state FROM item WHERE gone_at IS NOT NULL AND gone_at <= ?1 ORDER BY gone_at LIMIT 1000",
            )?;
            let rows = statement.query_map([self.now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<(i64, i64, i64)>>>()
        };
        for (id, bank, state) in gone().map_err(|error: rusqlite::Error| self.fail(&error))? {
            // A bank that cannot be loaded (it was rewound) is left alone.
            if self.bank(bank).is_ok() {
                self.run("DELETE FROM item WHERE id = ?1", &[&id])?;
                self.bank(bank)?.shift(State::from_number(state), None);
            }
        }
        Ok(())
    }

    /// Writes the banks' rows. True if anything is to be committed.
    pub fn finish(&mut self) -> Result<bool> {
        let mut any = self.dirty || self.new_owner.is_some() || self.banks.values().any(|bank| bank.changed);
        if any {
            self.clean()?;
        }
        for bank in self.banks.values().filter(|bank| bank.changed) {
            any = true;
            let [free, leased, given, dead] = bank.counts;
            self.run(
                "UPDATE bank SET kind = ?2, top = ?3, mark = ?4, token = ?5, priorities = ?6, free = ?7, leased = ?8, \
                 given = ?9, dead = ?10, put = ?11, now = ?12 WHERE id = ?1",
                params![
                    bank.id,
                    bank.kind,
                    bank.top,
                    bank.mark,
                    bank.token,
                    bank.priorities,
                    free,
                    leased,
                    given,
                    dead,
                    bank.put,
                    self.now
                ],
            )?;
        }
        Ok(any)
    }

    /// After the commit: what this process now knows.
    pub fn committed(self) {
        self.memory.owner = self.memory.owner.or(self.new_owner);
        for bank in self.banks.values() {
            let seen = self.memory.tokens.entry(bank.id).or_insert(0);
            *seen = (*seen).max(bank.token);
        }
        self.memory.accept_rewind = false;
    }
}

pub fn read_bank(db: &Connection, id: i64) -> rusqlite::Result<Option<BankRow>> {
    db.prepare_cached(
        "SELECT id, name, kind, top, mark, token, priorities, free, leased, given, dead, put FROM bank WHERE id = ?1",
    )?
    .query_row([id], |row| {
        Ok(BankRow {
            id: row.get(0)?,
            name: row.get(1)?,
            kind: row.get(2)?,
            top: row.get(3)?,
            mark: row.get(4)?,
            token: row.get(5)?,
            priorities: row.get(6)?,
            counts: [row.get(7)?, row.get(8)?, row.get(9)?, row.get(10)?],
            put: row.get(11)?,
            changed: false,
        })
    })
    .optional()
}

/// Registered owners that are dead. The side file must be the one that is at its path: that was compared before.
pub fn dead_owners(db: &Connection, side: &Side, boot: &str, memory: &Memory) -> rusqlite::Result<Vec<i64>> {
    let mut statement = db.prepare_cached("SELECT number FROM owner WHERE side = ?1 AND boot = ?2")?;
    let numbers = statement.query_map(params![side.cookie, boot], |row| row.get::<_, i64>(0))?;
    let mut dead = Vec::new();
    for number in numbers {
        let number = number?;
        // This process's own locks do not conflict with its question.
        let mine = memory.owner == Some(number) || memory.former.contains(&number);
        if !mine && !side.lives(number) {
            dead.push(number);
        }
    }
    Ok(dead)
}
