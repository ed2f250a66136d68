//! The embedded upstream: one SQLite file, nothing to install. WAL, every commit synced; one writer, in a thread that may block.

mod exported;
mod inspect;
mod lines;
mod records;
mod rejects;
mod reports;
mod surveyed;
mod transaction;
mod upkeep;
mod values;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, ErrorCode};
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;

use self::records::{STATION_COLUMNS, cursor_of, station_by_token, station_of, station_where};
use self::transaction::SqliteTransaction;
pub(crate) use self::values::Parameter;
use self::values::{at_text, ms_of};
use super::reports::ReportStore;
use super::{Cause, KnownSchema, StoreError, Upstream};
use crate::ingest::apply::{Job, Outcome, Part, apply};
use crate::stations::{
    JoinAsk, JoinOutcome, NewStation, RotateOutcome, StationRecord, StationSummary, join, renew, rotate,
};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// Prepared statements kept: every text of a schema's tables, within reason.
const STATEMENTS_KEPT: usize = 256;

/// The store.
#[derive(Clone)]
pub struct SqliteUpstream {
    schema: Arc<Schema>,
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
    /// Reads whole tables, while `reader` answers what is asked in passing.
    surveyor: Arc<Mutex<Connection>>,
    has_reports: bool,
}

impl SqliteUpstream {
    /// Opens a file; makes and migrates it when it is new.
    ///
    /// # Errors
    /// When the file cannot be opened or written, is no SQLite file, holds something else, or does not match the schema; lists the
    /// differences.
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
        let has_reports = reports::has_reports(&reader)?;
        let surveyor = connect(path)?;
        let shared = |connection| Arc::new(Mutex::new(connection));
        Ok(Self { schema, writer: shared(writer), reader: shared(reader), surveyor: shared(surveyor), has_reports })
    }

    async fn with<R: Send + 'static>(
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

    /// Runs one write transaction.
    async fn transact<R: Send + 'static>(
        &self,
        run: impl for<'t> FnOnce(&'t mut SqliteTransaction<'_>) -> BoxFuture<'t, Result<R, StoreError>> + Send + 'static,
    ) -> Result<R, StoreError> {
        let schema = Arc::clone(&self.schema);
        Self::with(&self.writer, move |connection| {
            // Not rusqlite's own transaction: it borrows the connection shared, which is not `Send`.
            connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
            let mut transaction = SqliteTransaction { schema: &schema, connection };
            // Whatever ends this before COMMIT, the connection's guard undoes it.
            let result = run(&mut transaction).now_or_never().expect("BUG: SQLite blocks, it never waits")?;
            transaction.execute("COMMIT").map(|()| result)
        })
        .await
    }
}

/// A shared connection at work. When the work has ended, however it did, by an error or by a panic, no transaction of it is left open.
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
    open().map_err(|error| anyhow::anyhow!("database file {}: {error}", path.display()))
}

/// The first damage that SQLite finds in a database; `None` when every page and index is whole.
pub(crate) fn damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

fn failed(error: rusqlite::Error) -> StoreError {
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Violation(message),
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OperationInterrupted
            | ErrorCode::FileLockingProtocolFailed
            // Damage is the file's, not a row's: nothing is to be concluded from it, and nothing written.
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase,
        ) => StoreError::Unavailable(message),
        // SQLite itself would not: a trigger of the operator's that names what is not there, a value too long.
        Some(_) => {
            let code = error.sqlite_error().map_or(0, |error| error.extended_code);
            StoreError::Refused { cause: Cause::Sqlite(code), message }
        }
        None => StoreError::Fault(message),
    }
}

#[async_trait]
impl Upstream for SqliteUpstream {
    fn describe(&self) -> String {
        format!("embedded SQLite {}: tables with a time column are ordinary tables", rusqlite::version())
    }

    async fn apply(&self, job: Arc<Job>, part: Part) -> Result<Outcome, StoreError> {
        self.transact(move |tx| Box::pin(async move { apply(tx, &job, &part).await })).await
    }

