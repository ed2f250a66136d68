//! The runner for the embedded upstream. Every step is one exclusive transaction.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::quote;
use tidemark_core::value::hex;

use crate::error::MigrateError;
use crate::plan::{Applied, Dialect, Migration, Registered, Status, pending};

/// Brings a database file to `schema`; returns the names of what was applied.
///
/// # Errors
/// See [`MigrateError`]. Steps before the one that failed stay.
pub fn up(connection: &mut Connection, schema: &Schema) -> Result<Vec<String>, MigrateError> {
    let mut done = Vec::new();
    loop {
        // Nothing to do is the common case, and needs no lock.
        let status = status(connection, schema)?;
        if status.pending.is_empty() {
            return Ok(done);
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        let (applied, registered) = recorded(&transaction)?;
        let Some(step) = pending(Dialect::Sqlite, &applied, &registered, schema)?.into_iter().next() else {
            return Ok(done);
        };
        apply(&transaction, &step, applied.len() + 1, schema)?;
        transaction.commit()?;
        done.push(step.name);
    }
}

/// Takes migrations away, the last first, until `to` are left; returns the names. All in one transaction.
///
/// # Errors
/// When tables that would be dropped hold rows, unless `drop_data`; see [`MigrateError`].
pub fn down(connection: &mut Connection, to: usize, drop_data: bool) -> Result<Vec<String>, MigrateError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let (applied, _) = recorded(&transaction)?;
    if to > applied.len() {
        return Err(MigrateError::NoSuchStep { applied: applied.len(), to });
    }
    if !drop_data && to < applied.len() {
        let full = tables_with_rows(&transaction, to == 0)?;
        if !full.is_empty() {
            return Err(MigrateError::HoldsRows(full));
        }
    }
    let mut done = Vec::new();
    for (position, step) in applied.iter().enumerate().skip(to).rev() {
        if position > 0 {
            transaction.execute("DELETE FROM tidemark_migration WHERE position = ?1", [position as i64 + 1])?;
            transaction.execute("DELETE FROM tidemark_schema WHERE fingerprint = ?1", [&step.registers])?;
        }
        transaction.execute_batch(&step.down).map_err(|error| failed(&step.name, &error))?;
        done.push(step.name.clone());
    }
    transaction.commit()?;
    Ok(done)
}

/// The place of the database on the way to `schema`.
///
/// # Errors
/// See [`MigrateError`].
pub fn status(connection: &mut Connection, schema: &Schema) -> Result<Status, MigrateError> {
    let transaction = connection.transaction()?;
    let (applied, registered) = recorded(&transaction)?;
    let pending = pending(Dialect::Sqlite, &applied, &registered, schema)?;
    Ok(Status { applied, pending })
}

/// The file of the schema this database was last migrated to; `None` before the first migration.
///
/// # Errors
/// See [`MigrateError`].
pub fn newest_schema(connection: &mut Connection) -> Result<Option<String>, MigrateError> {
    let (_, registered) = recorded(&connection.transaction()?)?;
    Ok(registered.into_iter().last().map(|schema| schema.toml))
}

fn has_table(transaction: &Transaction<'_>, name: &str) -> Result<bool, MigrateError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    Ok(transaction.query_row(sql, [name], |row| row.get(0))?)
}

fn recorded(transaction: &Transaction<'_>) -> Result<(Vec<Applied>, Vec<Registered>), MigrateError> {
    if has_table(transaction, "tidemark_log")? {
        return Err(MigrateError::StationFile);
    }
    if !has_table(transaction, "tidemark_migration")? {
        return Ok((Vec::new(), Vec::new()));
    }
    let sql = "SELECT name, checksum, down, registers, applied_at FROM tidemark_migration ORDER BY position";
    let applied = transaction
        .prepare(sql)?
        .query_map([], |row| {
            Ok(Applied {
                name: row.get(0)?,
                checksum: row.get(1)?,
                down: row.get(2)?,
                registers: row.get(3)?,
                applied_at: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let sql = "SELECT fingerprint, name, version, toml, partitioning FROM tidemark_schema ORDER BY version";
    let registered = transaction
        .prepare(sql)?
        .query_map([], |row| {
            Ok(Registered {
                fingerprint: row.get(0)?,
                name: row.get(1)?,
                version: row.get(2)?,
                toml: row.get(3)?,
                partitioning: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok((applied, registered))
}

fn apply(
    transaction: &Transaction<'_>,
    step: &Migration,
    position: usize,
    schema: &Schema,
) -> Result<(), MigrateError> {
    transaction.execute_batch(&step.up).map_err(|error| failed(&step.name, &error))?;
    let registers = step.registers.map(|fingerprint| hex(&fingerprint.0));
    transaction.execute(
        "INSERT INTO tidemark_migration (position, name, checksum, down, registers) VALUES (?1, ?2, ?3, ?4, ?5)",
        (position as i64, &step.name, step.checksum(), &step.down, &registers),
    )?;
    if let Some(fingerprint) = registers {
        transaction.execute(
            "INSERT INTO tidemark_schema (fingerprint, name, version, toml, partitioning) VALUES (?1, ?2, ?3, ?4, 'plain')",
            (fingerprint, schema.name(), schema.version(), schema.source()),
        )?;
    }
    Ok(())
}

fn tables_with_rows(transaction: &Transaction<'_>, with_stations: bool) -> Result<Vec<String>, MigrateError> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
        AND (name NOT LIKE 'tidemark_%' OR (?1 AND name = 'tidemark_station')) ORDER BY name";
    let names: Vec<String> =
        transaction.prepare(sql)?.query_map([with_stations], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut full = Vec::new();
    for name in names {
        let name = quote(&name.replace('"', "\"\""));
        if transaction.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {name})"), [], |row| row.get(0))? {
            full.push(name);
        }
    }
    Ok(full)
}

fn failed(name: &str, error: &rusqlite::Error) -> MigrateError {
    MigrateError::Step { name: name.to_owned(), message: error.to_string() }
}
