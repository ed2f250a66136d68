//! A connection to a cluster for tests.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use tokio_postgres::{NoTls, Row, types::ToSql};

use super::roles::{ADMIN, OWNER, PASSWORD, TESTER, TESTER_PASSWORD};

/// A connection for tests, without async.
pub struct PgClient {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl PgClient {
    pub(super) fn connect(port: u16, user: &str, database: &str) -> Result<Self> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user(user).password(PASSWORD).dbname(database);
        Self::connect_with(&config)
    }

    /// Connects to the database of a URL.
    ///
    /// # Errors
    /// When the URL is not one, or the server cannot be reached.
    pub fn connect_url(url: &str) -> Result<Self> {
        // The driver's message on a bad URL does not repeat it.
        Self::connect_with(&url.parse().context("not a URL of a PostgreSQL database")?)
    }

    fn connect_with(config: &tokio_postgres::Config) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            // Ends with the runtime, which ends with the client.
            tokio::spawn(connection);
            anyhow::Ok(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// Rows of a statement.
    ///
    /// # Errors
    /// The database's.
    pub fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.runtime.block_on(self.client.query(sql, values)).with_context(|| sql.to_owned())
    }

    /// The first column of the only row of a statement.
    ///
    /// # Errors
    /// The database's; or when the value has another type.
    pub fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> Result<T> {
        let row = self.runtime.block_on(self.client.query_one(sql, &[])).with_context(|| sql.to_owned())?;
        row.try_get(0).with_context(|| sql.to_owned())
    }

    /// Runs a statement and returns how many rows it concerned.
    ///
    /// # Errors
    /// The database's.
    pub fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        self.runtime.block_on(self.client.execute(sql, values)).with_context(|| sql.to_owned())
    }

    /// Runs several statements.
    ///
    /// # Errors
    /// The database's.
    pub fn batch(&self, sql: &str) -> Result<()> {
        self.runtime.block_on(self.client.batch_execute(sql)).with_context(|| sql.to_owned())
    }
}

impl fmt::Debug for PgClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgClient")
    }
}

/// Makes the roles that tests use.
pub(super) fn make_roles(port: u16) -> Result<()> {
    // In a thread of its own: the caller may be inside a runtime, where nothing may block on another.
    let made = std::thread::spawn(move || {
        PgClient::connect(port, ADMIN, "postgres")?.batch(&format!(
            "CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE {TESTER} SUPERUSER LOGIN PASSWORD '{TESTER_PASSWORD}'"
        ))
    });
    made.join().map_err(|_| anyhow!("BUG: making the roles of a cluster panicked"))?
}