    async fn knows_code(&self, code_hash: [u8; 32]) -> Result<bool, StoreError> {
        let found = move |connection: &mut Connection| Ok(station_where(connection, "code_hash", code_hash)?.is_some());
        Self::with(&self.reader, found).await
    }

    async fn join(&self, ask: &JoinAsk) -> Result<JoinOutcome, StoreError> {
        let ask = ask.clone();
        self.transact(move |tx| Box::pin(async move { join(tx, &ask).await })).await
    }

    async fn renew(&self, ask: &JoinAsk, number: StationNumber) -> Result<JoinOutcome, StoreError> {
        let ask = ask.clone();
        self.transact(move |tx| Box::pin(async move { renew(tx, &ask, number).await })).await
    }

    async fn rotate_station(&self, code: &NewStation) -> Result<RotateOutcome, StoreError> {
        let code = code.clone();
        self.transact(move |tx| Box::pin(async move { rotate(tx, &code).await })).await
    }

    async fn add_station(&self, station: &NewStation) -> Result<bool, StoreError> {
        let station = station.clone();
        Self::with(&self.writer, move |connection| add_station(connection, &station).map_err(failed)).await
    }

    async fn revoke_station(&self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        Self::with(&self.writer, move |connection| {
            let sql = "UPDATE tidemark_station SET revoked_at = coalesce(revoked_at, ?2) WHERE name = ?1";
            Ok(connection.execute(sql, (name, at_text(now_ms))).map_err(failed)? == 1)
        })
        .await
    }

    async fn stations(&self) -> Result<Vec<StationSummary>, StoreError> {
        Self::with(&self.reader, |connection| {
            let sql = format!(
                "SELECT {STATION_COLUMNS}, c.seq, c.updated_at, 
                     (SELECT count(*) FROM tidemark_rejects r WHERE r.station = number AND r.state = 'open')
                 FROM tidemark_station LEFT JOIN tidemark_cursor c ON c.station = number ORDER BY name"
            );
            let read = || -> rusqlite::Result<Vec<StationSummary>> {
                let mut select = connection.prepare(&sql)?;
                let rows = select.query_map([], |row| {
                    Ok(StationSummary {
                        record: station_of(row)?,
                        tidemark: row.get::<_, Option<i64>>(8)?.unwrap_or(0).unsigned_abs(),
                        updated_at_ms: row.get::<_, Option<String>>(9)?.map(|text| ms_of(&text)),
                        rejects: row.get::<_, i64>(10)?.unsigned_abs(),
                    })
                })?;
                rows.collect()
            };
            read().map_err(failed)
        })
        .await
    }

    async fn station_by_token(&self, token_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        Self::with(&self.reader, move |connection| station_by_token(connection, &token_hash)).await
    }

    async fn station_by_uuid(&self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        Self::with(&self.reader, move |connection| station_where(connection, "station_uuid", uuid)).await
    }

    async fn cursor(&self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        Self::with(&self.reader, move |connection| cursor_of(connection, station)).await
    }

    async fn schemas(&self) -> Result<Vec<KnownSchema>, StoreError> {
        Self::with(&self.reader, |connection| {
            let read = || -> rusqlite::Result<Vec<KnownSchema>> {
                let mut select = connection.prepare("SELECT fingerprint, toml FROM tidemark_schema")?;
                let rows =
                    select.query_map([], |row| Ok(KnownSchema { fingerprint: row.get(0)?, toml: row.get(1)? }))?;
                rows.collect()
            };
            read().map_err(failed)
        })
        .await
    }

    async fn ready(&self) -> Result<Vec<String>, StoreError> {
        let schema = Arc::clone(&self.schema);
        Self::with(&self.reader, move |connection| inspect::differences(connection, &schema).map_err(failed)).await
    }

    fn reports(&self) -> Option<&dyn ReportStore> {
        self.has_reports.then_some(self)
    }
}

/// Invites a station; `false` when the name is taken.
fn add_station(connection: &Connection, station: &NewStation) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO tidemark_station (name, code_hash, code_expires_at, created_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (name) DO NOTHING";
    let values = (&station.name, station.code_hash, at_text(station.code_expires_at_ms), at_text(station.now_ms));
    Ok(connection.execute(sql, values)? == 1)
}
