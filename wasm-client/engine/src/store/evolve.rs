//! A station follows a newer schema: tables and columns are added in one transaction, and the log stays as it is.
//!
//! Changes captured before keep their old layout and travel as batches of the old schema, which the server takes as
//! well: a batch that was sent and not yet acknowledged must give the same chain when it is sent again.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use tidemark_core::capture::{LOG_TABLE, OUSTED_TABLE, log_rows};
use tidemark_core::schema::{Schema, Table, not_additions};
use tidemark_core::sqlite::{add_column, create_table, quote};

use super::Store;
use crate::capture;
use crate::error::{Error, Result};
use crate::lacking::{self, Lacking, is_attached};
use crate::log::last_seq;
use crate::meta;
use crate::rejects::REJECTS_TABLE;

/// The changes that following a newer schema made to a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evolved {
    /// Tables that are new in the file.
    pub tables: Vec<String>,
    /// Columns that are new in the file, as `table.column`.
    pub columns: Vec<String>,
    /// Of them those with a default, which is not in force in this file: rows written without the column have NULL
    /// there.
    pub without_default: Vec<String>,
    /// Changes logged for rows that some program had written to new tables or columns before.
    pub backfilled: u64,
}

impl Store {
    /// Makes the file follow `schema`, which must only add to the one it follows. `None`: it does already.
    ///
    /// Tables and columns that a program has added itself are taken over, and what they hold is logged.
    ///
    /// # Errors
    /// [`Error::Schema`] when it is another schema, an older version or more than an addition; SQLite's. Nothing is
    /// changed then.
    pub fn evolve(&mut self, schema: &Schema) -> Result<Option<Evolved>> {
        let file = self.file().to_owned();
        let done = self.transaction(|tx| {
            let current = meta::read_schema(tx, &file)?;
            if current.fingerprint() == schema.fingerprint() {
                return Ok(None);
            }
            check(&file, &current, schema)?;
            evolve(tx, &file, &current, schema).map(Some)
        })?;
        self.reopen()?;
        Ok(done)
    }
}

fn check(file: &str, current: &Schema, new: &Schema) -> Result<()> {
    let (name, version) = (current.name(), current.version());
    if new.name() != name {
        return Err(Error::Schema(format!(
            "{file}: follows the schema {name}, not {}; a file keeps its schema, make another file for another one",
            new.name()
        )));
    }
    let mut reasons = not_additions(current, new);
    if new.version() <= version {
        reasons.insert(0, format!("its version {} is not above {version}", new.version()));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Error::Schema(format!(
        "{file}: follows version {version} of the schema {name}, and the new one is not that with tables and nullable columns added: {}. \
         Nothing was changed",
        reasons.join("; ")
    )))
}

fn evolve(tx: &Transaction<'_>, file: &str, current: &Schema, new: &Schema) -> Result<Evolved> {
    let sql = |error| Error::sqlite(file, "follow the newer schema", error);
    let mut done = Evolved::default();
    // The tables of an attached file are its program's to change.
    let attached = is_attached(tx).map_err(sql)?;
    // What programs wrote before capture knew it: table, operation, which rows.
    let mut uncaptured: Vec<(&Table, char, String)> = Vec::new();
    for &index in new.parents_first() {
        let table = &new.tables()[index];
        match current.table(&table.name) {
            None if exists(tx, &table.name).map_err(sql)? => uncaptured.push((table, 'I', "1".to_owned())),
            None if attached => lacking::note(tx, &table.name, None).map_err(sql)?,
            None => {
                tx.execute_batch(&create_table(new, table)).map_err(sql)?;
                done.tables.push(table.name.clone());
            }
            Some(before) => {
                let there = columns(tx, table).map_err(sql)?;
                for (index, column) in table.columns.iter().enumerate() {
                    if before.column_index(&column.name).is_some() {
                        continue;
                    }
                    if there.iter().any(|name| name.eq_ignore_ascii_case(&column.name)) {
                        uncaptured.push((table, 'U', format!("{} IS NOT NULL", quote(&column.name))));
                        continue;
                    }
                    if attached {
                        lacking::note(tx, &table.name, Some(&column.name)).map_err(sql)?;
                        continue;
                    }
                    tx.execute_batch(&add_column(new, table, index)).map_err(sql)?;
                    let name = format!("{}.{}", table.name, column.name);
                    if column.default.is_some() {
                        done.without_default.push(name.clone());
                    }
                    done.columns.push(name);
                }
            }
        }
    }
    capture::check_tables(tx, file, new)?;
    for table in [LOG_TABLE, OUSTED_TABLE, REJECTS_TABLE] {
        for n in current.columns_max()..new.columns_max() {
            tx.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN c{n}")).map_err(sql)?;
        }
    }
    // Two upgrades without a change in between: all changes are of the schema before both.
    let upto = last_seq(tx).map_err(sql)?;
    tx.execute(
        "INSERT OR IGNORE INTO tidemark_schema (upto, toml, fingerprint) VALUES (?1, ?2, ?3)",
        (upto as i64, current.source(), current.fingerprint().to_hex()),
    )
    .map_err(sql)?;
    meta::write::follow(tx, new).map_err(sql)?;
    capture::repair(tx, file, new)?;
    let lacking = Lacking::read(tx, file)?;
    for (table, op, of) in uncaptured {
        let absent = lacking.columns(table);
        done.backfilled += tx.execute(&log_rows(table, op, &of, &absent), []).map_err(sql)? as u64;
    }
    Ok(done)
}

fn exists(db: &Connection, table: &str) -> rusqlite::Result<bool> {
    let found = db
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE", [table], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

fn columns(db: &Connection, table: &Table) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT name FROM pragma_table_info(?1)")?.query_map([&table.name], |row| row.get(0))?.collect()
}
