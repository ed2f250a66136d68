//! Making and opening a station's file, with a clear error for every file that is not one.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tidemark_core::capture::{create_log, create_ousted};
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::create_table;

use crate::capture;
use crate::error::{Error, Result};
use crate::format;
use crate::former::CREATE_FORMER;
use crate::meta::{self, CREATE_STATION};
use crate::private;
use crate::rejects::create_rejects;
use crate::store::Store;

/// How long to wait for another program's write lock, unless told otherwise.
pub const BUSY_TIMEOUT_MS: u64 = 10_000;

/// How a file is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// How long to wait for another program's write lock, in milliseconds.
    pub busy_timeout_ms: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { busy_timeout_ms: BUSY_TIMEOUT_MS }
    }
}

/// Checks that a file can be at a path, and, unless it is to be made, that one is; returns its name in messages.
pub(crate) fn check_path(path: &Path, create: bool) -> Result<String> {
    let file = path.display().to_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // A browser's files are SQLite's own virtual ones.
    if cfg!(not(target_arch = "wasm32")) {
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(Error::FolderMissing { file });
        }
        if !create && !path.exists() {
            return Err(Error::Missing { file });
        }
        if path.is_dir() {
            return Err(Error::NotSqlite { file });
        }
    }
    Ok(file)
}

pub(crate) fn connect(path: &Path, options: OpenOptions, create: bool) -> Result<(Connection, String)> {
    let file = check_path(path, create)?;
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
        // What is in the way, SQLite says.
        if cfg!(not(target_arch = "wasm32")) && !path.exists() {
            drop(private::make(path));
        }
    }
    let db = Connection::open_with_flags(path, flags).map_err(|error| Error::sqlite(&file, "open the file", error))?;
    settle(&db, &file, options)?;
    Ok((db, file))
}

/// Sets what every connection of ours has.
fn settle(db: &Connection, file: &str, options: OpenOptions) -> Result<()> {
    let sql = |error| Error::sqlite(file, "open the file", error);
    db.busy_timeout(Duration::from_millis(options.busy_timeout_ms)).map_err(sql)?;
    // The first statement that reads the file: what is no database is found here.
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(sql)?;
    if db.is_readonly("main").map_err(sql)? {
        return Err(Error::ReadOnly { file: file.to_owned() });
    }
    // FULL: what was committed, and above all what was sent, survives a power cut (in WAL mode NORMAL would not promise it).
    db.pragma_update(None, "synchronous", "FULL").map_err(sql)
}

impl Store {
    /// Makes a station's file from a schema: tables, log and capture triggers. `station_uuid` are 16 random bytes.
    ///
    /// An existing SQLite file is accepted as long as none of the schema's tables exists in it.
    ///
    /// # Errors
    /// See [`Error`]; nothing is changed then.
    pub fn init(path: impl AsRef<Path>, schema: &Schema, station_uuid: [u8; 16]) -> Result<Self> {
        Self::init_with(path, schema, station_uuid, OpenOptions::default())
    }

    /// [`Store::init`] with options.
    ///
    /// # Errors
    /// See [`Error`]; nothing is changed then.
    pub fn init_with(
        path: impl AsRef<Path>,
        schema: &Schema,
        station_uuid: [u8; 16],
        options: OpenOptions,
    ) -> Result<Self> {
        let (db, file) = connect(path.as_ref(), options, true)?;
        Self::init_connection(db, file, schema, station_uuid)
    }

    /// Makes a station's file on an open connection; `file` is its name in messages.
    ///
    /// # Errors
    /// See [`Error`]; nothing is changed then.
    pub fn init_connection(mut db: Connection, file: String, schema: &Schema, station_uuid: [u8; 16]) -> Result<Self> {
        check_init(&db, &file, schema)?;
        // WAL: readers and our pushes never wait for a writer. Where a file system cannot do it, SQLite keeps its old mode, and all holds.
        if cfg!(not(target_arch = "wasm32")) {
            db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
                .map_err(|error| Error::sqlite(&file, "switch the file to write-ahead logging", error))?;
        }
        let sql = |error| Error::sqlite(&file, "make the tables", error);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        // Again, now that nobody else can write.
        check_init(&tx, &file, schema)?;
        for &index in schema.parents_first() {
            tx.execute_batch(&create_table(schema, &schema.tables()[index])).map_err(sql)?;
        }
        make_ours(&tx, &file, schema, station_uuid)?;
        tx.commit().map_err(sql)?;
        Self::open_connection(db, file)
    }

    /// Opens a station's file.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, OpenOptions::default())
    }

    /// [`Store::open`] with options.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let (db, file) = connect(path.as_ref(), options, false)?;
        Self::open_connection(db, file)
    }

    /// Opens a station's file on an open connection; `file` is its name in messages.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open_connection(mut db: Connection, file: String) -> Result<Self> {
        match format::check(&db, &file)? {
            None => return Err(Error::NotTidemark { file }),
            Some(found) if found >= format::FORMAT => {}
            Some(_) => format::upgrade(&mut db, &file)?,
        }
        let identity = meta::read_identity(&db, &file)?;
        // Reads the whole row once, so that a damaged one is an error here and not in the middle of a push.
        meta::read(&db, &file)?;
        let mut store = Self::new(db, file, identity);
        store.check_capture()?;
        Ok(store)
    }
}

/// Makes what every station's file has beside the schema's tables: our tables, the triggers, the station's row.
pub(crate) fn make_ours(db: &Connection, file: &str, schema: &Schema, station_uuid: [u8; 16]) -> Result<()> {
    let sql = |error| Error::sqlite(file, "make the tables", error);
    let log = [create_log(schema), create_ousted(schema), create_rejects(schema)];
    for statement in
        [CREATE_STATION, format::CREATE_SCHEMAS, CREATE_FORMER].into_iter().chain(log.iter().map(String::as_str))
    {
        db.execute_batch(statement).map_err(sql)?;
    }
    for table in schema.tables() {
        for trigger in capture::derived(db, file, table)? {
            db.execute_batch(&trigger).map_err(sql)?;
        }
    }
    meta::write::insert(db, format::FORMAT, schema, station_uuid).map_err(sql)
}

fn check_init(db: &Connection, file: &str, schema: &Schema) -> Result<()> {
    if format::check(db, file)?.is_some() {
        let there = meta::read_schema(db, file)?;
        return Err(Error::AlreadyTidemark {
            file: file.to_owned(),
            schema: there.name().to_owned(),
            version: there.version(),
        });
    }
    let sql = |error| Error::sqlite(file, "read the names of the tables", error);
    let mut query =
        db.prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name").map_err(sql)?;
    let names = query
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)
        .map_err(sql)?;
    let clash = |name: &String| {
        name.to_ascii_lowercase().starts_with("tidemark_")
            || schema.tables().iter().any(|table| table.name.eq_ignore_ascii_case(name))
    };
    let clashing: Vec<String> = names.into_iter().filter(clash).collect();
    if clashing.is_empty() {
        Ok(())
    } else {
        Err(Error::TablesExist { file: file.to_owned(), tables: clashing.join(", ") })
    }
}
