//! The contents of a database, and its size.

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use tidemark_core::schema::Schema;
use tidemark_migrations::Status;
use tokio_postgres::Client;

use super::timescale::{self, Extension};
use super::{TableName, connect_and_tell, failed, open_file, postgres_tables, sqlite_tables};
use crate::database::DatabaseUrl;

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// `sqlite` or `postgresql`.
    pub kind: &'static str,
    /// Its URL, without a password.
    pub database: String,
    /// The version of SQLite or of the PostgreSQL server.
    pub version: String,
    /// How the way to a PostgreSQL server is protected.
    pub connection: Option<String>,
    /// TimescaleDB, where it is created.
    pub timescaledb: Option<Extension>,
    /// Size on disk, bytes; of an embedded database, with its write-ahead log.
    pub bytes: u64,
    /// The schema it was migrated to.
    pub schema: Option<SchemaInfo>,
    /// Migrations that were applied.
    pub migrations_applied: Vec<String>,
    /// Migrations that this program would apply.
    pub migrations_pending: Vec<String>,
    /// The tables of the schema.
    pub tables: Vec<TableInfo>,
    /// Tidemark's own tables.
    pub own_tables: Vec<TableInfo>,
    /// Its stations; nothing before the first migration.
    pub stations: Option<Stations>,
    /// Rejected changes that wait for somebody.
    pub open_rejects: u64,
}

/// A schema, shortly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Hash of its canonical form, hex.
    pub fingerprint: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// Its rows, counted.
    pub rows: u64,
    /// Its size with indexes and chunks, where the database can tell.
    pub bytes: Option<u64>,
    /// Its chunks, when it is a hypertable.
    pub chunks: Option<u64>,
}

/// The number of stations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stations {
    /// Joined, and not revoked.
    pub joined: u64,
    /// Invited, and not joined yet.
    pub invited: u64,
    /// Revoked or replaced.
    pub revoked: u64,
}

/// Looks at a database. `schema` is the one to compare migrations with: a file's, or the one the database was
/// migrated to.
///
/// # Errors
/// When it cannot be opened, or does not answer; never shows a password.
pub async fn info(database: &DatabaseUrl, recorded: Option<&Schema>, schema: &Schema) -> anyhow::Result<Info> {
    let mut info = match database {
        DatabaseUrl::Sqlite(path) => {
            let (path, schema, recorded) = (path.clone(), schema.clone(), recorded.cloned());
            let look = move || of_file(&mut open_file(&path)?, &path, recorded.as_ref(), &schema);
            tokio::task::spawn_blocking(look).await??
        }
        DatabaseUrl::Postgres(config) => {
            let (mut client, leg) = connect_and_tell(config).await?;
            let info = of_postgres(&mut client, recorded, schema).await?;
            Info { connection: Some(leg.to_string()), ..info }
        }
    };
    info.database = database.to_string();
    info.schema = recorded.map(|schema| SchemaInfo {
        name: schema.name().to_owned(),
        version: schema.version(),
        fingerprint: schema.fingerprint().to_hex(),
    });
    Ok(info)
}

fn empty(kind: &'static str, status: &Status) -> Info {
    Info {
        kind,
        database: String::new(),
        version: String::new(),
        connection: None,
        timescaledb: None,
        bytes: 0,
        schema: None,
        migrations_applied: status.applied.iter().map(|step| step.name.clone()).collect(),
        migrations_pending: status.pending.iter().map(|step| step.name.clone()).collect(),
        tables: Vec::new(),
        own_tables: Vec::new(),
        stations: None,
        open_rejects: 0,
    }
}

const STATIONS: &str = "SELECT coalesce(sum(CASE WHEN revoked_at IS NULL AND number IS NOT NULL THEN 1 ELSE 0 END), 0),
    coalesce(sum(CASE WHEN revoked_at IS NULL AND number IS NULL THEN 1 ELSE 0 END), 0),
    coalesce(sum(CASE WHEN revoked_at IS NOT NULL THEN 1 ELSE 0 END), 0) FROM";

