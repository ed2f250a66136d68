//! Plain tables with a time column become hypertables, with their rows, while stations push; planner statistics are
//! renewed.
//!
//! A database that was migrated before TimescaleDB was there has plain tables. For each of them:
//!
//! ```text
//! a hypertable beside it ─▶ triggers note what changes    one transaction, writers wait for it
//! rows copied in pieces ─▶ what changed is copied again   writers go on
//! swapped under a lock                                    writers wait for it
//! ```
//!
//! Every step is a transaction that notes how far it came, so a run that was killed goes on where it was. A table
//! with something on it that a copy cannot take over (views, foreign keys, triggers of others) is made a hypertable
//! in place, and locked meanwhile.

mod online;
mod table;

use serde::Serialize;
use tidemark_core::amount::count_is;
use tidemark_core::postgres::qualified;
use tidemark_core::schema::{Schema, Table};
use tidemark_migrations::postgres::{LOCK, ensure_timescale, timescale as timescale_state};
use tokio_postgres::Client;

use self::table::{NAMESPACE, OldTable, Way};
use super::timescale::{self, how_to_get};
use super::{connect, failed, open_file};
use crate::database::DatabaseUrl;

/// Tables with a time column that are plain ones, where the extension is created.
///
/// # Errors
/// When the database cannot be asked.
pub async fn plain_tables(client: &Client, schema: &Schema) -> anyhow::Result<Vec<String>> {
    Ok(plain(client, schema).await?.into_iter().map(|table| table.name.clone()).collect())
}

async fn plain<'s>(client: &Client, schema: &'s Schema) -> anyhow::Result<Vec<&'s Table>> {
    let doing = |error| failed("list the tables", &error);
    let there =
        "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind = 'r'";
    let hyper = "SELECT hypertable_name::text FROM timescaledb_information.hypertables WHERE hypertable_schema = $1";
    let mut names: Vec<String> = Vec::new();
    for row in client.query(there, &[&schema.name()]).await.map_err(doing)? {
        names.push(row.get(0));
    }
    if timescale::extension(client).await?.is_some() {
        for row in client.query(hyper, &[&schema.name()]).await.map_err(doing)? {
            let name: String = row.get(0);
            names.retain(|there| *there != name);
        }
    }
    let tables = schema.parents_first().iter().map(|&index| &schema.tables()[index]);
    Ok(tables.filter(|table| table.time.is_some() && names.contains(&table.name)).collect())
}

/// A run was begun and has not ended.
///
/// # Errors
/// When the database cannot be asked.
pub async fn was_broken_off(client: &Client) -> anyhow::Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    let row = client.query_one(sql, &[&NAMESPACE]).await.map_err(|error| failed("look for a run before", &error))?;
    Ok(row.get(0))
}

/// The work that [`run`] would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The database can have hypertables at all: PostgreSQL can, the embedded one cannot.
    pub can_have_hypertables: bool,
    /// The way to TimescaleDB, for a database of PostgreSQL that has none.
    pub get_timescaledb: Option<String>,
    /// A run before was broken off; it would go on where it was.
    pub was_broken_off: bool,
    /// The plain tables with a time column, parents first.
    pub tables: Vec<PlannedTable>,
}

/// A plain table that would become a hypertable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedTable {
    /// Its name.
    pub table: String,
    /// Its number of rows, as PostgreSQL estimates it.
    pub rows_about: u64,
    /// Its size with indexes.
    pub bytes: u64,
    /// The things on it that a copy cannot take over. None: it is copied in pieces while stations push; else it is
    /// locked until it is done.
    pub in_place_for: Vec<String>,
}

/// Looks at what [`run`] would do; nothing is changed.
///
/// # Errors
/// When the database cannot be asked.
pub async fn plan(database: &DatabaseUrl, schema: &Schema) -> anyhow::Result<Plan> {
    let mut planned =
        Plan { can_have_hypertables: false, get_timescaledb: None, was_broken_off: false, tables: Vec::new() };
    let DatabaseUrl::Postgres(config) = database else { return Ok(planned) };
    let client = connect(config).await?;
    planned.can_have_hypertables = true;
    if timescale::extension(&client).await?.is_none() {
        planned.get_timescaledb = Some(how_to_get(&timescale_state(&client).await?));
    }
    planned.was_broken_off = was_broken_off(&client).await?;
    for table in plain(&client, schema).await? {
        let old = OldTable::read(&client, schema, table).await?;
        planned.tables.push(PlannedTable {
            table: table.name.clone(),
            rows_about: old.rows_about.unsigned_abs(),
            bytes: old.bytes,
            in_place_for: match old.way() {
                Way::Online => Vec::new(),
                Way::InPlace(reasons) => reasons,
            },
        });
    }
    Ok(planned)
}

