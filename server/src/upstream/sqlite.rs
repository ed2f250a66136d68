//! The embedded upstream: one SQLite file, nothing to install. WAL, every commit synced; one writer, in a thread that may block.

mod inspect;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, ValueRef as SqlValue};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, ToSql};
use tidemark_core::batch::Group;
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::digest::RowDigest;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::timestamp;
use tidemark_core::value::{ColumnType, ValueRef, format_uuid, parse_uuid};

use super::memory::rejected_change;
use super::{KnownSchema, Reject, StoreError, StoreTransaction, TableDigest, Upstream};
use crate::ingest::apply::{Job, Outcome, apply};
use crate::ingest::plan::TableWrites;
use crate::ingest::questions::{ColumnAt, Facts, Key, Questions};
use crate::stations::{JoinAsk, JoinOutcome, NewStation, StationRecord, StationSummary, join};

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
        Ok(Self { schema, writer: Arc::new(Mutex::new(writer)), reader: Arc::new(Mutex::new(reader)) })
    }

    async fn with<R: Send + 'static>(
        connection: &Arc<Mutex<Connection>>,
        work: impl FnOnce(&mut Connection) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let connection = Arc::clone(connection);
        let run = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::Fault(format!("the database thread ended: {error}"))),
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
            let result = run(&mut transaction).now_or_never().expect("BUG: SQLite blocks, it never waits");
            let ended = match result {
                Ok(result) => transaction.execute("COMMIT").map(|()| result),
                Err(error) => Err(error),
            };
            if ended.is_err() && !transaction.connection.is_autocommit() {
                transaction.execute("ROLLBACK")?;
            }
            ended
        })
        .await
    }
}

/// Opens a connection with the settings of an upstream.
///
/// # Errors
/// When the file cannot be opened or is no SQLite file; names it.
pub fn connect(path: &Path) -> anyhow::Result<Connection> {
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
            | ErrorCode::ReadOnly,
        ) => StoreError::Unavailable(message),
        _ => StoreError::Fault(message),
    }
}

/// A typed value as a parameter.
struct Parameter<'a>(ValueRef<'a>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            ValueRef::Null => ToSqlOutput::Borrowed(SqlValue::Null),
            ValueRef::Integer(v) => v.into(),
            ValueRef::Real(v) => v.into(),
            ValueRef::Text(v) | ValueRef::Json(v) => ToSqlOutput::Borrowed(SqlValue::Text(v.as_bytes())),
            ValueRef::Boolean(v) => i64::from(v).into(),
            ValueRef::Timestamp(v) => timestamp::format(v).into(),
            ValueRef::Bytes(v) => ToSqlOutput::Borrowed(SqlValue::Blob(v)),
            ValueRef::Uuid(v) => format_uuid(v).into(),
        })
    }
}

