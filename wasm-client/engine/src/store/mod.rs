//! The store: a station's open SQLite file. Programs write to its tables by any means; this is Tidemark's own.
//!
//! [`Store`] is a façade: it holds the connection and the file's catalog, and delegates to modules that know neither it
//! nor each other's callers.
//!
//! | file | methods |
//! |---|---|
//! | `open` | make and open a file |
//! | `look` | open a file only to look at it: nothing is written |
//! | `status` | where the station stands |
//! | `reads` | the log, the rejects, the file's lineage |
//! | `notes` | what happened to the station, written into its row |
//! | `evolve` | follow a newer schema |

pub(crate) mod evolve;
#[cfg(not(target_arch = "wasm32"))]
mod look;
mod notes;
mod open;
mod reads;
pub(crate) mod status;

use rusqlite::types::Value;
use rusqlite::{Connection, Params, Transaction, TransactionBehavior};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;

use crate::capture::{self, Repair};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lacking::Lacking;
use crate::log::last_seq;
use crate::meta::{self, Meta};

/// A station's open file.
///
/// ```
/// use tidemark_client::Store;
/// use tidemark_core::schema::Schema;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("field.db");
/// let schema = "name = 'weather'\nversion = 1\n\
///     [tables.site.columns]\nid = { type = 'integer' }\nname = { type = 'text' }";
/// let schema = Schema::parse(schema).unwrap();
/// let store = Store::init(&path, &schema, [7; 16])?; // 16 random bytes: the station's uuid
/// let id = store.insert("site", &[("name", "Neuharlingersiel".to_owned().into())])?;
/// drop(store);
///
/// // Any program may write to the file, whether Tidemark has it open or not; each change is in the log.
/// let program = tidemark_client::rusqlite::Connection::open(&path).unwrap();
/// program.execute("UPDATE site SET name = ?1 WHERE id = ?2", ("Bensersiel", id)).unwrap();
///
/// let mut store = Store::open(&path)?;
/// assert_eq!(store.status()?.pending, 2);
/// assert_eq!(store.log(1)?[0].op, "U");
/// # Ok::<(), tidemark_client::Error>(())
/// ```
#[derive(Debug)]
pub struct Store {
    db: Connection,
    file: String,
    catalog: Catalog,
    repairs: Vec<Repair>,
    schema_version: Option<i64>,
}

impl Store {
    pub(crate) const fn new(db: Connection, file: String, catalog: Catalog) -> Self {
        Self { db, file, catalog, repairs: Vec::new(), schema_version: None }
    }

