//! Reads, on the connection that also listens; each sees what was committed before it was asked.

use super::failure::Trouble;
use super::rows::{encode, record};
use super::session::{Session, one};
use super::statements::Name;
use super::take::Context;
use crate::core::error::{Error, Result};
use crate::core::model::{Counts, Found, Query, Row, State};

fn rows(found: &[tokio_postgres::Row], context: &Context) -> std::result::Result<Vec<Row>, Trouble> {
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let now = row.get(0);
        let found = record(row, 1, now).map_err(|error: Error| Trouble::Refused(context.at(error)))?;
        // Kept only for repeats of its last call: nobody sees it.
        if !found.is_gone(now) {
            rows.push(found.row);
        }
    }
    Ok(rows)
}

/// Answers a query.
pub async fn answer(
    session: &Session,
    context: &Context,
    bank: i64,
    query: &Query,
) -> std::result::Result<Found, Trouble> {
    let found = |rows: Vec<Row>| Found { rows, ..Found::default() };
    match query {
        Query::Get(key) => {
            let keys = vec![encode(key).index];
            // No call has the number 0: none is left out.
            let read = session.rows(Name::PutBefore, &[&context.clock, &bank, &keys, &0_i64]).await?;
            rows(&read, context).map(found)
        }
        Query::Of(id) => {
            let read = session.rows(Name::Of, &[&context.clock, &bank, &encode(id).index]).await?;
            rows(&read, context).map(found)
        }
        Query::Page { state, after, limit } => {
            let states: Vec<i16> = match state {
                Some(state) => vec![*state as i16],
                None => vec![0, 1, 2, 3],
            };
            let limit = i64::from(*limit);
            let read = session.rows(Name::Page, &[&context.clock, &bank, after, &states, &limit]).await?;
            rows(&read, context).map(found)
        }
        Query::Counts => counts(session, context, bank).await.map(|counts| Found { counts, ..Found::default() }),
        Query::Verify => {
            let looked = verify(session, context, bank).await;
            session.rollback().await;
            looked.map(|(counts, faults)| Found { rows: Vec::new(), counts, faults })
        }
    }
}

async fn counts(session: &Session, context: &Context, bank: i64) -> std::result::Result<Counts, Trouble> {
    let found = session.rows(Name::Counts, &[&bank]).await?;
    let Some(row) = found.first() else {
        return Err(Trouble::Refused(Error::Moved { path: context.place.clone() }));
    };
    Ok(Counts {
        free: row.get(0),
        leased: row.get(1),
        given: row.get(2),
        dead: row.get(3),
        put: row.get(4),
        top: row.get(5),
        mark: row.get(6),
        token: row.get(7),
    })
}

/// The invariants of a bank, looked up one by one, in one snapshot.
async fn verify(
    session: &Session,
    context: &Context,
    bank: i64,
) -> std::result::Result<(Counts, Vec<String>), Trouble> {
    let schema = &session.target().schema;
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let counts = counts(session, context, bank).await?;
    let mut faults = Vec::new();
    for (state, counted) in [
        (State::Free, counts.free),
        (State::Leased, counts.leased),
        (State::Given, counts.given),
        (State::Dead, counts.dead),
    ] {
        let text = format!("SELECT count(*) FROM {schema}.item WHERE bank = $1 AND state = $2");
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), _); 2] =
            [(&bank, tokio_postgres::types::Type::INT8), (&(state as i16), tokio_postgres::types::Type::INT2)];
        let there: i64 = one(&session.run_typed(&text, &values).await?, 0).unwrap_or(-1);
        if there != counted {
            faults.push(format!("the counter of {} items says {counted}, and there are {there}", state.name()));
        }
    }
    for (what, text) in INVARIANTS {
        let text = format!("SELECT count(*) FROM ({}) x", text.replace("{s}", schema));
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), _); 1] = [(&bank, tokio_postgres::types::Type::INT8)];
        let found: i64 = one(&session.run_typed(&text, &values).await?, 0).unwrap_or(-1);
        if found != 0 {
            faults.push(format!("{found} {what}"));
        }
    }
    Ok((counts, faults))
}

const INVARIANTS: &[(&str, &str)] = &[
    (
        "items have a token that was not handed out yet",
        "SELECT 1 FROM {s}.item WHERE bank = $1 AND token > (SELECT last_value FROM {s}.token)",
    ),
    (
        "tokens stand on two items",
        "SELECT token FROM {s}.item WHERE bank = $1 AND token > 0 GROUP BY token HAVING count(*) > 1",
    ),
    (
        "claim ids hold more items than they asked for",
        "SELECT i.claim FROM {s}.item i LEFT JOIN {s}.claim c ON c.bank = i.bank AND c.id = i.claim \
         WHERE i.bank = $1 AND i.claim IS NOT NULL GROUP BY i.claim HAVING count(*) > coalesce(max(c.n), 0)",
    ),
    (
        "items have a claim id that does not know of them",
        "SELECT 1 FROM {s}.item i WHERE i.bank = $1 AND i.claim IS NOT NULL AND NOT EXISTS (\
         SELECT FROM {s}.claim c WHERE c.bank = i.bank AND c.id = i.claim AND i.id = ANY (c.items))",
    ),
    (
        "items that nobody holds have a claim id",
        "SELECT 1 FROM {s}.item WHERE bank = $1 AND state IN (0, 3, 4) AND claim IS NOT NULL",
    ),
    ("held items have no claim id", "SELECT 1 FROM {s}.item WHERE bank = $1 AND state IN (1, 2) AND claim IS NULL"),
    (
        "ids are out of the range of those that were ever given",
        "SELECT 1 FROM {s}.item i JOIN {s}.bank b ON b.id = i.bank WHERE i.bank = $1 AND b.kind > 0 AND (\
         get_byte(i.key, 0) <> 105 OR i.key < 'i'::bytea || int8send(0::bigint # (-9223372036854775807 - 1)) \
         OR i.key >= 'i'::bytea || int8send(b.mark # (-9223372036854775807 - 1)))",
    ),
];

/// What a read that failed is answered with.
pub fn failed(trouble: Trouble, place: &str) -> Result<Found> {
    Err(match trouble {
        Trouble::Refused(error) => error,
        Trouble::Lost(why) => Error::Unreachable { path: place.to_owned(), why },
        Trouble::Again => Error::Refused { path: place.to_owned(), why: "a lock was not had in time".into() },
    })
}
