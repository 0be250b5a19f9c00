//! Where a database is: the address as libpq reads it, and what this store adds to it (`schema`).

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::core::error::{Error, Result};

/// The schema that holds a bank's tables if the address does not say.
pub const SCHEMA: &str = "opool";

/// How the server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Not at all: encryption only, as libpq has it for `prefer` and `require`.
    Nothing,
    /// It must come from a trusted authority.
    Chain,
    /// And it must be for this host.
    ChainAndName,
}

#[derive(Debug, Clone)]
pub struct Address {
    pub config: Config,
    pub schema: String,
    pub verify: Verify,
    /// A file of trusted certificates; None: those of the system.
    pub roots: Option<String>,
    /// For messages, without the password.
    pub place: String,
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn place(config: &Config, schema: &str) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(place, host)| {
            let ports = config.get_ports();
            let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => path.display().to_string(),
            }
        })
        .collect();
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgresql://{user}{}/{database}?schema={schema}", hosts.join(","))
}

impl Address {
    /// Reads an address, and the environment (`PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`) for what it
    /// leaves out.
    pub fn parse(text: &str) -> Result<Address> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut kept = Vec::new();
        let mut schema = SCHEMA.to_owned();
        let mut mode = "prefer".to_owned();
        let mut roots = None;
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "schema" => schema = decoded(value),
                "sslmode" => mode = decoded(value),
                "sslrootcert" => roots = Some(decoded(value)),
                _ => kept.push(part),
            }
        }
        if schema.is_empty() || schema.len() > 63 || schema.contains('\0') {
            return Err(Error::Invalid(format!("schema must be a name of 1 to 63 bytes, not {schema:?}")));
        }
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        // The parser's message names the part that it refuses; the address itself may hold a password.
        let mut config = Config::from_str(&format!("{base}{query}")).map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            Error::Invalid(format!(
                "this is no address of a PostgreSQL database ({error}{}{why})",
                if why.is_empty() { "" } else { ": " }
            ))
        })?;
        let system = roots.as_deref() == Some("system");
        let (ssl, verify) = match mode.as_str() {
            "disable" => (SslMode::Disable, Verify::Nothing),
            "allow" | "prefer" => (SslMode::Prefer, Verify::Nothing),
            // As libpq: with a file of authorities it is checked all the same.
            "require" if roots.is_some() && !system => (SslMode::Require, Verify::Chain),
            "require" => (SslMode::Require, Verify::Nothing),
            "verify-ca" => (SslMode::Require, Verify::Chain),
            "verify-full" => (SslMode::Require, Verify::ChainAndName),
            other => {
                let message =
                    format!("sslmode must be disable, allow, prefer, require, verify-ca or verify-full, not {other:?}");
                return Err(Error::Invalid(message));
            }
        };
        Self::complete(&mut config)?;
        // As libpq: a socket of this machine is not encrypted.
        let sockets = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(if sockets && config.get_hostaddrs().is_empty() { SslMode::Disable } else { ssl });
        let place = place(&config, &schema);
        Ok(Address { config, schema, verify, roots: roots.filter(|_| !system), place })
    }

    fn complete(config: &mut Config) -> Result<()> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host(environment("PGHOST").unwrap_or_else(|| "localhost".into()));
        }
        if config.get_ports().is_empty()
            && let Some(port) = environment("PGPORT")
        {
            let port = port.parse().map_err(|_| Error::Invalid(format!("PGPORT must be a number, not {port:?}")))?;
            config.port(port);
        }
        if config.get_user().is_none()
            && let Some(user) = environment("PGUSER")
        {
            config.user(user);
        }
        if config.get_password().is_none()
            && let Some(password) = environment("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_dbname().is_none()
            && let Some(name) = environment("PGDATABASE")
        {
            config.dbname(name);
        }
        if config.get_application_name().is_none() {
            config.application_name("opool-bank");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        // A server that vanished without a word is noticed by these.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(20));
        }
        config.keepalives_idle(Duration::from_secs(15));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        Ok(())
    }

    /// The schema as it stands in statements.
    pub fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }

    /// What processes wake each other on.
    pub fn channel(&self) -> String {
        let mut name = format!("opool:{}", self.schema);
        let mut end = name.len().min(63);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_in_no_message() {
        let address =
            Address::parse("postgresql://me:secret@db.example:5433/shop?schema=mine&sslmode=require").unwrap();
        assert_eq!(address.place, "postgresql://me@db.example:5433/shop?schema=mine");
        assert_eq!((address.verify, address.config.get_ssl_mode()), (Verify::Nothing, SslMode::Require));
        let refused = Address::parse("postgresql://me:secret@db.example/shop?nonsense=1").unwrap_err().to_string();
        assert!(refused.contains("nonsense") && !refused.contains("secret"), "{refused}");
    }

    #[test]
    fn modes_of_tls_are_those_of_libpq() {
        let verify = |query: &str| Address::parse(&format!("postgres://u@h/d?{query}")).map(|found| found.verify);
        assert_eq!(verify("sslmode=require&sslrootcert=/x.pem"), Ok(Verify::Chain));
        assert_eq!(verify("sslmode=verify-ca"), Ok(Verify::Chain));
        assert_eq!(verify("sslmode=verify-full&sslrootcert=system"), Ok(Verify::ChainAndName));
        assert!(matches!(verify("sslmode=always"), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_socket_in_the_query_and_a_quoted_schema() {
        let address = Address::parse("postgresql:///d?host=/tmp/x%20y&user=u&schema=a%22b").unwrap();
        assert_eq!(address.quoted_schema(), "\"a\"\"b\"");
        assert_eq!(address.place, "postgresql://u@/tmp/x y/d?schema=a\"b");
    }
}
