//! The file: three connections to it, and what SQLite's errors mean.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use rusqlite::{Connection, ErrorCode};
use tidemark_core::schema::Schema;

use super::inspect;
use crate::stores::last_write::LastWrite;
use crate::upstream::error::{Cause, StoreError, Unavailability};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// The same for the try whether a write would succeed.
const PROBE_BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// A write that is undone: the guard of the connection does so where it fails.
const PROBE: &str = "BEGIN IMMEDIATE; UPDATE tidemark_schema SET fingerprint = fingerprint; ROLLBACK";
/// Prepared statements kept: every text of a schema's tables, within reason.
const STATEMENTS_KEPT: usize = 256;

/// The store.
#[derive(Clone)]
pub struct SqliteUpstream {
    pub(super) schema: Arc<Schema>,
    pub(super) writer: Arc<Mutex<Connection>>,
    pub(super) reader: Arc<Mutex<Connection>>,
    /// Reads whole tables, while `reader` answers what is asked in passing.
    pub(super) surveyor: Arc<Mutex<Connection>>,
    /// The turn to read a station's rows with it.
    pub(super) surveying: Arc<tokio::sync::Mutex<()>>,
    pub(super) last_write: Arc<LastWrite>,
    pub(super) has_reports: bool,
}

impl SqliteUpstream {
    /// Opens a file; makes and migrates it when it is new.
    ///
    /// # Errors
    /// When the file cannot be opened or written, is no SQLite file, holds something else, or does not match the
    /// schema; lists the differences.
    pub fn open(path: &Path, schema: Arc<Schema>) -> anyhow::Result<Self> {
        let mut writer = connect(path)?;
        let done = tidemark_migrations::sqlite::up(&mut writer, &schema)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        for name in done {
            tracing::info!(migration = %name, "applied");
        }
        let reader = connect(path)?;
        let differences = inspect::differences(&reader, &schema)?;
        if !differences.is_empty() {
            anyhow::bail!(
                "the database file {} does not match schema {} version {}, although every migration was applied:\n  {}\n\
                 bring the tables back to what `tidemark-server migrate plan` prints for a new file, or restore a backup",
                path.display(),
                schema.name(),
                schema.version(),
                differences.join("\n  ")
            );
        }
        let has_reports = has_reports(&reader)?;
        let surveyor = connect(path)?;
        let shared = |connection| Arc::new(Mutex::new(connection));
        let (writer, reader, surveyor) = (shared(writer), shared(reader), shared(surveyor));
        let surveying = Arc::default();
        Ok(Self { schema, writer, reader, surveyor, surveying, last_write: Arc::default(), has_reports })
    }

    /// Tries a write, and undoes it. While a transaction runs, that one tells.
    pub(super) async fn try_a_write(&self) -> Result<(), StoreError> {
        let began = tokio::time::Instant::now();
        if self.writer.try_lock().is_ok() {
            Self::with(&self.writer, |connection| {
                connection.busy_timeout(PROBE_BUSY_TIMEOUT).map_err(failed)?;
                let tried = connection.execute_batch(PROBE).map_err(failed);
                connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
                tried
            })
            .await
            .map_err(StoreError::before_all)?;
        }
        self.last_write.after_a_try(began)
    }

    pub(super) async fn with<R: Send + 'static>(
        connection: &Arc<Mutex<Connection>>,
        work: impl FnOnce(&mut Connection) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let connection = Arc::clone(connection);
        let run = move || {
            // A panic poisons the lock, and takes the guard with it, which has put the connection in order.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let guard = Untransacted(&mut connection);
            work(guard.0)
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(ended) => match ended.try_into_panic() {
                // Whoever asked says what it was doing.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(ended) => Err(StoreError::Fault(format!("the database thread ended: {ended}"))),
            },
        }
    }
}

/// A shared connection at work. When the work has ended, however it did, by an error or by a panic, no transaction of
/// it is left open.
struct Untransacted<'c>(&'c mut Connection);

impl Drop for Untransacted<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("ROLLBACK")
        {
            tracing::error!(
                "a transaction on the embedded database cannot be undone: {error}; restart the server if it does not go on"
            );
        }
    }
}

/// Opens a connection with the settings of an upstream.
///
/// # Errors
/// When the file cannot be opened or is no SQLite file; names it.
pub fn connect(path: &Path) -> anyhow::Result<Connection> {
    // It holds the hashes of tokens, which seal bundles. What is in the way, SQLite says.
    if !path.exists() {
        drop(crate::files::make_private(path, false));
    }
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    };
    open().with_context(|| format!("database file {}", path.display()))
}

/// Brings what is in the write-ahead log into the file itself, and empties the log: then the file is all there is.
/// Says whether nobody kept it from doing so.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    let message = error.to_string();
    let code = error.sqlite_error_code();
    let why = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            Some(Unavailability::Locked)
        }
        Some(ErrorCode::DiskFull) => Some(Unavailability::Full),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Some(Unavailability::ReadOnly),
        Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => Some(Unavailability::Busy),
        Some(ErrorCode::CannotOpen) => Some(Unavailability::Away),
        // Damage is the file's, not a row's: nothing is to be concluded from it, and nothing written.
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Some(Unavailability::Damaged)
        }
        _ => None,
    };
    if let Some(why) = why {
        return StoreError::unavailable(why, message);
    }
    match code {
        Some(ErrorCode::ConstraintViolation) => StoreError::Violation(message),
        // SQLite itself would not: a trigger of the operator's that names what is not there, a value too long.
        Some(_) => {
            let code = error.sqlite_error().map_or(0, |error| error.extended_code);
            StoreError::Refused { cause: Cause::Sqlite(code), message }
        }
        None => StoreError::Fault(message),
    }
}

/// Whether the file holds the tables that reports are about.
fn has_reports(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = 'tidemark_reports_products')";
    connection.query_row(sql, [], |row| row.get(0))
}
