//! The statements, as text. `DESIGN.md` argues why each is safe; READ COMMITTED is meant throughout.
//!
//! `{s}` is the schema, `{now}` the store's time: `$1` if a test gave one, else the time at which the server began the
//! statement. `{cols}` are the columns that `rows::record` reads, of a row that is called `i`.

use tokio_postgres::types::Type;

use super::rows::COLUMNS;

/// Names a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Name {
    TakeNext,
    Residue,
    Head,
    ClaimInsert,
    ClaimLock,
    ClaimItemsLock,
    ClaimItemsPlain,
    ClaimSet,
    ClaimDelete,
    KeysLock,
    KeysPlain,
    NextLock,
    Fresh,
    Tokens,
    Put,
    PutBefore,
    Settled,
    Write,
    Remember,
    Forget,
    Tally,
    Notify,
    Open,
    OpenMake,
    ResizeBank,
    ResizeBury,
    ResizeRevive,
    Of,
    Page,
    Counts,
}

pub struct Statement {
    pub text: String,
    pub types: &'static [Type],
}

/// All of them, for one schema, in the order of `Name`.
pub fn all(schema: &str) -> Vec<Statement> {
    let columns = COLUMNS.map(|column| format!("i.{column}")).join(", ");
    TEXTS
        .iter()
        .map(|(_, text, types)| Statement {
            text: text.replace("{now}", NOW).replace("{cols}", &columns).replace("{s}", schema),
            types,
        })
        .collect()
}

const NOW: &str = "coalesce($1::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)";