/// A stored value by its column's type.
fn typed(ty: ColumnType, value: SqlValue<'_>) -> Option<ValueRef<'_>> {
    Some(match (ty, value) {
        (_, SqlValue::Null) => ValueRef::Null,
        (ColumnType::Integer, SqlValue::Integer(v)) => ValueRef::Integer(v),
        (ColumnType::Boolean, SqlValue::Integer(v)) => ValueRef::Boolean(v != 0),
        (ColumnType::Real, SqlValue::Real(v)) => ValueRef::Real(v),
        (ColumnType::Real, SqlValue::Integer(v)) => ValueRef::Real(v as f64),
        (ColumnType::Text, SqlValue::Text(v)) => ValueRef::Text(std::str::from_utf8(v).ok()?),
        (ColumnType::Json, SqlValue::Text(v)) => ValueRef::Json(std::str::from_utf8(v).ok()?),
        (ColumnType::Timestamp, SqlValue::Text(v)) => ValueRef::Timestamp(timestamp::parse(v).ok()?),
        (ColumnType::Uuid, SqlValue::Text(v)) => ValueRef::Uuid(parse_uuid(v)?),
        (ColumnType::Bytes, SqlValue::Blob(v)) => ValueRef::Bytes(v),
        _ => return None,
    })
}

fn key_of(table: &Table, column: usize, row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Key>> {
    Ok(typed(table.columns[column].ty, row.get_ref(at)?).and_then(Key::of))
}

fn at_text(ms: i64) -> String {
    timestamp::format(ms.saturating_mul(1000))
}

fn ms_of(text: &str) -> i64 {
    timestamp::parse(text.as_bytes()).map_or(0, |us| us.div_euclid(1000))
}

struct SqliteTransaction<'s> {
    schema: &'s Schema,
    connection: &'s mut Connection,
}

impl SqliteTransaction<'_> {
    fn execute(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(failed)
    }

    fn gather(&self, station: StationNumber, questions: &Questions) -> rusqlite::Result<Facts> {
        let mut facts = Facts::default();
        for (&index, keys) in &questions.present {
            let table = &self.schema.tables()[index];
            let (key, name) = (quote(&table.key_column().name), quote(&table.name));
            let time = table.time_column().map_or_else(|| "NULL".to_owned(), |time| quote(&time.name));
            let mut select = self.connection.prepare_cached(&format!("SELECT {time} FROM {name} WHERE {key} = ?1"))?;
            for key in keys {
                let mut rows = select.query([Parameter(key.value())])?;
                while let Some(row) = rows.next()? {
                    let time = match typed(ColumnType::Timestamp, row.get_ref(0)?) {
                        Some(ValueRef::Timestamp(us)) => us,
                        _ => 0,
                    };
                    facts.present.entry((index, *key)).or_default().insert(time);
                }
            }
        }
        for (&index, keys) in &questions.foreign {
            let table = &self.schema.tables()[index];
            let (key, name) = (quote(&table.key_column().name), quote(&table.name));
            let sql = format!("SELECT \"station\" FROM {name} WHERE {key} = ?1 AND \"station\" <> ?2");
            let mut select = self.connection.prepare_cached(&sql)?;
            for key in keys {
                let owner = select.query_row((Parameter(key.value()), station.get()), |row| row.get(0)).optional()?;
                facts.foreign.extend(owner.map(|owner| ((index, *key), owner)));
            }
        }
        for (&at, keys) in &questions.children {
            let table = &self.schema.tables()[at.table];
            let (column, name) = (quote(&table.columns[at.column].name), quote(&table.name));
            let mut count =
                self.connection.prepare_cached(&format!("SELECT count(*) FROM {name} WHERE {column} = ?1"))?;
            for key in keys {
                let rows: i64 = count.query_row([Parameter(key.value())], |row| row.get(0))?;
                facts.children.insert((at, *key), rows.unsigned_abs());
            }
        }
        for (&index, keys) in &questions.holders {
            let table = &self.schema.tables()[index];
            let columns = questions.holder_columns(index);
            let list: Vec<String> = columns.iter().map(|&column| quote(&table.columns[column].name)).collect();
            let (key, name) = (quote(&table.key_column().name), quote(&table.name));
            let sql = format!("SELECT {} FROM {name} WHERE {key} = ?1", list.join(", "));
            let mut select = self.connection.prepare_cached(&sql)?;
            for key in keys {
                let mut rows = select.query([Parameter(key.value())])?;
                while let Some(row) = rows.next()? {
                    for (place, &column) in columns.iter().enumerate() {
                        let at = ColumnAt { table: index, column };
                        facts.holders.insert((at, *key), key_of(table, column, row, place)?);
                    }
                }
            }
        }
        Ok(facts)
    }

    fn write_rows(&self, station: StationNumber, groups: &[Group], write: &TableWrites) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let mut upsert = self.connection.prepare_cached(&upsert_sql(table)).map_err(failed)?;
        for at in write.fresh.iter().chain(&write.upserts) {
            let row = groups[at.group as usize].row(at.row as usize);
            let mut place = 0;
            for value in row {
                place += 1;
                upsert.raw_bind_parameter(place, Parameter(value)).map_err(failed)?;
            }
            upsert.raw_bind_parameter(place + 1, station.get()).map_err(failed)?;
            if upsert.raw_execute().map_err(failed)? == 0 {
                return Err(StoreError::Violation("the row belongs to another station".to_owned()));
            }
        }
        Ok(())
    }

    fn delete_rows(&self, station: StationNumber, write: &TableWrites) -> rusqlite::Result<()> {
        let table = &self.schema.tables()[write.table];
        let (key, name) = (quote(&table.key_column().name), quote(&table.name));
        let mut sql = format!("DELETE FROM {name} WHERE {key} = ?1 AND \"station\" = ?2");
        if let Some(time) = table.time_column() {
            sql.push_str(&format!(" AND {} = ?3", quote(&time.name)));
        }
        let mut delete = self.connection.prepare_cached(&sql)?;
        for identity in &write.deletes {
            delete.raw_bind_parameter(1, Parameter(identity.key.value()))?;
            delete.raw_bind_parameter(2, station.get())?;
            if table.time.is_some() {
                delete.raw_bind_parameter(3, Parameter(ValueRef::Timestamp(identity.time_us)))?;
            }
            delete.raw_execute()?;
        }
        Ok(())
    }

    fn keep(&self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO tidemark_rejects (station, seq, at, received_at, tbl, op, code, message, image, origin)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        for reject in rejects {
            insert.execute((
                reject.station.get(),
                reject.seq.cast_signed(),
                at_text(reject.at_ms),
                at_text(reject.received_at_ms),
                reject.table,
                reject.op,
                reject.code,
                reject.message,
                reject.image,
                reject.origin,
            ))?;
        }
        Ok(())
    }
}

