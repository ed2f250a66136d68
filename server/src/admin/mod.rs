//! An operator's tools for the database: look at it, check it, tidy it, copy it and put copies back.
//!
//! | module | what lives there |
//! |---|---|
//! | [`info`] | what is in a database, and how large it is |
//! | [`check`] | whether a server could work with it, and what to do when not |
//! | [`timescale`] | the extension, hypertables, chunks |
//! | [`optimize`] | plain tables become hypertables while stations push |
//! | [`vacuum`] | room given back, statistics renewed |
//! | [`backup`] | copies, made and checked; series of them; put back |

pub mod backup;
pub mod check;
pub mod info;
pub mod optimize;
pub mod timescale;
pub mod vacuum;

use std::path::Path;

use anyhow::bail;
use rusqlite::Connection;
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::quote;
use tokio_postgres::Client;

use crate::database::{DatabaseUrl, PostgresUrl};
use crate::stores::{postgres, sqlite};

/// Opens the file of an embedded database that must be there: looking at one does not make it.
///
/// # Errors
/// When it is not there or cannot be opened.
pub fn open_file(path: &Path) -> anyhow::Result<Connection> {
    if !path.exists() {
        bail!(
            "there is no database file {}; `tidemark-server migrate up` or `serve` makes it, and --database names another",
            path.display()
        );
    }
    sqlite::connect(path)
}

/// Connects to PostgreSQL with settings that print values alike everywhere.
///
/// # Errors
/// When the server does not answer or refuses; the password is not shown.
pub async fn connect(config: &PostgresUrl) -> anyhow::Result<Client> {
    Ok(connect_and_tell(config).await?.0)
}

/// [`connect`], and how the way there is protected.
///
/// # Errors
/// Those of [`connect`].
pub async fn connect_and_tell(config: &PostgresUrl) -> anyhow::Result<(Client, postgres::Leg)> {
    let (client, leg) = postgres::connect_and_tell(config).await?;
    let settings = "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; \
        SET bytea_output = 'hex'; SET jit = off";
    client.batch_execute(settings).await.map_err(|error| failed("prepare the session", &error))?;
    Ok((client, leg))
}

/// An error of PostgreSQL with what was being done.
pub(crate) fn failed(doing: &str, error: &tokio_postgres::Error) -> anyhow::Error {
    anyhow::anyhow!("cannot {doing}: {}", postgres::message_of(error))
}

/// A table of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// PostgreSQL's schema; nothing in an embedded database.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

impl TableName {
    /// As SQL names it, quoted.
    #[must_use]
    pub fn sql(&self) -> String {
        let quoted = |name: &str| quote(&name.replace('"', "\"\""));
        self.schema
            .as_deref()
            .map_or_else(|| quoted(&self.table), |schema| format!("{}.{}", quoted(schema), quoted(&self.table)))
    }

    /// As people read it.
    #[must_use]
    pub fn shown(&self) -> String {
        self.schema.as_deref().map_or_else(|| self.table.clone(), |schema| format!("{schema}.{}", self.table))
    }
}

/// Tidemark's own tables and those of the schema, as far as they are there.
async fn postgres_tables(client: &Client, schema: Option<&Schema>) -> anyhow::Result<Vec<TableName>> {
    let namespaces: Vec<&str> = std::iter::once("tidemark").chain(schema.map(Schema::name)).collect();
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY ($1) ORDER BY n.nspname = 'tidemark', c.relname";
    let rows = client.query(sql, &[&namespaces]).await.map_err(|error| failed("list the tables", &error))?;
    let there = rows.iter().map(|row| TableName { schema: Some(row.get(0)), table: row.get(1) });
    let wanted = |name: &TableName| {
        name.schema.as_deref() == Some("tidemark") || schema.is_some_and(|schema| schema.table(&name.table).is_some())
    };
    Ok(there.filter(wanted).collect())
}

/// The same of an embedded database.
fn sqlite_tables(connection: &Connection) -> rusqlite::Result<Vec<TableName>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'
        ORDER BY name LIKE 'tidemark^_%' ESCAPE '^', name";
    let mut select = connection.prepare(sql)?;
    let tables = select.query_map([], |row| Ok(TableName { schema: None, table: row.get(0)? }))?;
    tables.collect()
}

/// The URL names a database that can be looked at by a file's name.
#[must_use]
pub fn subject(database: &DatabaseUrl) -> String {
    match database {
        DatabaseUrl::Sqlite(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        DatabaseUrl::Postgres(config) => config.database().unwrap_or("postgres").to_owned(),
    }
}