const TEXTS: &[(Name, &str, &[Type])] = &[
    // Waiting callers as one statement: each id that has no row yet ($3) gets the next item. Locks as many free rows as
    // there are such ids, writes the claims, and changes only items whose claim went in: of two statements with one id the
    // second finds the row of the first. Rows whose attempts are used up, and permits that there are no more, are buried.
    (
        Name::TakeNext,
        "WITH t AS MATERIALIZED (
           SELECT {now} AS now, b.kind, b.top,
             CASE WHEN (SELECT last_value FROM {s}.token) >= $8 THEN 1000000 ELSE 0 END AS most
           FROM {s}.bank b WHERE b.id = $2),
         asked AS MATERIALIZED (
           SELECT a.id, a.id_long, a.call, a.given, a.ttl, a.place, row_number() OVER (ORDER BY a.place) AS nth
           FROM unnest($3::bytea[], $4::bytea[], $5::bigint[], $6::boolean[], $7::bigint[]) WITH ORDINALITY
             a(id, id_long, call, given, ttl, place)
           WHERE (SELECT true FROM {s}.claim c WHERE c.bank = $2 AND c.id = a.id LIMIT 1) IS NULL),
         found AS MATERIALIZED (
           SELECT x.*, NOT coalesce(x.attempts >= x.max_attempts, false) AND (t.kind = 0 OR x.key <
               'i'::bytea || int8send(t.top # (-9223372036854775807 - 1))) AS live
           FROM t CROSS JOIN LATERAL (
             SELECT r.* FROM generate_series(0, 9) p(priority) CROSS JOIN LATERAL (
               SELECT n.id, n.key, n.state, n.ready_at, n.claim, n.token, n.attempts, n.max_attempts, n.ended, n.ended_at, n.result,
                 n.result_kind
               FROM {s}.item n
               WHERE n.bank = $2 AND n.state < 2 AND n.priority = p.priority AND n.ready_at >= $9[p.priority + 1]
                 AND n.ready_at <= {now}
               ORDER BY n.ready_at, n.id LIMIT (SELECT count(*) FROM asked) FOR UPDATE SKIP LOCKED) r
             LIMIT least((SELECT count(*) FROM asked), t.most)) x),
         live AS MATERIALIZED (SELECT f.*, row_number() OVER () AS nth FROM found f WHERE f.live),
         claimed AS (
           INSERT INTO {s}.claim(bank, id, n, call, items)
           SELECT $2, a.id, 1, a.call, ARRAY[l.id] FROM asked a JOIN live l ON l.nth = a.nth ORDER BY a.id
           ON CONFLICT (bank, id) DO NOTHING RETURNING items[1] AS item),
         given AS MATERIALIZED (
           SELECT l.*, a.id AS by, a.id_long AS by_long, a.given, a.ttl, a.place
           FROM claimed c JOIN live l ON l.id = c.item JOIN asked a ON a.nth = l.nth),
         changed AS (
           UPDATE {s}.item i SET state = CASE WHEN g.given THEN 2 ELSE 1 END,
             ready_at = CASE WHEN g.given THEN 0 WHEN g.ttl = 9223372036854775807 THEN g.ttl ELSE t.now + g.ttl END,
             claim = g.by, claim_long = g.by_long, token = nextval('{s}.token'), attempts = i.attempts + 1, ended = 0,
             ended_at = 0, result = NULL, result_kind = 0
           FROM given g, t WHERE i.id = g.id RETURNING g.place, t.now, g.ready_at AS since, {cols}),
         buried AS (
           UPDATE {s}.item i SET state = 3, claim = NULL, claim_long = NULL FROM found f
           WHERE i.id = f.id AND NOT f.live RETURNING i.id),
         remembered AS (
           INSERT INTO {s}.settled(bank, token, call, result, result_kind, until)
           SELECT $2, g.token, g.ended, g.result, g.result_kind, g.ended_at + 600000000 FROM given g, t
           WHERE g.ended <> 0 AND g.ended_at + 600000000 > t.now ON CONFLICT DO NOTHING),
         forgotten AS (
           DELETE FROM {s}.claim c USING (
             SELECT l.id FROM found f CROSS JOIN LATERAL (
               SELECT k.id FROM {s}.claim k WHERE k.bank = $2 AND k.id = f.claim AND NOT EXISTS (
                 SELECT FROM unnest(k.items) u(item) JOIN {s}.item o ON o.id = u.item
                 WHERE o.claim = k.id AND o.bank = $2 AND o.id NOT IN (
                   SELECT g.id FROM given g UNION ALL SELECT d.id FROM found d WHERE NOT d.live))
               FOR UPDATE SKIP LOCKED) l
             WHERE f.claim IS NOT NULL AND (NOT f.live OR EXISTS (SELECT FROM given g WHERE g.id = f.id))) gone
           WHERE c.bank = $2 AND c.id = gone.id),
         counted AS (
           INSERT INTO {s}.tally(bank, free, leased, given, dead, put)
           SELECT $2, -sum(free), sum(leased), sum(given), sum(dead), 0 FROM (
             SELECT (g.state = 0)::int AS free, (NOT g.given)::int - (g.state = 1)::int AS leased, g.given::int AS given,
               0 AS dead FROM given g
             UNION ALL SELECT (f.state = 0)::int, -(f.state = 1)::int, 0, 1 FROM found f WHERE NOT f.live) d
           HAVING count(*) > 0)
         SELECT * FROM changed",
        &[
            Type::INT8,
            Type::INT8,
            Type::BYTEA_ARRAY,
            Type::BYTEA_ARRAY,
            Type::INT8_ARRAY,
            Type::BOOL_ARRAY,
            Type::INT8_ARRAY,
            Type::INT8,
            Type::INT8_ARRAY,
        ],
    ),
    // What those who got nothing must know, all of one snapshot: which of the ids have a row; whether anything is free, locked
    // or not; when the next will be.
    (
        Name::Residue,
        "SELECT {now}, b.kind, b.top, b.mark, (SELECT last_value FROM {s}.token),
           ARRAY(SELECT a.id FROM unnest($3::bytea[]) a(id)
             WHERE (SELECT true FROM {s}.claim c WHERE c.bank = $2 AND c.id = a.id LIMIT 1)),
           coalesce((SELECT true FROM generate_series(0, 9) p(priority) CROSS JOIN LATERAL (
             SELECT 1 FROM {s}.item n WHERE n.bank = $2 AND n.state < 2 AND n.priority = p.priority
             AND n.ready_at <= {now} LIMIT 1) x LIMIT 1), false),
           (SELECT min(x.ready_at) FROM generate_series(0, 9) p(priority) CROSS JOIN LATERAL (
             SELECT n.ready_at FROM {s}.item n WHERE n.bank = $2 AND n.state < 2 AND n.priority = p.priority
             AND n.ready_at > {now} ORDER BY n.ready_at LIMIT 1) x)
         FROM {s}.bank b WHERE b.id = $2",
        &[Type::INT8, Type::INT8, Type::BYTEA_ARRAY],
    ),
    (
        Name::Head,
        "SELECT {now}, b.kind, b.top, b.mark, (SELECT last_value FROM {s}.token) FROM {s}.bank b WHERE b.id = $2",
        &[Type::INT8, Type::INT8],
    ),
    // The row of an id is what takes of that id exclude each other by. It is inserted, or waited for.
    (
        Name::ClaimInsert,
        "INSERT INTO {s}.claim(bank, id, n, call, items) VALUES ($1, $2, $3, $4, '{}') ON CONFLICT (bank, id) DO NOTHING",
        &[Type::INT8, Type::BYTEA, Type::INT8, Type::INT8],
    ),
    (
        Name::ClaimLock,
        "SELECT c.n, c.call FROM {s}.claim c WHERE c.bank = $1 AND c.id = $2 FOR UPDATE",
        &[Type::INT8, Type::BYTEA],
    ),
    (
        Name::ClaimItemsLock,
        "SELECT {cols} FROM {s}.claim c CROSS JOIN LATERAL unnest(c.items) WITH ORDINALITY u(item, nth) CROSS JOIN LATERAL (
           SELECT * FROM {s}.item n WHERE n.id = u.item AND n.claim = c.id AND n.bank = $1 LIMIT 1
           FOR UPDATE SKIP LOCKED) i
         WHERE c.bank = $1 AND c.id = $2 ORDER BY u.nth",
        &[Type::INT8, Type::BYTEA],
    ),
    (
        Name::ClaimItemsPlain,
        "SELECT count(*) FROM {s}.claim c CROSS JOIN LATERAL unnest(c.items) u(item) CROSS JOIN LATERAL (
           SELECT 1 FROM {s}.item n WHERE n.id = u.item AND n.claim = c.id AND n.bank = $1 LIMIT 1) i
         WHERE c.bank = $1 AND c.id = $2",
        &[Type::INT8, Type::BYTEA],
    ),
    (
        Name::ClaimSet,
        "UPDATE {s}.claim SET n = $3, call = $4, items = $5 WHERE bank = $1 AND id = $2",
        &[Type::INT8, Type::BYTEA, Type::INT8, Type::INT8, Type::INT8_ARRAY],
    ),
    (Name::ClaimDelete, "DELETE FROM {s}.claim WHERE bank = $1 AND id = $2", &[Type::INT8, Type::BYTEA]),
    // Never waits for a row that another transaction has: that goes again, alone.
    (
        Name::KeysLock,
        "SELECT {cols} FROM unnest($2::bytea[]) k(key) CROSS JOIN LATERAL (
           SELECT * FROM {s}.item n WHERE n.bank = $1 AND n.key = k.key LIMIT 1 FOR UPDATE SKIP LOCKED) i",
        &[Type::INT8, Type::BYTEA_ARRAY],
    ),
    (
        Name::KeysPlain,
        "SELECT {cols} FROM unnest($2::bytea[]) k(key) CROSS JOIN LATERAL (
           SELECT * FROM {s}.item n WHERE n.bank = $1 AND n.key = k.key LIMIT 1) i",
        &[Type::INT8, Type::BYTEA_ARRAY],
    ),
    (
        Name::NextLock,
        "SELECT {cols} FROM (
           SELECT r.* FROM generate_series(0, 9) p(priority) CROSS JOIN LATERAL (
             SELECT * FROM {s}.item n WHERE n.bank = $2 AND n.state < 2 AND n.priority = p.priority
               AND n.ready_at <= {now} AND n.id <> ALL ($4)
             ORDER BY n.ready_at, n.id LIMIT $3 FOR UPDATE SKIP LOCKED) r
           LIMIT $3) i",
        &[Type::INT8, Type::INT8, Type::INT8, Type::INT8_ARRAY],
    ),
    // The bank's row stays locked until the commit: no id is lost or made twice.
    (
        Name::Fresh,
        "UPDATE {s}.bank b SET mark = least(b.mark + $2, b.top) FROM (SELECT mark FROM {s}.bank WHERE id = $1 FOR UPDATE) o
         WHERE b.id = $1 AND o.mark < b.top RETURNING o.mark, b.mark",
        &[Type::INT8, Type::INT8],
    ),
    (Name::Tokens, "SELECT nextval('{s}.token') FROM generate_series(1, $1)", &[Type::INT8]),
    // New keys in; in one order, so that two puts with the same keys do not wait for each other. Numbers are drawn first:
    // they are the order of putting.
    (
        Name::Put,
        "WITH new AS (
           SELECT * FROM (
             SELECT nextval('{s}.item_id') AS id, u.* FROM (
               SELECT * FROM unnest($3::bytea[], $4::bytea[], $5::bytea[], $6::smallint[], $7::smallint[], $8::bigint[],
                 $9::bigint[]) WITH ORDINALITY
                 a(key, key_long, payload, payload_kind, priority, delay, max_attempts, place) ORDER BY place) u) v
           ORDER BY v.key, v.place),
         stored AS (
           INSERT INTO {s}.item(id, bank, key, key_long, payload, payload_kind, priority, ready_at, max_attempts, made)
           SELECT id, $2::bigint, key, key_long, payload, payload_kind, priority, {now} + delay, max_attempts, $10::bigint
           FROM new
           ON CONFLICT (bank, key) DO NOTHING RETURNING 1),
         counted AS (
           INSERT INTO {s}.tally(bank, free, leased, given, dead, put)
           SELECT $2::bigint, count(*), 0, 0, 0, count(*) FROM stored HAVING count(*) > 0)
         SELECT count(*) FROM stored",
        &[
            Type::INT8,
            Type::INT8,
            Type::BYTEA_ARRAY,
            Type::BYTEA_ARRAY,
            Type::BYTEA_ARRAY,
            Type::INT2_ARRAY,
            Type::INT2_ARRAY,
            Type::INT8_ARRAY,
            Type::INT8_ARRAY,
            Type::INT8,
        ],
    ),
    // Of the keys of a put, those that were there before it. What it stored itself is left out.
    (
        Name::PutBefore,
        "SELECT {now}, {cols} FROM unnest($3::bytea[]) k(key) CROSS JOIN LATERAL (
           SELECT * FROM {s}.item n WHERE n.bank = $2 AND n.key = k.key LIMIT 1) i WHERE i.made <> $4",
        &[Type::INT8, Type::INT8, Type::BYTEA_ARRAY, Type::INT8],
    ),
    (
        Name::Settled,
        "SELECT x.token, x.call, x.result, x.result_kind, x.until FROM unnest($2::bigint[]) k(token) CROSS JOIN LATERAL (
           SELECT * FROM {s}.settled d WHERE d.bank = $1 AND d.token = k.token OFFSET 0) x",
        &[Type::INT8, Type::INT8_ARRAY],
    ),
    // Rows that this transaction has locked, as they are to be.
    (
        Name::Write,
        "UPDATE {s}.item i SET state = u.state, ready_at = u.ready_at, claim = u.claim, claim_long = u.claim_long,
           token = u.token, attempts = u.attempts, ended = u.ended, ended_at = u.ended_at, result = u.result,
           result_kind = u.result_kind, gone_at = u.gone_at, payload = u.payload, payload_kind = u.payload_kind,
           priority = u.priority, max_attempts = u.max_attempts, made = u.made
         FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[],
           $8::smallint[], $9::bigint[], $10::bytea[], $11::smallint[], $12::bigint[], $13::bytea[], $14::smallint[],
           $15::smallint[], $16::bigint[], $17::bigint[])
           u(id, state, ready_at, claim, claim_long, token, attempts, ended, ended_at, result, result_kind, gone_at, payload,
             payload_kind, priority, max_attempts, made)
         WHERE i.id = u.id",
        &[
            Type::INT8_ARRAY,
            Type::INT2_ARRAY,
            Type::INT8_ARRAY,
            Type::BYTEA_ARRAY,
            Type::BYTEA_ARRAY,
            Type::INT8_ARRAY,
            Type::INT8_ARRAY,
            Type::INT2_ARRAY,
            Type::INT8_ARRAY,
            Type::BYTEA_ARRAY,
            Type::INT2_ARRAY,
            Type::INT8_ARRAY,
            Type::BYTEA_ARRAY,
            Type::INT2_ARRAY,
            Type::INT2_ARRAY,
            Type::INT8_ARRAY,
            Type::INT8_ARRAY,
        ],
    ),
    (
        Name::Remember,
        "INSERT INTO {s}.settled(bank, token, call, result, result_kind, until)
         SELECT $1, u.* FROM unnest($2::bigint[], $3::smallint[], $4::bytea[], $5::smallint[], $6::bigint[]) u
         ON CONFLICT DO NOTHING",
        &[
            Type::INT8,
            Type::INT8_ARRAY,
            Type::INT2_ARRAY,
            Type::BYTEA_ARRAY,
            Type::INT2_ARRAY,
            Type::INT8_ARRAY,
        ],
    ),
    // The rows of ids that hold nothing any more. One that a take of that id has locked is left: the take sees that the id
    // holds nothing, and uses it.
    (
        Name::Forget,
        "DELETE FROM {s}.claim c USING unnest($2::bytea[]) k(id) CROSS JOIN LATERAL (
           SELECT n.id FROM {s}.claim n WHERE n.bank = $1 AND n.id = k.id AND NOT EXISTS (
             SELECT FROM unnest(n.items) u(item) JOIN {s}.item i ON i.id = u.item WHERE i.claim = n.id AND i.bank = $1)
           FOR UPDATE SKIP LOCKED) l
         WHERE c.bank = $1 AND c.id = l.id",
        &[Type::INT8, Type::BYTEA_ARRAY],
    ),
    (
        Name::Tally,
        "INSERT INTO {s}.tally(bank, free, leased, given, dead, put) VALUES ($1, $2, $3, $4, $5, $6)",
        &[Type::INT8, Type::INT8, Type::INT8, Type::INT8, Type::INT8, Type::INT8],
    ),
    (Name::Notify, "SELECT pg_notify($1, $2)", &[Type::TEXT, Type::TEXT]),
    (
        Name::Open,
        "SELECT b.id, b.kind, b.top, (SELECT last_value FROM {s}.token) FROM {s}.bank b WHERE b.name = $1",
        &[Type::TEXT],
    ),
    (
        Name::OpenMake,
        "INSERT INTO {s}.bank(name, kind, top, mark) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
        &[Type::TEXT, Type::INT2, Type::INT8, Type::INT8],
    ),
    (
        Name::ResizeBank,
        "UPDATE {s}.bank SET top = $2 WHERE id = $1 RETURNING kind, name",
        &[Type::INT8, Type::INT8],
    ),
    (
        Name::ResizeBury,
        "WITH d AS (UPDATE {s}.item SET state = 3, claim = NULL, claim_long = NULL WHERE bank = $1 AND state = 0
           AND key >= $2 RETURNING 1),
         counted AS (INSERT INTO {s}.tally SELECT $1, -count(*), 0, 0, count(*), 0 FROM d HAVING count(*) > 0)
         SELECT count(*) FROM d",
        &[Type::INT8, Type::BYTEA],
    ),
    (
        Name::ResizeRevive,
        "WITH d AS (UPDATE {s}.item SET state = 0, ready_at = {now} WHERE bank = $2 AND state = 3 AND key < $3 RETURNING 1),
         counted AS (INSERT INTO {s}.tally SELECT $2, count(*), 0, 0, -count(*), 0 FROM d HAVING count(*) > 0)
         SELECT count(*) FROM d",
        &[Type::INT8, Type::INT8, Type::BYTEA],
    ),
    (
        Name::Of,
        "SELECT {now}, {cols} FROM {s}.claim c CROSS JOIN LATERAL unnest(c.items) WITH ORDINALITY u(item, nth)
         CROSS JOIN LATERAL (SELECT * FROM {s}.item n WHERE n.id = u.item AND n.claim = c.id AND n.bank = $2 LIMIT 1) i
         WHERE c.bank = $2 AND c.id = $3 ORDER BY u.nth",
        &[Type::INT8, Type::INT8, Type::BYTEA],
    ),
    // Walks the table by its primary key: another index would mean a sort for each page.
    (
        Name::Page,
        "SELECT {now}, {cols} FROM {s}.item i WHERE i.bank = $2 AND i.id > $3 AND i.state = ANY ($4)
           AND (i.gone_at IS NULL OR i.gone_at > {now}) ORDER BY i.id LIMIT $5",
        &[Type::INT8, Type::INT8, Type::INT8, Type::INT2_ARRAY, Type::INT8],
    ),
    (
        Name::Counts,
        "SELECT coalesce(sum(y.free), 0)::bigint, coalesce(sum(y.leased), 0)::bigint, coalesce(sum(y.given), 0)::bigint,
           coalesce(sum(y.dead), 0)::bigint, coalesce(sum(y.put), 0)::bigint, b.top, b.mark,
           (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {s}.token)
         FROM {s}.bank b LEFT JOIN {s}.tally y ON y.bank = b.id WHERE b.id = $1 GROUP BY b.id",
        &[Type::INT8],
    ),
];

