//! Making and opening a station's file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use tidemark_core::schema::Schema;
use tidemark_core::sqlite::create_table;

use super::Store;
use crate::catalog::Catalog;
use crate::connect::{OpenOptions, connect};
use crate::create::{check_init, make_ours};
use crate::error::{Error, Result};
use crate::{format, meta};

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
        // WAL: readers and our pushes never wait for a writer. Where a file system cannot do it, SQLite keeps its old
        // mode, and all holds.
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
        let catalog = Catalog::read(&db, &file)?;
        // Reads the whole row once, so that a damaged one is an error here and not in the middle of a push.
        meta::read(&db, &file)?;
        let mut store = Self::new(db, file, catalog);
        store.check_capture()?;
        Ok(store)
    }
}
