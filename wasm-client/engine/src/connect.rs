//! SQLite connections to a file, with a clear error for every path at which there is none.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};
use crate::private;

/// The wait for another program's write lock, in milliseconds, unless told otherwise.
pub const BUSY_TIMEOUT_MS: u64 = 10_000;

/// The options for opening a file.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// The longest wait for another program's write lock, in milliseconds.
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
    // FULL: what was committed, and above all what was sent, survives a power cut (in WAL mode NORMAL would not promise
    // it).
    db.pragma_update(None, "synchronous", "FULL").map_err(sql)
}
