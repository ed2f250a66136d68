//! Files on the origin's private file system: a pool of sync access handles for each database, exclusive to the worker that opened it.

use rusqlite::{Connection, OpenFlags};
use sqlite_wasm_rs::WasmOsCallback;
use sqlite_wasm_vfs::sahpool::{OpfsSAHError, OpfsSAHPoolCfgBuilder, OpfsSAHPoolUtil, install};

use crate::error::{Code, Failure, Result};

/// Files of a pool: the database, its journal, and some to spare.
const FILES: usize = 4;

/// Write-ahead logging: one flush per commit, where a rollback journal takes three or four. Its index needs shared memory, which there is none
/// of, unless the connection is the only one from its first look at the file: hence the order. A log that a large transaction has stretched is
/// cut to this many bytes again.
const SETTINGS: &str = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 8388608";

/// An open pool: whoever has it has all handles of the database.
pub struct Pool(OpfsSAHPoolUtil);

fn refused(error: &OpfsSAHError) -> Failure {
    let message = error.to_string();
    // The browser's own error has no other mark: this crate passes on its text alone.
    let code = if message.contains("QuotaExceededError") { Code::Full } else { Code::NoStorage };
    Failure::new(code, format!("this site's private storage cannot be opened: {message}"))
}

impl Pool {
    /// Takes the handles of the database `name`.
    ///
    /// # Errors
    /// No OPFS here; another worker has the handles.
    pub async fn open(name: &str) -> Result<Self> {
        let options = OpfsSAHPoolCfgBuilder::new()
            .vfs_name(&vfs_of(name))
            .directory(&format!(".tidemark/{name}"))
            .initial_capacity(FILES)
            .build();
        let pool = install::<WasmOsCallback>(&options, false).await.map_err(|error| refused(&error))?;
        if pool.is_paused() {
            pool.resume().await.map_err(|error| refused(&error))?;
        }
        Ok(Self(pool))
    }

    /// Gives the handles back. The database must be closed.
    pub fn close(self) -> Result<()> {
        self.0.pause().map_err(|error| refused(&error))
    }
}

fn vfs_of(name: &str) -> String {
    format!("tidemark-{name}")
}

/// Opens the database in its pool.
///
/// # Errors
/// SQLite's.
pub fn connect(name: &str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags_and_vfs(format!("{name}.db"), flags, vfs_of(name).as_str())
        .map_err(Failure::statement)?;
    db.execute_batch(SETTINGS).map_err(Failure::statement)?;
    Ok(db)
}

/// Opens a database in memory.
///
/// # Errors
/// SQLite's.
pub fn connect_memory() -> Result<Connection> {
    Connection::open_in_memory().map_err(Failure::statement)
}
