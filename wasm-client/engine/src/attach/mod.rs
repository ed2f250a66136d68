//! Capture on a file that another system made, in place: its tables, rows and columns stay as they are.
//!
//! ```text
//! differences ─▶ one transaction: our tables, the triggers, a place in the log for each row that is there (1 to N)
//!             ─▶ backfill: the places are filled in pieces, parents first, while programs go on writing
//!                (their changes are N + 1, N + 2 …)
//!             ─▶ the log has no gap any more, and is pushed like any other
//! ```
//!
//! A row that is written before its place is filled has its newest image at both, so the end is the same; one that is
//! deleted before leaves its place to a delete.

mod backfill;
mod differences;
mod problems;
mod tables;

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use tidemark_core::capture::LOG_TABLE;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;

pub use self::backfill::Backfill;
pub(crate) use self::backfill::open_places;
pub use self::differences::Difference;
pub use self::problems::Problem;
pub use self::tables::Tables;
use crate::capture;
use crate::connect::{OpenOptions, connect};
use crate::create::make_ours;
use crate::error::{Error, Result};
use crate::lacking::{self, CREATE_LACKING, is_attached};
use crate::store::Store;

/// The result of attaching a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The differences between the file and the schema.
    pub differences: Vec<Difference>,
    /// Rows that were there; each becomes a change.
    pub rows: u64,
}

/// Finds the tables that a file and a schema have in common, whether the file is attached yet or not.
///
/// # Errors
/// When the file is none of SQLite's or cannot be read; [`Error::NoTables`] when they have none in common.
pub fn tables(path: impl AsRef<Path>, schema: &Schema) -> Result<Tables> {
    let (db, file) = connect(path.as_ref(), OpenOptions::default(), false)?;
    tables::find(&db, &file, schema)?.some(&file, schema)
}

/// Compares the tables of a file with a schema.
///
/// # Errors
/// When the file is none of SQLite's or cannot be read; [`Error::NoTables`] when it has no table of the schema.
pub fn differences(path: impl AsRef<Path>, schema: &Schema) -> Result<Vec<Difference>> {
    let (db, file) = connect(path.as_ref(), OpenOptions::default(), false)?;
    differences::find(&db, &file, schema)
}

/// Visits the rows of a file that cannot go upstream as they are, whether it is attached yet or not: their values do
/// not convert, their parent is not there, or their time lies outside of what servers take; `now_ms` is the time.
///
/// # Errors
/// When the file is none of SQLite's or cannot be read, and what `visit` returns.
pub fn problems<E: From<Error>>(
    path: impl AsRef<Path>,
    schema: &Schema,
    now_ms: i64,
    visit: &mut dyn FnMut(&Problem) -> std::result::Result<(), E>,
) -> std::result::Result<u64, E> {
    let (mut db, file) = connect(path.as_ref(), OpenOptions::default(), false)?;
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Deferred)
        .map_err(|error| Error::sqlite(&file, "read the rows", error))?;
    problems::find(&tx, &file, schema, now_ms, visit)
}

impl Store {
    /// Attaches a file of another system: capture from this moment on, and a place in the log for every row that is
    /// there. All or nothing. [`Store::backfill`] fills the places. `station_uuid` are 16 random bytes.
    ///
    /// # Errors
    /// When the file is a station's already, has no table of the schema, or differs from it in a way that capture
    /// cannot follow: the message lists it all. Nothing is changed then.
    pub fn attach(path: impl AsRef<Path>, schema: &Schema, station_uuid: [u8; 16]) -> Result<(Self, Attached)> {
        let (mut db, file) = connect(path.as_ref(), OpenOptions::default(), false)?;
        let sql = |error| Error::sqlite(&file, "attach the file", error);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        let differences = differences::find(&tx, &file, schema)?;
        let stops: Vec<String> = differences.iter().filter(|found| found.stops).map(Difference::to_string).collect();
        if !stops.is_empty() {
            return Err(Error::Tables { file, detail: format!("cannot be attached: {}", stops.join("; ")) });
        }
        for statement in [CREATE_LACKING, backfill::CREATE_BACKFILL] {
            tx.execute_batch(statement).map_err(sql)?;
        }
        for found in &differences {
            if let Some((table, column)) = found.lacking() {
                lacking::note(&tx, table, column).map_err(sql)?;
            }
        }
        make_ours(&tx, &file, schema, station_uuid)?;
        let rows = reserve(&tx, &file, schema)?;
        tx.commit().map_err(sql)?;
        Ok((Self::open_connection(db, file)?, Attached { differences, rows }))
    }

    /// Takes everything of Tidemark's out of an attached file, also what is not upstream yet; its own tables stay as
    /// they are.
    ///
    /// # Errors
    /// When the file was made by `init`, and SQLite's; nothing is changed then.
    pub fn detach(mut self) -> Result<()> {
        let (file, schema) = (self.file().to_owned(), self.schema().clone());
        self.transaction(|tx| {
            let sql = |error| Error::sqlite(&file, "detach the file", error);
            if !is_attached(tx).map_err(sql)? {
                return Err(Error::NotAttached { file: file.clone() });
            }
            for name in schema.tables().iter().flat_map(capture::names) {
                tx.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", quote(&name))).map_err(sql)?;
            }
            let ours = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tidemark\\_%' ESCAPE '\\'";
            let ours: Vec<String> =
                tx.prepare(ours).and_then(|mut query| query.query_map([], |row| row.get(0))?.collect()).map_err(sql)?;
            for name in ours {
                tx.execute_batch(&format!("DROP TABLE {}", quote(&name))).map_err(sql)?;
            }
            Ok(())
        })
    }
}

/// Gives every row that is there a place in the log; returns how many there are.
fn reserve(tx: &Connection, file: &str, schema: &Schema) -> Result<u64> {
    let sql = |error| Error::sqlite(file, "give the rows their places in the log", error);
    let lacking = lacking::Lacking::read(tx, file)?;
    let mut next = 1;
    for table in lacking.tables(schema) {
        let name = quote(&table.name);
        let rows: i64 = tx.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0)).map_err(sql)?;
        if has_stable_rowids(tx, table).map_err(sql)? {
            let last: Option<i64> =
                tx.query_row(&format!("SELECT max(rowid) FROM {name}"), [], |row| row.get(0)).map_err(sql)?;
            backfill::reserve(tx, table, next, rows, last.unwrap_or(0)).map_err(sql)?;
        } else {
            // A VACUUM numbers these rows anew, so they do not wait.
            let every = (i64::MIN, i64::MAX);
            backfill::log_numbered(tx, table, "1", &lacking.columns(table), next, every).map_err(sql)?;
        }
        next += rows;
    }
    tx.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [LOG_TABLE]).map_err(sql)?;
    tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (LOG_TABLE, next - 1)).map_err(sql)?;
    Ok(next.unsigned_abs() - 1)
}

/// Tells whether the key is the rowid itself.
fn has_stable_rowids(db: &Connection, table: &Table) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) = 1 AND max(lower(name) = lower(?2) AND upper(type) = 'INTEGER') FROM pragma_table_info(?1) WHERE pk > 0";
    let is_integer: bool = db.query_row(sql, (&table.name, &table.key_column().name), |row| row.get(0))?;
    // PRIMARY KEY DESC is the one case where INTEGER is not the rowid: then the key has an index of its own.
    let index = "SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk'";
    let has_index = db.query_row(index, [&table.name], |_| Ok(())).optional()?.is_some();
    Ok(is_integer && !has_index)
}
