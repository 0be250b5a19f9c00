//! Putting inside a transaction of the caller, on the caller's own connection: the statements as text, with their values.

use super::put::Columns;
use super::rows::decode;
use super::statements::{self, Name, Statement};
use crate::core::boottime;
use crate::core::model::{Micros, New, Value};

/// What a caller's transaction needs to know of the database.
#[derive(Debug, Clone)]
pub struct Place {
    pub schema: String,
    pub channel: String,
    /// Drawn when the schema was made: another database has another one.
    pub cookie: Vec<u8>,
}

/// A value of a statement.
#[derive(Debug, Clone)]
pub enum Parameter {
    Number(Option<i64>),
    Text(String),
    Numbers(Vec<Option<i64>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

/// A statement and its values.
pub struct Step {
    pub text: String,
    pub values: Vec<Parameter>,
}

/// A key that is kept only for repeats of its last call is as good as not there: its row goes, and what it answers stays.
const CLEAR: &str = "WITH gone AS (
       DELETE FROM {s}.item i USING (
         SELECT l.id FROM unnest($3::bytea[]) k(key) CROSS JOIN LATERAL (
           SELECT n.id FROM {s}.item n WHERE n.bank = $2::bigint AND n.key = k.key
             AND (n.state = 4 OR n.gone_at <= {now}) LIMIT 1 FOR UPDATE) l) o
       WHERE i.id = o.id RETURNING i.bank, i.state, i.claim, i.token, i.ended, i.ended_at, i.result, i.result_kind),
     forgotten AS (
       DELETE FROM {s}.claim c USING gone g CROSS JOIN LATERAL (
         SELECT n.bank, n.id FROM {s}.claim n WHERE n.bank = g.bank AND n.id = g.claim FOR UPDATE SKIP LOCKED) l
       WHERE c.bank = l.bank AND c.id = l.id),
     remembered AS (
       INSERT INTO {s}.settled(bank, token, call, result, result_kind, until)
       SELECT bank, token, ended, result, result_kind, ended_at + 600000000 FROM gone
       WHERE ended <> 0 AND ended_at + 600000000 > {now} ON CONFLICT DO NOTHING)
     INSERT INTO {s}.tally(bank, free, leased, given, dead, put)
     SELECT bank, 0, 0, -count(*) FILTER (WHERE state = 2), 0, 0 FROM gone GROUP BY bank";

const CONFLICTS: &str = "SELECT i.key, i.key_long
     FROM unnest($2::bytea[], $3::bytea[], $4::smallint[]) WITH ORDINALITY k(key, payload, payload_kind, place)
     CROSS JOIN LATERAL (SELECT * FROM {s}.item n WHERE n.bank = $1::bigint AND n.key = k.key LIMIT 1) i
     WHERE i.payload IS DISTINCT FROM k.payload OR i.payload_kind <> k.payload_kind ORDER BY k.place LIMIT 11";

fn numbers<T: Into<i64> + Copy>(values: &[T]) -> Parameter {
    Parameter::Numbers(values.iter().map(|value| Some((*value).into())).collect())
}

impl Place {
    /// Asks whether the caller's database is this one: the first gives null if the schema is not there, the second the
    /// cookie.
    pub fn questions(&self) -> [Step; 2] {
        let name = format!("{}.meta", self.schema);
        [
            Step { text: "SELECT to_regclass($1::text)::text".into(), values: vec![Parameter::Text(name)] },
            Step { text: format!("SELECT cookie FROM {}.meta", self.schema), values: Vec::new() },
        ]
    }

    /// Stores a chunk. The first statement clears, the second answers how many were new, the third, unless conflicts are to
    /// be kept, the keys that are there with another payload.
    pub fn put(&self, clock: Option<Micros>, bank: i64, items: &[New], keep: bool) -> Vec<Step> {
        let columns = Columns::of(items);
        let call = i64::from_be_bytes(boottime::random()) | 1;
        let keys = Parameter::Bytes(columns.key.iter().cloned().map(Some).collect());
        let payload = Parameter::Bytes(columns.payload.clone());
        let kinds = numbers(&columns.payload_kind);
        let text = |template: &str| statements::text(template, &self.schema);
        let all = statements::all(&self.schema);
        let Some(Statement { text: put, .. }) = all.into_iter().nth(Name::Put as usize) else { return Vec::new() };
        let (clock, bank) = (Parameter::Number(clock), Parameter::Number(Some(bank)));
        let mut steps = vec![
            Step { text: text(CLEAR), values: vec![clock.clone(), bank.clone(), keys.clone()] },
            Step {
                text: put,
                values: vec![
                    clock,
                    bank.clone(),
                    keys.clone(),
                    Parameter::Bytes(columns.key_long),
                    payload.clone(),
                    kinds.clone(),
                    numbers(&columns.priority),
                    numbers(&columns.delay),
                    Parameter::Numbers(columns.max_attempts),
                    Parameter::Number(Some(call)),
                ],
            },
        ];
        if !keep {
            steps.push(Step { text: text(CONFLICTS), values: vec![bank, keys, payload, kinds] });
        }
        steps
    }

    /// Wakes those who wait, with the commit.
    pub fn notify(&self, bank: i64) -> Step {
        let values = vec![Parameter::Text(self.channel.clone()), Parameter::Text(bank.to_string())];
        Step { text: "SELECT pg_notify($1::text, $2::text)".into(), values }
    }
}

/// A key as its columns hold it.
pub fn key(index: &[u8], long: Option<&[u8]>) -> Value {
    decode(index, long)
}
