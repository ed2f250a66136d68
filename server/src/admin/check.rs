//! Whether a server could work with a database, point by point, and what to do where not.

use std::sync::Arc;
use std::time::Duration;

use tidemark_core::schema::Schema;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::timescale::{self, HOW_TO_GET};
use super::{connect, open_file, optimize, postgres_tables};
use crate::config::{DatabaseUrl, ServerConfig};
use crate::server::open_upstream;
use crate::upstream::sqlite::{SqliteUpstream, damage};

/// How often the way to the database and back is taken; the median is told.
const ROUND_TRIPS: usize = 11;

/// One point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What was looked at.
    pub name: &'static str,
    /// Whether a server can work with what was found.
    pub good: bool,
    /// What was found, and what to do.
    pub found: String,
}

fn good(name: &'static str, found: impl Into<String>) -> Point {
    Point { name, good: true, found: found.into() }
}

fn bad(name: &'static str, found: impl Into<String>) -> Point {
    Point { name, good: false, found: found.into() }
}

/// Checks a database by a schema. Nothing is changed, no password shown.
pub async fn check(database: &DatabaseUrl, schema: &Schema) -> Vec<Point> {
    match database {
        DatabaseUrl::Sqlite(path) => {
            let (path, schema) = (path.clone(), schema.clone());
            let look = move || of_file(&path, &schema);
            tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| vec![bad("connection", error.to_string())])
        }
        DatabaseUrl::Postgres(config) => match connect(config).await {
            Ok(mut client) => of_postgres(&mut client, database, schema).await,
            Err(error) => vec![bad("connection", format!("{error:#}"))],
        },
    }
}

fn of_file(path: &std::path::Path, schema: &Schema) -> Vec<Point> {
    let mut connection = match open_file(path) {
        Ok(connection) => connection,
        Err(error) => return vec![bad("connection", format!("{error:#}"))],
    };
    let mut points = vec![good("connection", format!("SQLite {}, {}", rusqlite::version(), path.display()))];
    points.push(match damage(&connection) {
        Ok(None) => good("integrity", "every page and index is whole"),
        Ok(Some(found)) => bad("integrity", format!("{found}; stop the server and restore a backup")),
        Err(error) => bad("integrity", error.to_string()),
    });
    points.push(match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => good("rights", "it can be written"),
        Err(error) => {
            bad("rights", format!("it cannot be written: {error}; who runs the server must own file and folder"))
        }
    });
    let mut times = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let start = tokio::time::Instant::now();
        if let Err(error) = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
            return [points, vec![bad("round trip", error.to_string())]].concat();
        }
        times.push(start.elapsed());
    }
    points.push(good("round trip", median(times)));
    points.push(match tidemark_migrations::sqlite::status(&mut connection, schema) {
        Err(error) => bad("migrations", error.to_string()),
        Ok(status) if status.pending.is_empty() => {
            drop(connection);
            match SqliteUpstream::open(path, Arc::new(schema.clone())) {
                Ok(_) => good("schema", matches(schema)),
                Err(error) => bad("schema", format!("{error:#}")),
            }
        }
        Ok(status) => good(
            "migrations",
            format!(
                "{} not applied yet; `serve` applies them, and so does `tidemark-server migrate up`",
                status.pending.len()
            ),
        ),
    });
    points
}

fn matches(schema: &Schema) -> String {
    format!("matches {} version {}", schema.name(), schema.version())
}

fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{:.3} ms, median of {}", times[times.len() / 2].as_secs_f64() * 1000.0, times.len())
}

async fn of_postgres(client: &mut Client, database: &DatabaseUrl, schema: &Schema) -> Vec<Point> {
    let mut points = Vec::new();
    points.push(match one::<String>(client, "SHOW server_version", &[]).await {
        Ok(version) => good("connection", format!("PostgreSQL {version}, {database}")),
        Err(error) => return vec![bad("connection", error)],
    });
    let mut times = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let start = tokio::time::Instant::now();
        if let Err(error) = one::<i32>(client, "SELECT 1", &[]).await {
            return [points, vec![bad("round trip", error)]].concat();
        }
        times.push(start.elapsed());
    }
    points.push(good("round trip", median(times)));
    points.push(rights(client, schema).await);
    let partition = match timescale::extension(client).await {
        Err(error) => bad("timescaledb", format!("{error:#}")),
        Ok(None) => good(
            "timescaledb",
            format!("none: tables with a time column are plain ones. To have hypertables: {HOW_TO_GET}"),
        ),
        Ok(Some(extension)) => match optimize::plain_tables(client, schema).await {
            Ok(plain) if plain.is_empty() => {
                good("timescaledb", format!("{}, licence {}", extension.version, extension.licence))
            }
            Ok(plain) => good(
                "timescaledb",
                format!(
                    "{}, but these are plain tables: {}; `tidemark-server optimize`",
                    extension.version,
                    plain.join(", ")
                ),
            ),
            Err(error) => bad("timescaledb", format!("{error:#}")),
        },
    };
    points.push(partition);
    if let Ok(true) = optimize::was_broken_off(client).await {
        points.push(bad("optimize", "one was broken off, and goes on with `tidemark-server optimize`"));
    }
    let mut config = ServerConfig::new(database.clone());
    (config.schema, config.pool_max) = (Arc::new(schema.clone()), 1);
    points.push(match open_upstream(&config).await {
        // It does not open where anything differs.
        Ok(_) => good("schema", matches(schema)),
        Err(error) => bad("schema", format!("{error:#}")),
    });
    points
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(
    client: &Client,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<T, String> {
    let row = client.query_one(sql, values).await.map_err(|error| crate::upstream::postgres::message_of(&error))?;
    row.try_get(0).map_err(|error| error.to_string())
}

/// What the role may not, of what the server does.
async fn rights(client: &Client, schema: &Schema) -> Point {
    let mut missing = Vec::new();
    let user = one::<String>(client, "SELECT current_user::text", &[]).await.unwrap_or_default();
    match one::<bool>(
        client,
        "SELECT pg_catalog.pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool",
        &[],
    )
    .await
    {
        Ok(true) => missing.push("the server is read-only: is this a standby?".to_owned()),
        Ok(false) => {}
        Err(error) => return bad("rights", error),
    }
    let sql = "SELECT pg_catalog.has_database_privilege(current_database(), 'TEMP')";
    if let Ok(false) = one::<bool>(client, sql, &[]).await {
        missing.push("GRANT TEMPORARY ON DATABASE: updates go through a temporary table".to_owned());
    }
    let tables = match postgres_tables(client, Some(schema)).await {
        Ok(tables) => tables,
        Err(error) => return bad("rights", format!("{error:#}")),
    };
    if tables.is_empty() {
        let sql = "SELECT pg_catalog.has_database_privilege(current_database(), 'CREATE')";
        if let Ok(false) = one::<bool>(client, sql, &[]).await {
            missing.push("GRANT CREATE ON DATABASE: the migrations make schemas".to_owned());
        }
    }
    for table in tables {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let sql = "SELECT pg_catalog.has_table_privilege($1, $2)";
            if let Ok(false) | Err(_) = one::<bool>(client, sql, &[&table.sql(), &right]).await {
                missing.push(format!("GRANT {right} ON {}", table.shown()));
            }
        }
    }
    if missing.is_empty() {
        good("rights", format!("{user} may do what the server does"))
    } else {
        bad("rights", format!("{user} lacks: {}", missing.join("; ")))
    }
}
