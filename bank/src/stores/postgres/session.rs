//! One connection and its statements.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row};

use super::address::Address;
use super::failure::{Trouble, explain, judge};
use super::statements::{self, Name, Statement};
use super::tls::Tls;
use crate::core::error::{Error, Result};
use crate::core::sync::Mutex;

/// What every statement runs with. Plans by index whatever the statistics say, and once for all parameters: a new table has
/// no statistics, and the statements are written for one plan each. No wait for a lock holds up the other callers for
/// long, and a client that is stopped inside a transaction loses it.
const SETTINGS: &[(&str, &str)] = &[
    ("lock_timeout", "'200ms'"),
    ("idle_in_transaction_session_timeout", "'15s'"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// How long one statement may take before the connection counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where connections go and how.
pub struct Target {
    pub address: Address,
    pub tls: Tls,
    pub statements: Vec<Statement>,
    /// `synchronous_commit` may be off.
    pub fast: bool,
    pub schema: String,
}

impl Target {
    pub fn new(address: Address, fast: bool) -> Result<Target> {
        let tls = Tls::new(&address)?;
        let schema = address.quoted_schema();
        Ok(Target { tls, statements: statements::all(&schema), fast, schema, address })
    }

    pub fn place(&self) -> &str {
        &self.address.place
    }
}

type Heard = Box<dyn FnMut(&str) + Send>;
type Ends = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A connection. Dropping it ends it.
pub struct Session {
    pub client: Client,
    target: Arc<Target>,
    driver: JoinHandle<()>,
    /// Statements that the server keeps; None behind a pooler, where another connection serves the next transaction.
    prepared: Option<Vec<tokio_postgres::Statement>>,
    begin: String,
    ends: Ends,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    /// Connects. `heard` gets what comes by NOTIFY.
    pub async fn connect(target: &Arc<Target>, mut heard: Option<Heard>) -> Result<Session> {
        let fail = |error: tokio_postgres::Error| explain(&error, target.place());
        let config = &target.address.config;
        let limit = config.get_connect_timeout().copied().unwrap_or(PATIENCE);
        let connecting = tokio::time::timeout(limit, config.connect(target.tls.clone())).await;
        let (client, mut connection) = match connecting {
            Ok(connected) => connected.map_err(fail)?,
            Err(_) => {
                let why = format!("no answer came in {} s", limit.as_secs());
                return Err(Error::Unreachable { path: target.place().to_owned(), why });
            }
        };
        let ends = Ends::default();
        let told = ends.clone();
        let driver = tokio::spawn(async move {
            let messages = std::future::poll_fn(move |context| {
                loop {
                    match connection.poll_message(context) {
                        Poll::Ready(Some(Ok(AsyncMessage::Notification(said)))) => {
                            if let Some(heard) = &mut heard {
                                heard(said.payload());
                            }
                        }
                        Poll::Ready(Some(Ok(_))) => {}
                        // Who waits for an answer gets the error from its own channel.
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            messages.await;
            let ended = told.lock().take();
            if let Some(ended) = ended {
                ended();
            }
        });
        let begin = String::new();
        Ok(Session { client, target: target.clone(), driver, prepared: None, begin, ends })
    }

    /// What is called when the connection ends by itself.
    pub fn when_it_ends(&mut self, ended: impl FnOnce() + Send + 'static) {
        *self.ends.lock() = Some(Box::new(ended));
    }

    /// Whether the server would lose what was answered: asked once a connection.
    async fn keeps_commits(&self) -> Result<bool> {
        let rows = self.client.simple_query("SHOW synchronous_commit").await;
        let rows = rows.map_err(|error| explain(&error, self.target.place()))?;
        Ok(!rows
            .iter()
            .any(|row| matches!(row, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("off"))))
    }

    /// Makes it ready for statements. `pooled`: nothing that lasts longer than a transaction.
    pub async fn set_up(&mut self, pooled: bool) -> Result<()> {
        let fail = |error: tokio_postgres::Error| explain(&error, self.target.place());
        let mut settings: Vec<(&str, &str)> = SETTINGS.to_vec();
        if !self.target.fast && !self.keeps_commits().await? {
            settings.push(("synchronous_commit", "on"));
        }
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        if pooled {
            let local: Vec<String> =
                settings.iter().map(|(name, value)| format!("SET LOCAL {name} = {value}")).collect();
            self.begin = format!("{begin}; {}", local.join("; "));
            return Ok(());
        }
        settings.push(("default_transaction_isolation", "'read committed'"));
        let set: Vec<String> = settings.iter().map(|(name, value)| format!("SET {name} = {value}")).collect();
        self.client.batch_execute(&set.join("; ")).await.map_err(fail)?;
        let statements = &self.target.statements;
        let preparing = statements.iter().map(|found| self.client.prepare_typed(&found.text, found.types));
        let prepared = futures_util::future::join_all(preparing).await;
        let prepared = prepared.into_iter().collect::<std::result::Result<_, _>>().map_err(fail)?;
        self.prepared = Some(prepared);
        self.begin = begin.to_owned();
        Ok(())
    }

    pub fn is_pooled(&self) -> bool {
        self.prepared.is_none()
    }

    /// The rows of a statement. It is sent when this is first polled, so that statements that are awaited together are one
    /// journey.
    pub async fn rows(&self, name: Name, values: &[&(dyn ToSql + Sync)]) -> std::result::Result<Vec<Row>, Trouble> {
        let sent = async {
            match &self.prepared {
                Some(prepared) => self.client.query(&prepared[name as usize], values).await,
                None => {
                    let statement = &self.target.statements[name as usize];
                    let typed: Vec<_> = values.iter().copied().zip(statement.types.iter().cloned()).collect();
                    self.client.query_typed(&statement.text, &typed).await
                }
            }
        };
        self.judged(sent).await
    }

    async fn judged<T>(
        &self,
        sent: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    ) -> std::result::Result<T, Trouble> {
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(judge(&error, self.target.place())),
            Err(_) => Err(Trouble::Lost(format!("no answer came in {} s", PATIENCE.as_secs()))),
        }
    }

    /// Plain text, for what has no parameters.
    pub async fn run(&self, text: &str) -> std::result::Result<(), Trouble> {
        self.judged(self.client.batch_execute(text)).await
    }

    pub async fn begin(&self) -> std::result::Result<(), Trouble> {
        self.run(&self.begin).await
    }

    pub async fn commit(&self) -> std::result::Result<(), Trouble> {
        self.run("COMMIT").await
    }

    /// Ends a transaction that is not to count. A connection that does not even do that is lost, which the next call sees.
    pub async fn rollback(&self) {
        let _ = self.run("ROLLBACK").await;
    }

    /// Statements outside of the list, with typed parameters.
    pub async fn run_typed(
        &self,
        text: &str,
        values: &[(&(dyn ToSql + Sync), tokio_postgres::types::Type)],
    ) -> std::result::Result<Vec<Row>, Trouble> {
        self.judged(self.client.query_typed(text, values)).await
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn place(&self) -> &str {
        self.target.place()
    }
}

/// A single value of a single row.
pub fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(rows: &[Row], column: usize) -> Option<T> {
    rows.first().and_then(|row| row.try_get(column).ok())
}

/// Whether a pooler gives the transactions of one connection to different ones of its own: then nothing lasts longer than a
/// transaction, and no notification ever comes. `heard` resolves when what `say` sent has come.
pub async fn is_behind_a_pooler(
    reader: &Session,
    writer: &Session,
    channel: &str,
    heard: impl Future<Output = ()>,
    word: &str,
) -> Result<bool> {
    let fail = |error: tokio_postgres::Error| explain(&error, writer.place());
    let number = |rows: Vec<tokio_postgres::SimpleQueryMessage>| {
        rows.iter().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i64>().ok(),
            _ => None,
        })
    };
    let ask = "SELECT pg_backend_pid()";
    let first = number(reader.client.simple_query(ask).await.map_err(fail)?);
    // Inside a transaction it is kept from others: if both connections were served by one, the reader now gets another.
    let other = number(writer.client.simple_query(&format!("BEGIN; {ask}")).await.map_err(fail)?);
    let again = number(reader.client.simple_query(ask).await.map_err(fail)?);
    writer.client.batch_execute("COMMIT").await.map_err(fail)?;
    if first.is_none() || first == other || first != again {
        return Ok(true);
    }
    let quoted = format!("\"{}\"", channel.replace('"', "\"\""));
    reader.client.batch_execute(&format!("LISTEN {quoted}")).await.map_err(fail)?;
    let channel = channel.replace('\'', "''");
    writer.client.batch_execute(&format!("SELECT pg_notify('{channel}', '{word}')")).await.map_err(fail)?;
    Ok(tokio::time::timeout(Duration::from_secs(2), heard).await.is_err())
}

/// An error of a call that nobody answered.
pub fn unknown(place: &str, why: &str) -> Error {
    Error::Io { path: place.to_owned(), why: format!("the connection was lost ({why})") }.unsure()
}
