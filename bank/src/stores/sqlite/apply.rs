//! The requests, each inside the open transaction.

use super::rows::Record;
use super::transaction::Transaction;
use crate::core::error::{Error, Result};
use crate::core::model::{
    BankInfo, Call, Ended, Finish, GRACE, Held, Kind, NEVER, New, Payload, Pick, Put, PutDone, Settle, Settled, State,
    Take, Taken, Term, Value, finish,
};

/// What became of a take.
pub enum Took {
    Done(Taken),
    /// Nothing is free, and it wants to wait.
    Waits,
}

impl Transaction<'_> {
    /// Opens a bank by name.
    pub fn open_bank(&mut self, name: &str, kind: Kind) -> Result<BankInfo> {
        use rusqlite::OptionalExtension;
        let known: Option<(i64, i64, i64)> = self
            .db
            .prepare_cached("SELECT id, kind, top FROM bank WHERE name = ?1")
            .and_then(|mut statement| {
                statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
            })
            .map_err(|error| self.fail(&error))?;
        if let Some((number, is, top)) = known {
            if is != kind.number() {
                let (is, asked) = (Kind::name(is), Kind::name(kind.number()));
                return Err(Error::KindMismatch { name: name.to_owned(), is, asked });
            }
            if top != kind.top() && kind.top() != 0 {
                return Err(Error::SizeMismatch { name: name.to_owned(), is: top, asked: kind.top() });
            }
            self.bank(number)?;
            return Ok(BankInfo { number, top });
        }
        if kind != Kind::Items && kind.top() == 0 {
            return Err(Error::UnknownKey(Value::Text(name.to_owned())));
        }
        let mark = i64::from(matches!(kind, Kind::Ids { .. }));
        self.run(
            "INSERT INTO bank(name, kind, top, mark) VALUES (?1, ?2, ?3, ?4)",
            &[&name, &kind.number(), &kind.top(), &mark],
        )?;
        let number = self.db.last_insert_rowid();
        self.bank(number)?.changed = true;
        Ok(BankInfo { number, top: kind.top() })
    }

    /// Another number of permits or ids. Rows at or above it are buried as they come back; growing digs them out again.
    pub fn resize(&mut self, bank: i64, top: i64) -> Result<BankInfo> {
        let row = self.bank(bank)?;
        if row.kind == Kind::Items.number() {
            return Err(Error::Invalid(format!("bank {:?} holds items, which have no number", row.name)));
        }
        row.top = top;
        row.changed = true;
        let buried = self.run(
            "UPDATE item SET state = 3, claim = NULL, claim_i = NULL, claim_n = NULL WHERE bank = ?1 AND state = 0 \
             AND key >= ?2",
            &[&bank, &top],
        )?;
        let revived = self.run(
            "UPDATE item SET state = 0, ready_at = ?3 WHERE bank = ?1 AND state = 3 AND key < ?2",
            &[&bank, &top, &self.now],
        )?;
        let row = self.bank(bank)?;
        row.counts[State::Free as usize] += revived as i64 - buried as i64;
        row.counts[State::Dead as usize] += buried as i64 - revived as i64;
        self.note_freed(bank);
        Ok(BankInfo { number: bank, top })
    }

    /// A chunk: all of it, or none.
    pub fn put(&mut self, bank: i64, put: &Put) -> Result<PutDone> {
        let saved = self.save_bank(bank)?;
        self.run("SAVEPOINT put", &[])?;
        let done = self.put_all(bank, put);
        if done.is_err() {
            self.run("ROLLBACK TO put", &[])?;
            self.restore_bank(saved);
        }
        self.run("RELEASE put", &[])?;
        done
    }

    fn put_all(&mut self, bank: i64, put: &Put) -> Result<PutDone> {
        let mut new = 0;
        let mut conflicts = Vec::new();
        for item in &put.items {
            if self.insert(bank, item)? {
                new += 1;
                continue;
            }
            let Some(old) = self.by_key(bank, &item.key)? else { continue };
            if self.is_gone(&old) {
                self.revive(bank, &old, item)?;
                new += 1;
            } else if old.row.payload != item.payload && !put.keep {
                conflicts.push(item.key.clone());
            }
        }
        if conflicts.is_empty() {
            return Ok(PutDone { new });
        }
        let more = conflicts.len() > 10;
        conflicts.truncate(10);
        Err(Error::KeyConflict { keys: conflicts, more })
    }

    /// A claim or a lease. `again`: it waited, and its id had nothing when it came.
    pub fn take(&mut self, bank: i64, take: &Take, again: bool) -> Result<Took> {
        if again && self.empty.contains(&bank) && !self.served.contains(&(bank, take.id.clone())) {
            let ended = match &take.pick {
                Pick::Key { key, .. } => self.ended.contains(&(bank, key.clone())),
                _ => false,
            };
            if !ended {
                return Ok(Took::Waits);
            }
        }
        let mine = self.many("bank = ?1 AND claim = ?2 ORDER BY claim_i", &[&bank, &take.id])?;
        let mine: Vec<Record> = mine.into_iter().filter(|record| !self.is_gone(record)).collect();
        if let Some(held) = self.repeat(bank, take, &mine)? {
            return Ok(Took::Done(Taken { held, other: None }));
        }
        let mut held = Vec::new();
        let mut other = None;
        // The id's own rows that ran out, and that nobody took, come first.
        let mut own = mine.into_iter();
        while held.len() < take.n as usize {
            let found = match own.next() {
                Some(record) => Some(record),
                None => match self.pick(bank, &take.pick)? {
                    Picked::Row(record) => Some(record),
                    Picked::Nothing => None,
                    Picked::Not(record) => {
                        other = Some(record);
                        None
                    }
                },
            };
            let Some(found) = found else { break };
            if let Some(row) = self.take_row(bank, take, found, held.len() as i64)? {
                held.push(row);
            }
        }
        if !held.is_empty() {
            self.served.insert((bank, take.id.clone()));
            return Ok(Took::Done(Taken { held, other: None }));
        }
        let hopeless = other.as_ref().is_some_and(|record| matches!(record.row.state, State::Given | State::Dead));
        if take.wait && !hopeless {
            return Ok(Took::Waits);
        }
        Ok(Took::Done(Taken { held, other: other.map(|record| record.row) }))
    }

    /// What the id has already: the answer to a repeat. None if it has nothing that counts.
    fn repeat(&mut self, bank: i64, take: &Take, mine: &[Record]) -> Result<Option<Vec<Held>>> {
        let Some(first) = mine.first() else { return Ok(None) };
        let mismatch = |why: String| Err(Error::ClaimMismatch { id: take.id.clone(), why });
        if first.claim_n != i64::from(take.n) {
            return mismatch(format!("it was used to ask for {} items, and now for {}", first.claim_n, take.n));
        }
        if let Pick::Key { key, .. } = &take.pick
            && first.row.key != *key
        {
            return mismatch(format!("it holds item {}, not {key}", first.row.key));
        }
        let given = mine.iter().find(|record| record.row.state == State::Given);
        if let (Term::Lease { .. }, Some(given)) = (take.term, given) {
            return mismatch(format!("item {} was given to it for good; a lease could give that back", given.row.key));
        }
        let runs = |record: &Record| record.row.state == State::Given || record.ready_at > self.now;
        let running: Vec<Record> = mine.iter().filter(|record| runs(record)).cloned().collect();
        if running.is_empty() {
            for record in mine {
                self.run(
                    "UPDATE item SET claim = NULL, claim_i = NULL, claim_n = NULL WHERE id = ?1",
                    &[&record.row.row],
                )?;
                self.bank(bank)?.changed = true;
            }
            return Ok(None);
        }
        let mut held = Vec::new();
        for mut record in running {
            if take.term == Term::Given && record.row.state == State::Leased {
                self.run(
                    "UPDATE item SET state = 2, ready_at = 0, owner = NULL, ended = 0 WHERE id = ?1",
                    &[&record.row.row],
                )?;
                self.bank(bank)?.shift(Some(State::Leased), Some(State::Given));
                self.forget_ahead(bank);
                self.ended.insert((bank, record.row.key.clone()));
                record.row.state = State::Given;
                record.row.remaining = NEVER;
            }
            held.push(Held { row: record.row, new: false });
        }
        Ok(Some(held))
    }

    fn pick(&mut self, bank: i64, pick: &Pick) -> Result<Picked> {
        match pick {
            Pick::Next => Ok(self.next_claimable(bank)?.map_or(Picked::Nothing, Picked::Row)),
            Pick::Id { fresh_first } => {
                if *fresh_first && let Some(record) = self.fresh(bank)? {
                    return Ok(Picked::Row(record));
                }
                if let Some(record) = self.next_claimable(bank)? {
                    return Ok(Picked::Row(record));
                }
                Ok(self.fresh(bank)?.map_or(Picked::Nothing, Picked::Row))
            }
            Pick::Key { key, create, same_payload } => self.pick_key(bank, key, create.as_deref(), *same_payload),
        }
    }

    /// The first id that was never given, as a row. The mark moves in the same transaction, so none is lost or made twice.
    fn fresh(&mut self, bank: i64) -> Result<Option<Record>> {
        let row = self.bank(bank)?;
        if row.mark >= row.top {
            return Ok(None);
        }
        let key = Value::Int(row.mark);
        row.mark += 1;
        row.changed = true;
        let new = New { key: key.clone(), payload: Payload::None, priority: 0, delay: 0, max_attempts: None };
        let was_empty = self.empty.contains(&bank);
        let freed = self.freed;
        self.insert(bank, &new)?;
        // The row is taken at once: nobody needs to look for it.
        self.freed = freed;
        if was_empty {
            self.empty.insert(bank);
        }
        self.by_key(bank, &key)
    }

    fn pick_key(&mut self, bank: i64, key: &Value, create: Option<&New>, same_payload: bool) -> Result<Picked> {
        let mut found = self.by_key(bank, key)?;
        if found.as_ref().is_none_or(|record| self.is_gone(record)) {
            let Some(new) = create else { return Err(Error::UnknownKey(key.clone())) };
            match &found {
                Some(old) => self.revive(bank, old, new)?,
                None => {
                    self.insert(bank, new)?;
                }
            }
            found = self.by_key(bank, key)?;
        }
        let Some(record) = found else { return Ok(Picked::Nothing) };
        if same_payload && create.is_some_and(|new| new.payload != record.row.payload) {
            return Ok(Picked::Not(record));
        }
        let claimable = |record: &Record, now: i64| {
            matches!(record.row.state, State::Free | State::Leased) && record.ready_at <= now
        };
        if claimable(&record, self.now) {
            self.forget_ahead(bank);
            return Ok(Picked::Row(record));
        }
        if record.row.state == State::Leased
            && record.owner.is_some()
            && self.reap()?
            && let Some(record) = self.by_key(bank, key)?
            && claimable(&record, self.now)
        {
            return Ok(Picked::Row(record));
        }
        Ok(Picked::Not(record))
    }

    /// Takes a row that is free or run out. None if it was buried instead: its attempts are used up, or it is a permit
    /// that there is no more.
    fn take_row(&mut self, bank: i64, take: &Take, mut record: Record, ordinal: i64) -> Result<Option<Held>> {
        let (kind, top) = {
            let row = self.bank(bank)?;
            (row.kind, row.top)
        };
        let retired = kind != 0 && matches!(record.row.key, Value::Int(n) if n >= top);
        let used_up = record.row.max_attempts.is_some_and(|most| record.row.attempts >= most);
        if retired || used_up {
            self.run(
                "UPDATE item SET state = 3, claim = NULL, claim_i = NULL, claim_n = NULL, owner = NULL WHERE id = ?1",
                &[&record.row.row],
            )?;
            self.bank(bank)?.shift(Some(record.row.state), Some(State::Dead));
            self.ended.insert((bank, record.row.key));
            return Ok(None);
        }
        self.remember_settled(bank, &record)?;
        let token = self.next_token(bank)?;
        let (state, ready_at, owner) = match take.term {
            Term::Given => (State::Given, 0, None),
            Term::Lease { ttl, bound } => {
                let owner = if bound { Some(self.owner()?) } else { None };
                (State::Leased, if ttl == NEVER { NEVER } else { self.now.saturating_add(ttl) }, owner)
            }
        };
        self.run(
            "UPDATE item SET state = ?2, ready_at = ?3, claim = ?4, claim_i = ?5, claim_n = ?6, owner = ?7, token = ?8, \
             attempts = attempts + 1, ended = 0, ended_at = 0, result = NULL, result_kind = 0 WHERE id = ?1",
            &[&record.row.row, &(state as i64), &ready_at, &take.id, &ordinal, &take.n, &owner, &token],
        )?;
        self.bank(bank)?.shift(Some(record.row.state), Some(state));
        if state == State::Given {
            self.ended.insert((bank, record.row.key.clone()));
        }
        record.row.state = state;
        record.row.token = token;
        record.row.attempts += 1;
        record.row.claim = Some(take.id.clone());
        record.row.result = Payload::None;
        record.row.ended = Ended::No;
        record.row.remaining = if state == State::Given { NEVER } else { super::rows::remaining(ready_at, self.now) };
        Ok(Some(Held { row: record.row, new: true }))
    }

    /// One finishing call.
    pub fn settle(&mut self, bank: i64, settle: &Settle) -> Result<Settled> {
        let answer = |yes: bool| Ok(Settled { yes, remaining: 0 });
        let Some(record) = self.by_key(bank, &settle.key)? else {
            return self.settle_old(bank, settle, None).and_then(answer);
        };
        if record.row.token != settle.token && !(settle.force && record.row.state == State::Leased) {
            return self.settle_old(bank, settle, Some(&record)).and_then(answer);
        }
        match finish(&settle.call, record.row.state, record.row.ended, &record.row.result) {
            Finish::Answer(yes) => answer(yes),
            Finish::Stale => Err(stale(settle, Some(&record))),
            Finish::AlreadySettled => {
                Err(Error::AlreadySettled { key: settle.key.clone(), result: record.row.result.clone() })
            }
            Finish::Apply => self.settle_leased(bank, settle, &record),
        }
    }

    /// The token is not the row's: the answer that this very call had, if it is still known.
    fn settle_old(&self, bank: i64, settle: &Settle, record: Option<&Record>) -> Result<bool> {
        use rusqlite::OptionalExtension;
        let known = self
            .db
            .prepare_cached(
                "SELECT result, result_kind FROM settled WHERE bank = ?1 AND token = ?2 AND call = ?3 AND until > ?4",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(rusqlite::params![bank, settle.token, settle.call.number(), self.now], |row| {
                        Ok(super::rows::payload(row.get_ref(0)?, row.get(1)?))
                    })
                    .optional()
            })
            .map_err(|error| self.fail(&error))?;
        match (&settle.call, known) {
            (Call::Done { result, .. }, Some(stored)) if *result != stored => {
                Err(Error::AlreadySettled { key: settle.key.clone(), result: stored })
            }
            (_, Some(_)) => Ok(true),
            (Call::Release { .. } | Call::Reject { .. }, None) => Ok(false),
            _ => Err(stale(settle, record)),
        }
    }

    fn settle_leased(&mut self, bank: i64, settle: &Settle, record: &Record) -> Result<Settled> {
        let id = record.row.row;
        let now = self.now;
        let after = |span: i64| if span == NEVER { NEVER } else { now.saturating_add(span) };
        match &settle.call {
            Call::Extend { ttl } => {
                let until = record.ready_at.max(after(*ttl));
                self.run("UPDATE item SET ready_at = ?2 WHERE id = ?1", &[&id, &until])?;
                self.bank(bank)?.changed = true;
                self.forget_ahead(bank);
                return Ok(Settled { yes: true, remaining: super::rows::remaining(until, now) });
            }
            Call::Done { result, keep } => {
                let (state, gone_at) = match *keep {
                    NEVER => (State::Given, None),
                    0 => (State::Hidden, Some(after(GRACE))),
                    span => (State::Given, Some(after(span))),
                };
                self.run(
                    "UPDATE item SET state = ?2, ready_at = 0, owner = NULL, ended = 1, ended_at = ?3, result = ?4, \
                     result_kind = ?5, gone_at = ?6 WHERE id = ?1",
                    &[&id, &(state as i64), &now, result, &super::rows::kind(result), &gone_at],
                )?;
                if state == State::Hidden {
                    self.run("UPDATE item SET claim = NULL, claim_i = NULL, claim_n = NULL WHERE id = ?1", &[&id])?;
                }
                self.bank(bank)?.shift(Some(State::Leased), Some(state));
                self.forget_ahead(bank);
                self.ended.insert((bank, record.row.key.clone()));
            }
            Call::Release { delay } => self.free(bank, record, after(*delay), Ended::Released, &Payload::None)?,
            Call::Reject { reason, delay } => self.free(bank, record, after(*delay), Ended::Rejected, reason)?,
        }
        Ok(Settled { yes: true, remaining: 0 })
    }

    /// Gives a leased row back, or buries it. A release takes its attempt back; a reject does not.
    fn free(&mut self, bank: i64, record: &Record, ready_at: i64, how: Ended, reason: &Payload) -> Result<()> {
        let (kind, top) = {
            let row = self.bank(bank)?;
            (row.kind, row.top)
        };
        let retired = kind != 0 && matches!(record.row.key, Value::Int(n) if n >= top);
        let used_up = how == Ended::Rejected && record.row.max_attempts.is_some_and(|most| record.row.attempts >= most);
        let state = if retired || used_up { State::Dead } else { State::Free };
        let attempts = if how == Ended::Released { record.row.attempts.saturating_sub(1) } else { record.row.attempts };
        self.run(
            "UPDATE item SET state = ?2, ready_at = ?3, claim = NULL, claim_i = NULL, claim_n = NULL, owner = NULL, \
             attempts = ?4, ended = ?5, ended_at = ?6, result = ?7, result_kind = ?8 WHERE id = ?1",
            &[
                &record.row.row,
                &(state as i64),
                &ready_at,
                &attempts,
                &(how as i64),
                &self.now,
                reason,
                &super::rows::kind(reason),
            ],
        )?;
        self.bank(bank)?.shift(Some(State::Leased), Some(state));
        if state == State::Dead {
            self.ended.insert((bank, record.row.key.clone()));
        }
        self.note_freed(bank);
        Ok(())
    }
}

enum Picked {
    Row(Record),
    /// There, but not to be had now.
    Not(Record),
    Nothing,
}

fn stale(settle: &Settle, record: Option<&Record>) -> Error {
    let (state, now) = record.map_or(("gone", 0), |record| (record.row.state.name(), record.row.token));
    Error::Stale { key: settle.key.clone(), token: settle.token, state, now }
}
