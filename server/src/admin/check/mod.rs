//! A database looked at, point by point: could a server work with it, and what is to be done where not. A point that
//! fails does not end the list: what can still be looked at is looked at.

mod point;
mod postgres;
mod rights;
mod settings;

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use tidemark_core::amount::count;
use tidemark_core::schema::{Schema, shrinkage};

pub use self::point::Point;
use self::point::{ROUND_TRIPS, bad, good, matches, median};
use super::{connect_and_tell, open_file};
use crate::database::DatabaseUrl;
use crate::stores::sqlite::{SqliteUpstream, damage};

/// Checks a database by a schema: the `wanted` one, else the one it was migrated to, else the shipped one. Nothing is
/// changed, no password shown.
pub async fn check(database: &DatabaseUrl, wanted: Option<Schema>) -> Vec<Point> {
    match database {
        DatabaseUrl::Sqlite(path) => {
            let path = path.clone();
            let look = move || of_file(&path, wanted);
            tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| vec![bad("connection", error.to_string())])
        }
        DatabaseUrl::Postgres(config) => match connect_and_tell(config).await {
            Ok((mut client, leg)) => postgres::look(&mut client, &leg, database, wanted).await,
            Err(error) => vec![bad("connection", format!("{error:#}"))],
        },
    }
}

fn of_file(path: &Path, wanted: Option<Schema>) -> Vec<Point> {
    let (connection, refused) = match open_file(path) {
        Ok(connection) => (connection, None),
        // What may not be written can still be looked at.
        Err(error) => match Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
            Ok(connection) => (connection, Some(error)),
            Err(_) => return vec![bad("connection", format!("{error:#}"))],
        },
    };
    let mut points = vec![good("connection", format!("SQLite {}, {}", rusqlite::version(), path.display()))];
    points.push(match damage(&connection) {
        Ok(None) => good("integrity", "every page and index is whole"),
        Ok(Some(found)) => bad("integrity", format!("{found}; stop the server and restore a backup")),
        Err(error) => bad("integrity", error.to_string()),
    });
    let unwritable = |why: String| {
        bad("rights", format!("it cannot be written: {why}; who runs the server must own file and folder"))
    };
    points.push(match (refused, connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")) {
        (None, Ok(())) => good("rights", "it can be written"),
        (Some(error), _) => unwritable(format!("{error:#}")),
        (None, Err(error)) => unwritable(error.to_string()),
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
    points.push(of_file_schema(connection, path, wanted));
    points
}

fn of_file_schema(mut connection: Connection, path: &Path, wanted: Option<Schema>) -> Point {
    let recorded = || {
        let toml = tidemark_migrations::sqlite::newest_schema(&mut connection).map_err(|error| error.to_string())?;
        toml.map(|toml| Schema::parse(&toml)).transpose().map_err(|error| error.to_string())
    };
    let schema = match wanted.map_or_else(recorded, |schema| Ok(Some(schema))) {
        Ok(schema) => schema.unwrap_or_else(shrinkage),
        Err(error) => return bad("schema", error),
    };
    match tidemark_migrations::sqlite::status(&mut connection, &schema) {
        Err(error) => bad("migrations", error.to_string()),
        Ok(status) if status.pending.is_empty() => {
            drop(connection);
            match SqliteUpstream::open(path, Arc::new(schema.clone())) {
                Ok(_) => good("schema", matches(&schema)),
                Err(error) => bad("schema", format!("{error:#}")),
            }
        }
        Ok(status) => good(
            "migrations",
            format!(
                "{} not applied yet; `serve` applies what is missing, and so does `tidemark-server migrate up`",
                count(status.pending.len() as u64, "migration")
            ),
        ),
    }
}
