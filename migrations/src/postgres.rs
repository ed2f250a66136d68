//! The runner for PostgreSQL.
//!
//! Every step is one transaction that first takes an advisory lock and then reads where the database stands, so any
//! number of runners may start at once, through a transaction-pooling proxy too.

use tidemark_core::schema::Schema;
use tidemark_core::value::hex;
use tokio_postgres::{Client, Transaction};

use crate::comments::describe;
use crate::error::{MigrateError, postgres_message};
use crate::plan::{Applied, Dialect, Migration, Registered, Status, pending};

/// Who only looks waits so long for a lock that somebody else holds, and then says so: not for as long as that stays.
const PATIENCE: &str = "SET LOCAL lock_timeout = '10s'";
/// Advisory lock of the runners, and of whatever must not meet one: "tidemark" in ASCII.
pub const LOCK: i64 = 0x7469_6465_6d61_726b;

/// The distance of TimescaleDB from a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timescale {
    /// The extension is created there, in this version.
    Created(String),
    /// It is installed and loaded, and [`up`] creates it where the role may.
    Creatable {
        /// The version that would be created.
        version: String,
        /// True when the role may create it.
        may: bool,
    },
    /// It is installed for this server, and not among its `shared_preload_libraries`.
    NotLoaded,
    /// This server has no such extension.
    NotInstalled,
}

/// The distance of TimescaleDB from a database.
///
/// # Errors
/// When the database cannot be asked.
pub async fn timescale(client: &Client) -> Result<Timescale, MigrateError> {
    if let Some(version) = timescale_version(client).await? {
        return Ok(Timescale::Created(version));
    }
    // Who may not read shared_preload_libraries still sees the setting that the preloaded library brings. (One that
    // only stands in the configuration file is a placeholder, which pg_settings leaves out.)
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'timescaledb.max_background_workers'), e.default_version,
            r.rolsuper OR (v.trusted AND pg_catalog.has_database_privilege(current_database(), 'CREATE'))
        FROM pg_catalog.pg_available_extensions e
        JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
        JOIN pg_catalog.pg_roles r ON r.rolname = current_user
        WHERE e.name = 'timescaledb'";
    Ok(match client.query_opt(sql, &[]).await? {
        None => Timescale::NotInstalled,
        Some(row) if !row.get::<_, bool>(0) => Timescale::NotLoaded,
        Some(row) => Timescale::Creatable { version: row.get(1), may: row.get(2) },
    })
}

/// The TimescaleDB that a database has: the version of the created extension.
///
/// # Errors
/// When the database cannot be asked.
pub async fn timescale_version(client: &Client) -> Result<Option<String>, MigrateError> {
    let sql = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'";
    Ok(client.query_opt(sql, &[]).await?.map(|row| row.get(0)))
}

/// Brings a database to `schema`, its comments too; returns the names of what was applied. `say` hears one line about
/// the partitioning.
///
/// # Errors
/// See [`MigrateError`]. Steps before the one that failed stay.
pub async fn up(
    client: &mut Client,
    schema: &Schema,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Vec<String>, MigrateError> {
    say(&ensure_timescale(client).await?);
    let mut done = Vec::new();
    loop {
        let transaction = locked(client).await?;
        let (applied, registered) = recorded(&transaction).await?;
        let Some(step) = pending(Dialect::Postgres, &applied, &registered, schema)?.into_iter().next() else {
            describe(&transaction, schema).await?;
            transaction.commit().await?;
            return Ok(done);
        };
        apply(&transaction, &step, applied.len() + 1, schema).await?;
        transaction.commit().await?;
        done.push(step.name);
    }
}

/// Takes migrations away, the last first, until `to` are left; returns the names. All in one transaction.
///
/// # Errors
/// When tables that would be dropped hold rows, unless `drop_data`; see [`MigrateError`].
pub async fn down(client: &mut Client, to: usize, drop_data: bool) -> Result<Vec<String>, MigrateError> {
    let transaction = locked(client).await?;
    let (applied, registered) = recorded(&transaction).await?;
    if to > applied.len() {
        return Err(MigrateError::NoSuchStep { applied: applied.len(), to });
    }
    if !applied.is_empty() {
        // Whoever applies a batch needs this table: from here on nobody writes.
        transaction.batch_execute("LOCK TABLE tidemark.cursor IN ACCESS EXCLUSIVE MODE").await?;
    }
    if !drop_data && to < applied.len() {
        let full = tables_with_rows(&transaction, &registered, to == 0).await?;
        if !full.is_empty() {
            return Err(MigrateError::HoldsRows(full));
        }
    }
    let mut done = Vec::new();
    for (position, step) in applied.iter().enumerate().skip(to).rev() {
        if position > 0 {
            let position = i32::try_from(position + 1).unwrap_or(i32::MAX);
            transaction.execute("DELETE FROM tidemark.migration WHERE position = $1", &[&position]).await?;
            transaction.execute("DELETE FROM tidemark.schema WHERE fingerprint = $1", &[&step.registers]).await?;
        }
        transaction.batch_execute(&step.down).await.map_err(|error| failed(&step.name, &error))?;
        done.push(step.name.clone());
    }
    transaction.commit().await?;
    Ok(done)
}

/// The place of the database on the way to `schema`.
///
/// # Errors
/// See [`MigrateError`].
pub async fn status(client: &mut Client, schema: &Schema) -> Result<Status, MigrateError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(PATIENCE).await?;
    let (applied, registered) = recorded(&transaction).await?;
    let pending = pending(Dialect::Postgres, &applied, &registered, schema)?;
    Ok(Status { applied, pending })
}