/// Makes hypertables of all plain tables with a time column, and renews the statistics. Running it again does what is
/// left.
///
/// # Errors
/// When there is no TimescaleDB and it cannot be created, or the database refuses; running it again goes on.
pub async fn run(database: &DatabaseUrl, schema: &Schema, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<()> {
    let config = match database {
        DatabaseUrl::Postgres(config) => config,
        DatabaseUrl::Sqlite(path) => {
            open_file(path)?.execute_batch("ANALYZE")?;
            say("statistics renewed; an embedded SQLite database has no hypertables");
            return Ok(());
        }
    };
    let timescale = ensure_timescale(&mut connect(config).await?).await?;
    // The extension is loaded when a session begins.
    let mut client = connect(config).await?;
    lock(&client).await?;
    let extension = timescale::extension(&client).await?;
    let mut plain = plain(&client, schema).await?;
    if let Some(extension) = &extension {
        // The one that was begun first, so that its notes do not grow meanwhile.
        if let Some(begun) = online::begun(&client).await? {
            plain.sort_by_key(|table| table.name != begun);
        }
        for table in &plain {
            let old = OldTable::read(&client, schema, table).await?;
            match old.way() {
                Way::Online => online::convert(&mut client, extension, &old, say).await?,
                Way::InPlace(reasons) => in_place(&mut client, extension, &old, &reasons, say).await?,
            }
        }
        finish(&mut client).await?;
    }
    for table in schema.tables() {
        let sql = format!("ANALYZE {}", qualified(schema, table));
        client.batch_execute(&sql).await.map_err(|error| failed(&format!("analyze {}", table.name), &error))?;
    }
    if extension.is_none() {
        let how = how_to_get(&timescale_state(&client).await?);
        anyhow::bail!("statistics renewed, but no hypertables made: {timescale}. To have them: {how}");
    }
    let made = if plain.is_empty() {
        "there was nothing to make a hypertable of".to_owned()
    } else {
        format!("{} now hypertables", count_is(plain.len() as u64, "table"))
    };
    say(&format!("{made}; statistics renewed"));
    Ok(())
}

/// Takes back what a run that was broken off left: the tables are as they were.
///
/// # Errors
/// When the database refuses.
pub async fn undo(database: &DatabaseUrl, say: &mut (dyn FnMut(&str) + Send)) -> anyhow::Result<()> {
    if let DatabaseUrl::Postgres(config) = database {
        let client = connect(config).await?;
        lock(&client).await?;
        let sql = format!("SET client_min_messages = warning; DROP SCHEMA IF EXISTS {NAMESPACE} CASCADE");
        client.batch_execute(&sql).await.map_err(|error| failed("take back what was begun", &error))?;
    }
    say("nothing of a run that was broken off is left; hypertables that were made stay");
    Ok(())
}

/// Held until the session ends: no migration and no other run meanwhile.
async fn lock(client: &Client) -> anyhow::Result<()> {
    let row = client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&LOCK]).await;
    if !row.map_err(|error| failed("take the lock of migrations", &error))?.get::<_, bool>(0) {
        anyhow::bail!("a migration or another optimize is running on this database; try again when it has ended");
    }
    Ok(())
}

async fn in_place(
    client: &mut Client,
    extension: &timescale::Extension,
    old: &OldTable,
    reasons: &[String],
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<()> {
    say(&format!("{}: in place, locked until it is done, for it has {}", old.name, reasons.join(", ")));
    let doing = |error| failed(&format!("make {} a hypertable", old.name), &error);
    let transaction = client.transaction().await.map_err(doing)?;
    let sql = format!("SET LOCAL lock_timeout = '60s'; {}", old.create_hypertable(extension, &old.sql, true));
    transaction.batch_execute(&sql).await.map_err(doing)?;
    transaction.commit().await.map_err(doing)?;
    say(&format!("{}: is a hypertable", old.name));
    Ok(())
}

/// The database says of itself what it is now.
async fn finish(client: &mut Client) -> anyhow::Result<()> {
    let sql = format!(
        "SET client_min_messages = warning; DROP SCHEMA IF EXISTS {NAMESPACE} CASCADE;
         UPDATE tidemark.schema SET partitioning = 'hypertable' WHERE partitioning <> 'hypertable'"
    );
    client.batch_execute(&sql).await.map_err(|error| failed("note that there are hypertables", &error))
}