/// Folds a bank's tally into one row. What another process is folding is left to it.
pub const FOLD: &str = "WITH d AS (
       DELETE FROM {s}.tally y WHERE y.ctid = ANY (ARRAY(SELECT n.ctid FROM {s}.tally n WHERE n.bank = $1
         LIMIT 10000 FOR UPDATE SKIP LOCKED)) RETURNING y.free, y.leased, y.given, y.dead, y.put)
     INSERT INTO {s}.tally(bank, free, leased, given, dead, put)
     SELECT $1, sum(free), sum(leased), sum(given), sum(dead), sum(put) FROM d HAVING count(*) > 0";

/// Deletes some of the answers that are no longer kept.
pub const CLEAN_SETTLED: &str = "DELETE FROM {s}.settled d USING (
       SELECT n.bank, n.token, n.call FROM {s}.settled n WHERE n.until <= {now} LIMIT 1000 FOR UPDATE SKIP LOCKED) o
     WHERE d.bank = o.bank AND d.token = o.token AND d.call = o.call";

/// Deletes some of the items that are no longer kept, with the claims that got them.
pub const CLEAN_GONE: &str = "WITH gone AS (
       DELETE FROM {s}.item i USING (
         SELECT n.id FROM {s}.item n WHERE n.gone_at <= {now} ORDER BY n.gone_at LIMIT 1000 FOR UPDATE SKIP LOCKED) o
       WHERE i.id = o.id RETURNING i.bank, i.state, i.claim),
     forgotten AS (
       DELETE FROM {s}.claim c USING gone g CROSS JOIN LATERAL (
         SELECT n.bank, n.id FROM {s}.claim n WHERE n.bank = g.bank AND n.id = g.claim FOR UPDATE SKIP LOCKED) l
       WHERE c.bank = l.bank AND c.id = l.id)
     INSERT INTO {s}.tally(bank, free, leased, given, dead, put)
     SELECT bank, 0, 0, -count(*) FILTER (WHERE state = 2), 0, 0 FROM gone GROUP BY bank";

/// The text of one of these.
pub fn text(template: &str, schema: &str) -> String {
    template.replace("{now}", NOW).replace("{s}", schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_stands_at_its_name() {
        for (place, (name, _, types)) in TEXTS.iter().enumerate() {
            assert_eq!(*name as usize, place, "{name:?}");
            assert!(!types.is_empty());
        }
        assert_eq!(TEXTS.len(), Name::Counts as usize + 1);
    }

    #[test]
    fn every_parameter_has_a_type() {
        for (name, text, types) in TEXTS {
            for number in 1..=types.len() {
                let used = text.contains(&format!("${number}")) || (number == 1 && text.contains("{now}"));
                assert!(used, "{name:?} has no ${number}");
            }
            assert!(!text.contains(&format!("${}", types.len() + 1)), "{name:?}");
        }
    }
}
