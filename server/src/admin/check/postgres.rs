//! The points of a PostgreSQL database.

use std::sync::Arc;

use tidemark_core::schema::{Schema, shrinkage};
use tidemark_migrations::postgres::{Timescale, newest_schema, timescale};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::point::{Point, ROUND_TRIPS, bad, good, matches, median, warns};
use super::rights::Rights;
use super::settings;

use crate::admin::optimize;
use crate::admin::timescale::{extension, how_to_get};
use crate::config::{DatabaseUrl, ServerConfig};
use crate::server::open_upstream;
use crate::stores::postgres::Leg;

/// Looks at everything a server needs.
pub(super) async fn look(client: &mut Client, leg: &Leg, database: &DatabaseUrl, wanted: Option<Schema>) -> Vec<Point> {
    let mut points = Vec::new();
    points.push(match one::<String>(client, "SHOW server_version", &[]).await {
        Ok(version) => good("connection", format!("PostgreSQL {version}, {database}")),
        Err(error) => return vec![bad("connection", error)],
    });
    points.push(if leg.is_in_the_clear() {
        warns("encryption", format!("{leg}; whoever is on the way reads and changes what passes: set ssl = on there"))
    } else {
        good("encryption", leg.to_string())
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
    let sql = "SELECT pg_catalog.pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool";
    match one::<bool>(client, sql, &[]).await {
        Ok(true) => points.push(bad("rights", "the server is read-only: is this a standby?")),
        Ok(false) => {}
        Err(error) => points.push(bad("rights", error)),
    }
    let rights = match Rights::read(client).await {
        Ok(rights) => rights,
        Err(error) => return [points, vec![bad("rights", error)]].concat(),
    };
    // Which schema it follows stands in a table, which the role may not be allowed to read.
    let recorded = if rights.records_readable() { Some(recorded(client).await) } else { None };
    let schema = match (&wanted, &recorded) {
        (Some(wanted), _) => wanted.clone(),
        (None, Some(Ok(Some(recorded)))) => recorded.clone(),
        _ => shrinkage(),
    };
    points.extend(rights.points(&schema));
    points.push(partition(client, &schema).await);
    points.extend(settings::points(client, ServerConfig::new(database.clone()).pool_max).await);
    if let Ok(true) = optimize::was_broken_off(client).await {
        points.push(bad("optimize", "one was broken off, and goes on with `tidemark-server optimize`"));
    }
    points.push(match recorded {
        None => bad("schema", "which schema the database follows cannot be read; see the rights above"),
        Some(Err(error)) => bad("schema", error),
        Some(Ok(_)) => fits(database, schema).await,
    });
    points
}

async fn recorded(client: &mut Client) -> Result<Option<Schema>, String> {
    let toml = newest_schema(client).await.map_err(|error| error.to_string())?;
    toml.map(|toml| Schema::parse(&toml)).transpose().map_err(|error| error.to_string())
}

/// The point on the schema: the database is what it needs.
async fn fits(database: &DatabaseUrl, schema: Schema) -> Point {
    let mut config = ServerConfig::new(database.clone());
    (config.schema, config.pool_max) = (Arc::new(schema), 1);
    // It does not open where anything differs.
    match open_upstream(&config).await {
        Ok(_) => good("schema", matches(&config.schema)),
        Err(error) => bad("schema", format!("{error:#}")),
    }
}

/// The point on tables with a time column: what they are, or become.
async fn partition(client: &Client, schema: &Schema) -> Point {
    const NAME: &str = "timescaledb";
    match timescale(client).await {
        Err(error) => return bad(NAME, error.to_string()),
        Ok(Timescale::Created(_)) => {}
        Ok(state @ Timescale::Creatable { .. }) => return good(NAME, how_to_get(&state)),
        Ok(state) => {
            return good(
                NAME,
                format!("none: tables with a time column are plain ones. To have hypertables: {}", how_to_get(&state)),
            );
        }
    }
    let found = match extension(client).await {
        Ok(Some(found)) => found,
        Ok(None) => return bad(NAME, "it was dropped meanwhile"),
        Err(error) => return bad(NAME, format!("{error:#}")),
    };
    match optimize::plain_tables(client, schema).await {
        Ok(plain) if plain.is_empty() => good(NAME, format!("{}, licence {}", found.version, found.licence)),
        Ok(plain) => good(
            NAME,
            format!("{}, but these are plain tables: {}; `tidemark-server optimize`", found.version, plain.join(", ")),
        ),
        Err(error) => bad(NAME, format!("{error:#}")),
    }
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(
    client: &Client,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<T, String> {
    let row = client.query_one(sql, values).await.map_err(|error| crate::stores::postgres::message_of(&error))?;
    row.try_get(0).map_err(|error| error.to_string())
}