fn of_file(
    connection: &mut Connection,
    path: &std::path::Path,
    recorded: Option<&Schema>,
    schema: &Schema,
) -> anyhow::Result<Info> {
    let status = tidemark_migrations::sqlite::status(connection, schema)?;
    let mut info = empty("sqlite", &status);
    info.version = rusqlite::version().to_owned();
    let size = |suffix: &str| {
        let mut path = path.as_os_str().to_owned();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |data| data.len())
    };
    info.bytes = size("") + size("-wal");
    for name in sqlite_tables(connection)? {
        let sql = format!("SELECT count(*) FROM {}", name.sql());
        let rows = connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs();
        let sql = "SELECT sum(pgsize) FROM dbstat WHERE name IN
            (SELECT name FROM sqlite_schema WHERE tbl_name = ?1 AND type IN ('table', 'index'))";
        // Not every SQLite is built with it.
        let bytes = connection.query_row(sql, [&name.table], |row| row.get::<_, Option<i64>>(0)).optional();
        let bytes = bytes.ok().flatten().flatten().map(i64::unsigned_abs);
        let own = name.table.starts_with("tidemark_");
        let table = TableInfo { name: name.table, rows, bytes, chunks: None };
        if own {
            info.own_tables.push(table);
        } else if recorded.is_some_and(|schema| schema.table(&table.name).is_some()) {
            info.tables.push(table);
        }
    }
    if info.own_tables.iter().any(|table| table.name == "tidemark_rejects") {
        let count = |row: &rusqlite::Row<'_>, at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
        info.stations = Some(connection.query_row(&format!("{STATIONS} tidemark_station"), [], |row| {
            Ok(Stations { joined: count(row, 0)?, invited: count(row, 1)?, revoked: count(row, 2)? })
        })?);
        // A database of the first migration has no state yet: every reject is open.
        let open =
            connection.query_row("SELECT count(*) FROM tidemark_rejects WHERE state = 'open'", [], |row| count(row, 0));
        let all = || connection.query_row("SELECT count(*) FROM tidemark_rejects", [], |row| count(row, 0));
        info.open_rejects = open.or_else(|_| all())?;
    }
    Ok(info)
}

async fn of_postgres(client: &mut Client, recorded: Option<&Schema>, schema: &Schema) -> anyhow::Result<Info> {
    let status = tidemark_migrations::postgres::status(client, schema).await?;
    let client = &*client;
    let mut info = empty("postgresql", &status);
    let doing = |error| failed("look at the database", &error);
    let sql = "SELECT current_setting('server_version'), pg_catalog.pg_database_size(current_database())";
    let row = client.query_one(sql, &[]).await.map_err(doing)?;
    (info.version, info.bytes) = (row.get(0), row.get::<_, i64>(1).unsigned_abs());
    info.timescaledb = timescale::extension(client).await?;
    let hypertables = match &info.timescaledb {
        Some(extension) => timescale::hypertables(client, extension).await?,
        None => Vec::new(),
    };
    for name in postgres_tables(client, recorded).await? {
        let rows = count(client, &name).await?;
        let hypertable = hypertables
            .iter()
            .find(|hypertable| Some(&hypertable.schema) == name.schema.as_ref() && hypertable.table == name.table);
        let sql = "SELECT pg_catalog.pg_total_relation_size(pg_catalog.to_regclass($1))";
        let own_bytes = client.query_one(sql, &[&name.sql()]).await.map_err(doing)?.get::<_, Option<i64>>(0);
        let bytes = hypertable.map(|it| it.bytes).or(own_bytes.map(i64::unsigned_abs));
        let table = TableInfo { name: name.table, rows, bytes, chunks: hypertable.map(|it| it.chunks) };
        let tables = if name.schema.as_deref() == Some("tidemark") { &mut info.own_tables } else { &mut info.tables };
        tables.push(table);
    }
    if info.own_tables.iter().any(|table| table.name == "rejects") {
        let row = client.query_one(&format!("{STATIONS} tidemark.station"), &[]).await.map_err(doing)?;
        let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        info.stations = Some(Stations { joined: number(0), invited: number(1), revoked: number(2) });
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute
            WHERE attrelid = 'tidemark.rejects'::regclass AND attname = 'state' AND NOT attisdropped)";
        let has_state: bool = client.query_one(sql, &[]).await.map_err(doing)?.get(0);
        let which = if has_state { " WHERE state = 'open'" } else { "" };
        let row = client.query_one(&format!("SELECT count(*) FROM tidemark.rejects{which}"), &[]).await;
        info.open_rejects = row.map_err(doing)?.get::<_, i64>(0).unsigned_abs();
    }
    Ok(info)
}

async fn count(client: &Client, name: &TableName) -> anyhow::Result<u64> {
    let row = client.query_one(&format!("SELECT count(*) FROM {}", name.sql()), &[]).await;
    let row = row.map_err(|error| failed(&format!("count the rows of {}", name.shown()), &error))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