fn upsert_sql(table: &Table) -> String {
    let mut columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    columns.push("\"station\"".to_owned());
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    let sets: Vec<String> = columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let name = quote(&table.name);
    format!(
        "INSERT INTO {name} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {} WHERE {name}.\"station\" = excluded.\"station\"",
        columns.join(", "),
        places.join(", "),
        quote(&table.key_column().name),
        sets.join(", ")
    )
}

const STATION_COLUMNS: &str = "name, number, station_uuid, token_hash, code_expires_at, joined_at, revoked_at";

fn station_of(row: &Row<'_>) -> rusqlite::Result<StationRecord> {
    let ms = |at: usize| row.get::<_, Option<String>>(at).map(|text| text.map(|text| ms_of(&text)));
    Ok(StationRecord {
        name: row.get(0)?,
        number: row.get::<_, Option<u32>>(1)?.and_then(|number| StationNumber::new(number).ok()),
        uuid: row.get(2)?,
        token_hash: row.get(3)?,
        code_expires_at_ms: ms(4)?.unwrap_or(0),
        joined_at_ms: ms(5)?,
        revoked_at_ms: ms(6)?,
    })
}

fn station_where(connection: &Connection, column: &str, value: &[u8]) -> Result<Option<StationRecord>, StoreError> {
    let sql = format!("SELECT {STATION_COLUMNS} FROM tidemark_station WHERE {column} = ?1");
    let mut select = connection.prepare_cached(&sql).map_err(failed)?;
    select.query_row([value], station_of).optional().map_err(failed)
}

fn cursor_of(connection: &Connection, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT seq, chain FROM tidemark_cursor WHERE station = ?1").map_err(failed)?;
    let cursor = select.query_row([station.get()], |row| {
        Ok(Cursor { seq: row.get::<_, i64>(0)?.unsigned_abs(), chain: Chain(row.get(1)?) })
    });
    cursor.optional().map_err(failed)
}

const REJECT_COLUMNS: &str = "station, seq, at, received_at, tbl, op, code, message, image, origin";

fn reject_of(row: &Row<'_>) -> rusqlite::Result<Option<Reject>> {
    let Ok(station) = StationNumber::new(row.get(0)?) else { return Ok(None) };
    Ok(Some(Reject {
        station,
        seq: row.get::<_, i64>(1)?.unsigned_abs(),
        at_ms: ms_of(&row.get::<_, String>(2)?),
        received_at_ms: ms_of(&row.get::<_, String>(3)?),
        table: row.get(4)?,
        op: row.get(5)?,
        code: row.get(6)?,
        message: row.get(7)?,
        image: row.get(8)?,
        origin: row.get(9)?,
    }))
}