    /// The connection, for any SQL. What it writes to the schema's tables is captured, as any program's writes are.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.db
    }

    /// The file's name, for messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The schema the file follows.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.catalog.schema
    }

    /// The station's uuid.
    #[must_use]
    pub const fn uuid(&self) -> [u8; 16] {
        self.catalog.uuid
    }

    /// The tables and columns of the schema that the file has not.
    pub(crate) const fn lacking(&self) -> &Lacking {
        &self.catalog.lacking
    }

    /// The schema that change `seq` was captured under.
    pub(crate) fn schema_of(&self, seq: u64) -> &Schema {
        self.catalog.schema_of(seq).0
    }

    /// The station's row: membership, tidemark and what happened last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn meta(&self) -> Result<Meta> {
        meta::read(&self.db, &self.file)
    }

    pub(crate) fn sqlite(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error + '_ {
        move |error| Error::sqlite(&self.file, doing, error)
    }

    /// Runs one statement; returns how many rows it changed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.db.execute(sql, params).map_err(self.sqlite("run the statement"))
    }

    /// Inserts a row; returns its rowid, which is the key where the key is an integer. Columns left out take their
    /// defaults.
    ///
    /// # Errors
    /// When the schema has no such table or column, or SQLite refuses the row.
    pub fn insert(&self, table: &str, row: &[(&str, Value)]) -> Result<i64> {
        let statement = insert_statement(self.table(table)?, row.iter().map(|(column, _)| *column))?;
        let values = rusqlite::params_from_iter(row.iter().map(|(_, value)| value));
        self.db.execute(&statement, values).map_err(self.sqlite("insert the row"))?;
        Ok(self.db.last_insert_rowid())
    }

    /// Runs `work` in one write transaction: all of it is committed, or, when it returns an error, nothing.
    ///
    /// # Errors
    /// Those of `work`, and SQLite's.
    pub fn transaction<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let Self { db, file, .. } = self;
        let sql = |error| Error::sqlite(file, "run a transaction", error);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        let done = work(&tx)?;
        tx.commit().map_err(sql)?;
        Ok(done)
    }

    /// The schema's table of this name.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub fn table(&self, name: &str) -> Result<&Table> {
        self.schema().table(name).ok_or_else(|| {
            let names: Vec<&str> = self.schema().tables().iter().map(|table| table.name.as_str()).collect();
            Error::Schema(format!(
                "the schema {} has no table {name:?}; its tables are: {}",
                self.schema().name(),
                names.join(", ")
            ))
        })
    }

    /// A number that changes when another connection has committed to the file.
    ///
    /// # Errors
    /// SQLite's.
    pub fn data_version(&self) -> Result<i64> {
        self.db
            .query_row("PRAGMA data_version", [], |row| row.get(0))
            .map_err(self.sqlite("ask whether the file has changed"))
    }

    /// Checks, when the database's structure has changed since the last check, that capture is in place and in today's
    /// form, and repairs it. Whoever keeps a store open calls this from time to time; opening does.
    ///
    /// # Errors
    /// When the tables are not the schema's any more, or have a unique index that capture cannot follow.
    pub fn check_capture(&mut self) -> Result<()> {
        let version: i64 = self
            .db
            .query_row("PRAGMA schema_version", [], |row| row.get(0))
            .map_err(self.sqlite("read the structure's version"))?;
        if self.schema_version == Some(version) {
            return Ok(());
        }
        self.refresh()?;
        let Self { db, file, catalog, repairs, schema_version } = self;
        capture::check_tables(db, file, &catalog.schema)?;
        if !capture::is_current(db, file, &catalog.schema)? {
            let sql = |error| Error::sqlite(file, "repair the capture triggers", error);
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
            let done = capture::repair(&tx, file, &catalog.schema)?;
            tx.commit().map_err(sql)?;
            repairs.extend(done);
            catalog.lacking = Lacking::read(db, file)?;
        }
        let version = db.query_row("PRAGMA schema_version", [], |row| row.get(0));
        *schema_version = Some(version.map_err(|error| Error::sqlite(file, "read the structure's version", error))?);
        Ok(())
    }

    /// Takes what [`Store::check_capture`] had to repair since the last call; it should be shown.
    pub fn take_repairs(&mut self) -> Vec<Repair> {
        std::mem::take(&mut self.repairs)
    }

    /// Last seq of the log, trimmed or not; 0 before the first change.
    ///
    /// # Errors
    /// SQLite's.
    pub fn last_seq(&self) -> Result<u64> {
        last_seq(&self.db).map_err(self.sqlite("read the log's last seq"))
    }

    /// A read transaction over the file.
    pub(crate) fn read(&mut self) -> Result<(Transaction<'_>, &str, &Catalog)> {
        let Self { db, file, catalog, .. } = self;
        let tx = db
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(|error| Error::sqlite(file, "read the file", error))?;
        if !catalog.is_current(&tx, file)? {
            *catalog = Catalog::read(&tx, file)?;
        }
        Ok((tx, file, catalog))
    }

    /// A write transaction over the file.
    pub(crate) fn write(&mut self) -> Result<(Transaction<'_>, &str, &Catalog)> {
        let Self { db, file, catalog, .. } = self;
        let tx = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| Error::sqlite(file, "write the file", error))?;
        if !catalog.is_current(&tx, file)? {
            *catalog = Catalog::read(&tx, file)?;
        }
        Ok((tx, file, catalog))
    }

    /// Reads uuid and schema anew when another process has changed them.
    fn refresh(&mut self) -> Result<()> {
        if !self.catalog.is_current(&self.db, &self.file)? {
            self.catalog = Catalog::read(&self.db, &self.file)?;
        }
        Ok(())
    }

    /// Forgets what was checked: the schema is another one now.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        self.schema_version = None;
        self.check_capture()
    }
}

/// `INSERT` into these columns of a table.
///
/// # Errors
/// When the table has no such column.
pub fn insert_statement<'a>(table: &Table, columns: impl Iterator<Item = &'a str>) -> Result<String> {
    let mut names = Vec::new();
    for column in columns {
        let index = table.column_index(column).ok_or_else(|| {
            let known: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
            Error::Schema(format!("the table {} has no column {column:?}; it has: {}", table.name, known.join(", ")))
        })?;
        names.push(quote(&table.columns[index].name));
    }
    if names.is_empty() {
        return Ok(format!("INSERT INTO {} DEFAULT VALUES", quote(&table.name)));
    }
    let marks = vec!["?"; names.len()].join(", ");
    Ok(format!("INSERT INTO {} ({}) VALUES ({marks})", quote(&table.name), names.join(", ")))
}