/// The file of the schema this database was last migrated to; `None` before the first migration.
///
/// # Errors
/// See [`MigrateError`].
pub async fn newest_schema(client: &mut Client) -> Result<Option<String>, MigrateError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(PATIENCE).await?;
    let (_, registered) = recorded(&transaction).await?;
    Ok(registered.into_iter().last().map(|schema| schema.toml))
}

async fn locked(client: &mut Client) -> Result<Transaction<'_>, MigrateError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    Ok(transaction)
}

/// Creates the extension where that can be done, and says in one line what tables with a time column become.
///
/// # Errors
/// When the database cannot be asked. That the extension cannot be created is no error: the line says why.
pub async fn ensure_timescale(client: &mut Client) -> Result<String, MigrateError> {
    let plain = |why: &str| format!("plain PostgreSQL ({why}): tables with a time column become ordinary tables");
    match timescale(client).await? {
        Timescale::NotInstalled => return Ok(plain("TimescaleDB is not installed")),
        Timescale::NotLoaded => return Ok(plain("TimescaleDB is not in shared_preload_libraries")),
        Timescale::Created(_) => {}
        // Whether the role may is for the server to say, in its own words.
        Timescale::Creatable { .. } => {
            let transaction = locked(client).await?;
            match transaction.batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb").await {
                Ok(()) => transaction.commit().await?,
                Err(error) if error.as_db_error().is_some() => {
                    let why = format!("CREATE EXTENSION timescaledb failed, {}", postgres_message(&error));
                    transaction.rollback().await?;
                    return Ok(plain(&why));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let version = timescale_version(client).await?.unwrap_or_default();
    Ok(format!("TimescaleDB {version}: tables with a time column become hypertables"))
}

async fn recorded(transaction: &Transaction<'_>) -> Result<(Vec<Applied>, Vec<Registered>), MigrateError> {
    let there: bool = transaction.query_one("SELECT to_regclass('tidemark.migration') IS NOT NULL", &[]).await?.get(0);
    if !there {
        return Ok((Vec::new(), Vec::new()));
    }
    let sql = "SELECT name, checksum, down, registers, applied_at::text FROM tidemark.migration ORDER BY position";
    let applied = transaction.query(sql, &[]).await?.into_iter().map(|row| Applied {
        name: row.get(0),
        checksum: row.get(1),
        down: row.get(2),
        registers: row.get(3),
        applied_at: row.get(4),
    });
    let applied = applied.collect();
    let sql = "SELECT fingerprint, name, version, toml, partitioning FROM tidemark.schema ORDER BY version";
    let registered = transaction.query(sql, &[]).await?.into_iter().map(|row| Registered {
        fingerprint: row.get(0),
        name: row.get(1),
        version: u32::try_from(row.get::<_, i64>(2)).unwrap_or(u32::MAX),
        toml: row.get(3),
        partitioning: row.get(4),
    });
    Ok((applied, registered.collect()))
}

async fn apply(
    transaction: &Transaction<'_>,
    step: &Migration,
    position: usize,
    schema: &Schema,
) -> Result<(), MigrateError> {
    transaction.batch_execute(&step.up).await.map_err(|error| failed(&step.name, &error))?;
    let position = i32::try_from(position).unwrap_or(i32::MAX);
    let registers = step.registers.map(|fingerprint| hex(&fingerprint.0));
    transaction
        .execute(
            "INSERT INTO tidemark.migration (position, name, checksum, down, registers) VALUES ($1, $2, $3, $4, $5)",
            &[&position, &step.name, &step.checksum(), &step.down, &registers],
        )
        .await?;
    if let Some(fingerprint) = registers {
        transaction
            .execute(
                "INSERT INTO tidemark.schema (fingerprint, name, version, toml, partitioning)
                 SELECT $1, $2, $3, $4, CASE WHEN EXISTS
                     (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb') THEN 'hypertable' ELSE 'plain' END",
                &[&fingerprint, &schema.name(), &i64::from(schema.version()), &schema.source()],
            )
            .await?;
    }
    Ok(())
}

async fn tables_with_rows(
    transaction: &Transaction<'_>,
    registered: &[Registered],
    with_stations: bool,
) -> Result<Vec<String>, MigrateError> {
    let mut names: Vec<&str> = registered.iter().map(|schema| schema.name.as_str()).collect();
    names.push("shrinkage");
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND (n.nspname = ANY ($1) OR ($2 AND n.nspname = 'tidemark' AND c.relname = 'station'))
        ORDER BY 1";
    let mut full = Vec::new();
    for row in transaction.query(sql, &[&names, &with_stations]).await? {
        let name: String = row.get(0);
        if transaction.query_one(&format!("SELECT EXISTS (SELECT FROM {name})"), &[]).await?.get(0) {
            full.push(name);
        }
    }
    Ok(full)
}

fn failed(name: &str, error: &tokio_postgres::Error) -> MigrateError {
    MigrateError::Step { name: name.to_owned(), message: postgres_message(error) }
}