#[async_trait]
impl StoreTransaction for SqliteTransaction<'_> {
    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        // The transaction began as the one writer: everything is locked.
        cursor_of(self.connection, station)
    }

    async fn facts(&mut self, station: StationNumber, questions: &Questions) -> Result<Facts, StoreError> {
        self.gather(station, questions).map_err(failed)
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.execute("SAVEPOINT tidemark")
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK TO tidemark; RELEASE tidemark")
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.execute("RELEASE tidemark")
    }

    async fn write(
        &mut self,
        station: StationNumber,
        groups: &[Group],
        writes: &[TableWrites],
    ) -> Result<(), StoreError> {
        for write in writes {
            self.write_rows(station, groups, write)?;
        }
        for write in writes.iter().rev().filter(|write| !write.deletes.is_empty()) {
            self.delete_rows(station, write).map_err(failed)?;
        }
        Ok(())
    }

    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError> {
        self.keep(rejects).map_err(failed)
    }

    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError> {
        let sql = format!(
            "SELECT {REJECT_COLUMNS} FROM tidemark_rejects
             WHERE station = ?1 AND seq BETWEEN ?2 AND ?3 AND origin = 'server' ORDER BY seq"
        );
        let read = || -> rusqlite::Result<Vec<Option<Reject>>> {
            let mut select = self.connection.prepare_cached(&sql)?;
            let range = (station.get(), first_seq.cast_signed(), last_seq.cast_signed());
            select.query_map(range, reject_of)?.collect()
        };
        Ok(read().map_err(failed)?.iter().flatten().map(rejected_change).collect())
    }

    async fn advance(
        &mut self,
        station: StationNumber,
        cursor: Cursor,
        now_ms: i64,
        clock_offset_ms: i64,
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE tidemark_cursor SET seq = ?2, chain = ?3, updated_at = ?4, clock_offset_ms = ?5 WHERE station = ?1";
        let values = (station.get(), cursor.seq.cast_signed(), cursor.chain.0, at_text(now_ms), clock_offset_ms);
        self.connection.execute(sql, values).map_err(failed)?;
        Ok(())
    }

    async fn lock_stations(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn station_by_code(&mut self, code_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        station_where(self.connection, "code_hash", &code_hash)
    }

    async fn station_by_uuid(&mut self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        station_where(self.connection, "station_uuid", &uuid)
    }

    async fn last_number(&mut self) -> Result<u32, StoreError> {
        let sql = "SELECT coalesce(max(number), 0) FROM tidemark_station";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(failed)
    }

    async fn assign(
        &mut self,
        name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark_station SET number = ?2, station_uuid = ?3, token_hash = ?4, joined_at = ?5 WHERE name = ?1";
        let values = (name, number.get(), ask.uuid, ask.token_hash, at_text(ask.now_ms));
        self.connection.execute(sql, values).map_err(failed)?;
        let sql = "INSERT INTO tidemark_cursor (station, seq, chain, updated_at) VALUES (?1, 0, ?2, ?3)";
        self.connection.execute(sql, (number.get(), start.0, at_text(ask.now_ms))).map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl Upstream for SqliteUpstream {
    fn describe(&self) -> String {
        format!("embedded SQLite {}: tables with a time column are ordinary tables", rusqlite::version())
    }

    async fn apply(&self, job: Arc<Job>) -> Result<Outcome, StoreError> {
        self.transact(move |tx| Box::pin(async move { apply(tx, &job).await })).await
    }

    async fn knows_code(&self, code_hash: [u8; 32]) -> Result<bool, StoreError> {
        let found =
            move |connection: &mut Connection| Ok(station_where(connection, "code_hash", &code_hash)?.is_some());
        Self::with(&self.reader, found).await
    }

    async fn join(&self, ask: &JoinAsk) -> Result<JoinOutcome, StoreError> {
        let ask = ask.clone();
        self.transact(move |tx| Box::pin(async move { join(tx, &ask).await })).await
    }

    async fn add_station(&self, station: &NewStation) -> Result<bool, StoreError> {
        let station = station.clone();
        Self::with(&self.writer, move |connection| {
            let sql =
                "INSERT INTO tidemark_station (name, code_hash, code_expires_at, created_at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (name) DO NOTHING";
            let values =
                (station.name, station.code_hash, at_text(station.code_expires_at_ms), at_text(station.now_ms));
            Ok(connection.execute(sql, values).map_err(failed)? == 1)
        })
        .await
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
                "SELECT {STATION_COLUMNS}, c.seq, c.updated_at, (SELECT count(*) FROM tidemark_rejects r WHERE r.station = number)
                 FROM tidemark_station LEFT JOIN tidemark_cursor c ON c.station = number ORDER BY name"
            );
            let read = || -> rusqlite::Result<Vec<StationSummary>> {
                let mut select = connection.prepare(&sql)?;
                let rows = select.query_map([], |row| {
                    Ok(StationSummary {
                        record: station_of(row)?,
                        tidemark: row.get::<_, Option<i64>>(7)?.unwrap_or(0).unsigned_abs(),
                        updated_at_ms: row.get::<_, Option<String>>(8)?.map(|text| ms_of(&text)),
                        rejects: row.get::<_, i64>(9)?.unsigned_abs(),
                    })
                })?;
                rows.collect()
            };
            read().map_err(failed)
        })
        .await
    }

    async fn station_by_token(&self, token_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        Self::with(&self.reader, move |connection| station_where(connection, "token_hash", &token_hash)).await
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

    async fn rejects(&self, station: Option<StationNumber>, limit: u32) -> Result<Vec<Reject>, StoreError> {
        Self::with(&self.reader, move |connection| {
            let sql = format!(
                "SELECT {REJECT_COLUMNS} FROM tidemark_rejects WHERE ?1 IS NULL OR station = ?1
                 ORDER BY received_at DESC, station DESC, seq DESC LIMIT ?2"
            );
            let read = || -> rusqlite::Result<Vec<Option<Reject>>> {
                let mut select = connection.prepare(&sql)?;
                select.query_map((station.map(StationNumber::get), limit), reject_of)?.collect()
            };
            Ok(read().map_err(failed)?.into_iter().flatten().collect())
        })
        .await
    }

    async fn digest(&self, station: StationNumber) -> Result<Vec<TableDigest>, StoreError> {
        let schema = Arc::clone(&self.schema);
        Self::with(&self.reader, move |connection| {
            schema.tables().iter().map(|table| digest_table(connection, table, station)).collect()
        })
        .await
    }

    async fn ready(&self) -> Result<Vec<String>, StoreError> {
        let schema = Arc::clone(&self.schema);
        Self::with(&self.reader, move |connection| inspect::differences(connection, &schema).map_err(failed)).await
    }
}

fn digest_table(connection: &Connection, table: &Table, station: StationNumber) -> Result<TableDigest, StoreError> {
    let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    let sql = format!("SELECT {} FROM {} WHERE \"station\" = ?1", columns.join(", "), quote(&table.name));
    let mut digest = RowDigest::default();
    let mut scratch = Vec::new();
    let mut select = connection.prepare(&sql).map_err(failed)?;
    let mut rows = select.query([station.get()]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let mut values = Vec::with_capacity(table.columns.len());
        for (at, column) in table.columns.iter().enumerate() {
            let value = typed(column.ty, row.get_ref(at).map_err(failed)?);
            values.push(value.ok_or_else(|| {
                StoreError::Fault(format!("{}.{} holds a value of another type", table.name, column.name))
            })?);
        }
        digest.add(&mut scratch, &table.name, values.into_iter());
    }
    Ok(TableDigest { table: table.name.clone(), digest })
}
