//! The PostgreSQL upstream, with TimescaleDB or without.
//!
//! | file | what lives there |
//! |---|---|
//! | `copy` | binary COPY, encoded by hand |
//! | `transaction` | the store transaction: sets of rows asked and written |
//! | `isolate` | which rows the database refuses, found set by set |
//! | `lines` | lines of stations |
//! | `rules` | what a table refuses rows for |
//! | `rejects` | rejected changes |
//! | `surveyed` | a station's rows, streamed |
//! | `reports` | what reports are made from, and the notes of what was written |
//! | `exported` | all rows, streamed |
//! | `upkeep` | what is settled, thinned out |
//! | `inspect` | what of the schema a database has not |

mod copy;
mod exported;
mod inspect;
mod isolate;
mod lines;
mod ranges;
mod rejects;
pub mod reports;
mod rules;
mod surveyed;
mod transaction;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::future::BoxFuture;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;
use tidemark_migrations::with_causes;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, NoTls};

use self::transaction::{PostgresTransaction, STATION_COLUMNS, StampMs, UuidBytes, cursor_of, station_of};
use super::error::of_sql_state;
use super::reports::ReportStore;
use super::{KnownSchema, StoreError, Upstream};
use crate::bounds::STATEMENT_TIMEOUT;
use crate::ingest::apply::{Job, Outcome, Part, apply};
use crate::stations::{
    JoinAsk, JoinOutcome, NewStation, RotateOutcome, StationRecord, StationSummary, join, renew, rotate,
};

/// Idle connections that are kept.
const CONNECTIONS_KEPT: usize = 10;
/// How long an idle connection over that number stays.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long a request waits for a connection, and a connection for its server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a transaction that met another one is repeated.
const ATTEMPTS: u32 = 6;

/// How long a transaction that failed may take to be undone, before its connection is closed all the same.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement waits for a lock of another transaction, at most.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Set in every transaction, with its timeouts. Not for the session, so that a transaction-pooling proxy may stand between.
const SETTINGS: &str = "SET LOCAL synchronous_commit = on; SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL TIME ZONE 'UTC'; SET LOCAL jit = off";

/// The store.
#[derive(Clone)]
pub struct PostgresUpstream {
    schema: Arc<Schema>,
    pool: Pool,
    description: String,
    has_reports: bool,
    /// The settings of every transaction.
    settings: String,
}

/// A connection that goes back to the pool only when its transaction was committed. However else the work on it ends, by an error or a panic,
/// it is closed, and the database undoes and unlocks what was begun. For the driver leaves a connection behind on which every answer is the
/// one to the question before when a COPY fails at its very beginning (it ends the COPY that did not begin, and that is answered, too).
struct Lent {
    object: Option<Object>,
    committed: bool,
}

impl Lent {
    fn client(&mut self) -> &mut Object {
        self.object.as_mut().expect("BUG: a connection is lent until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.object.take().filter(|_| !self.committed) {
            drop(Object::take(object));
        }
    }
}

/// The settings of a transaction. A wait for another's lock ends before the time of its statement is over, and by another name: it says
/// nothing of the statement.
fn settings(statement_timeout: Duration) -> String {
    let ms = |timeout: Duration| timeout.as_millis().clamp(1, i32::MAX as u128);
    let lock_timeout = LOCK_TIMEOUT.min(statement_timeout * 3 / 4);
    format!(
        "{SETTINGS}; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}",
        ms(statement_timeout),
        ms(lock_timeout)
    )
}

/// What the driver says, with the server's own words and without the values of rows.
pub(crate) fn message_of(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return match db.constraint() {
            Some(constraint) => format!("{} (constraint {constraint}, SQLSTATE {})", db.message(), db.code().code()),
            None => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        };
    }
    with_causes(error)
}

/// Whose fault an error is.
pub(crate) fn failed(error: tokio_postgres::Error) -> StoreError {
    let message = message_of(&error);
    if let Some(state) = error.code() {
        return of_sql_state(state.code(), message);
    }
    // Without a word of the database: the connection, or, as the driver sees it, what was to go over it.
    let unsent = std::error::Error::source(&error).is_some_and(|cause| {
        cause.downcast_ref().is_none_or(|io: &std::io::Error| io.kind() == std::io::ErrorKind::InvalidInput)
    });
    if unsent && !error.is_closed() { StoreError::Fault(message) } else { StoreError::Unavailable(message) }
}

/// Connects once, outside a pool: for migrations.
///
/// # Errors
/// When the server does not answer or refuses; the password is not shown.
pub async fn connect(config: &tokio_postgres::Config) -> anyhow::Result<tokio_postgres::Client> {
    let shown = crate::database::DatabaseUrl::Postgres(Box::new(config.clone()));
    let mut config = config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    let (client, connection) = config
        .connect(NoTls)
        .await
        .map_err(|error| anyhow::anyhow!("cannot connect to {shown}: {}", message_of(&error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to PostgreSQL ended: {}", message_of(&error));
        }
    });
    Ok(client)
}

impl PostgresUpstream {
    /// Connects, and checks that the database matches the schema.
    ///
    /// # Errors
    /// When the server does not answer or refuses, or the database does not match; lists the differences.
    pub async fn open(config: &tokio_postgres::Config, schema: Arc<Schema>, pool_max: usize) -> anyhow::Result<Self> {
        let shown = crate::database::DatabaseUrl::Postgres(Box::new(config.clone()));
        let mut client = connect(config).await?;
        let differences = inspect::differences(&mut client, &schema).await?;
        if !differences.is_empty() {
            anyhow::bail!(
                "the database {shown} does not match schema {} version {}:\n  {}\nrun `tidemark-server migrate up` with the same --database and --schema (`migrate plan` shows the SQL)",
                schema.name(),
                schema.version(),
                differences.join("\n  ")
            );
        }
        let description = inspect::describe(&client, &schema).await?;
        let has_reports = reports::has_reports(&client).await?;
        drop(client);
        let mut config = config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("tidemark-server");
        }
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let timeouts =
            Timeouts { wait: Some(CONNECT_TIMEOUT), create: Some(CONNECT_TIMEOUT), recycle: Some(CONNECT_TIMEOUT) };
        let pool =
            Pool::builder(manager).max_size(pool_max.max(1)).timeouts(timeouts).runtime(Runtime::Tokio1).build()?;
        tokio::spawn(shrink(pool.weak()));
        let settings = settings(STATEMENT_TIMEOUT);
        Ok(Self { schema, pool, description, has_reports, settings })
    }

    /// Lets a statement of a transaction take this long; unless told otherwise it is [`STATEMENT_TIMEOUT`].
    #[must_use]
    pub fn with_statement_timeout(self, statement_timeout: Duration) -> Self {
        Self { settings: settings(statement_timeout), ..self }
    }

    async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => StoreError::Unavailable(message_of(&error)),
            other => StoreError::Unavailable(other.to_string()),
        })
    }

    async fn station_where(
        &self,
        column: &str,
        value: (&(dyn ToSql + Sync), Type),
    ) -> Result<Option<StationRecord>, StoreError> {
        let sql = format!("SELECT {STATION_COLUMNS} FROM tidemark.station WHERE {column} = $1");
        let row = self.client().await?.query_typed_opt(&sql, &[value]).await.map_err(failed)?;
        Ok(row.as_ref().map(station_of))
    }

    /// Runs one transaction; repeats it when it met another one.
    async fn transact<R>(
        &self,
        run: impl for<'t> Fn(&'t mut PostgresTransaction<'_>) -> BoxFuture<'t, Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(&run).await {
                Err(StoreError::Conflict(message)) if attempt < ATTEMPTS => {
                    tracing::debug!(attempt, "the transaction is repeated: {message}");
                    // Full jitter over a doubling window, so that those who met do not meet again.
                    let window_ms = 10_u64 << attempt;
                    let [random] = crate::clock::random_bytes::<1>().unwrap_or([128]);
                    tokio::time::sleep(Duration::from_millis(window_ms * u64::from(random) / 255)).await;
                }
                result => return result,
            }
        }
    }

    async fn attempt<R>(
        &self,
        run: &impl for<'t> Fn(&'t mut PostgresTransaction<'_>) -> BoxFuture<'t, Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        let mut lent = Lent { object: Some(self.client().await?), committed: false };
        let inner = lent.client().transaction().await.map_err(|error| failed(error).before_all())?;
        inner.batch_execute(&self.settings).await.map_err(|error| failed(error).before_all())?;
        let mut transaction = PostgresTransaction::new(&self.schema, &inner, self.has_reports);
        let result = match run(&mut transaction).await {
            Ok(result) => result,
            Err(error) => {
                // Waited for: what it had locked is free when the next attempt begins. The connection is closed in any case.
                let _ = tokio::time::timeout(ROLLBACK_TIMEOUT, inner.rollback()).await;
                return Err(error);
            }
        };
        inner.commit().await.map_err(failed)?;
        lent.committed = true;
        Ok(result)
    }
}

/// Lets connections go that stand idle beyond the kept ones.
async fn shrink(pool: deadpool_postgres::WeakPool) {
    loop {
        tokio::time::sleep(IDLE_MAX / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut kept = 0;
        pool.retain(|_, metrics| {
            kept += 1;
            kept <= CONNECTIONS_KEPT || metrics.last_used() < IDLE_MAX
        });
    }
}

#[async_trait]
impl Upstream for PostgresUpstream {
    fn describe(&self) -> String {
        self.description.clone()
    }

    async fn apply(&self, job: Arc<Job>, part: Part) -> Result<Outcome, StoreError> {
        self.transact(|tx| {
            let (job, part) = (Arc::clone(&job), part.clone());
            Box::pin(async move { apply(tx, &job, &part).await })
        })
        .await
    }

    async fn knows_code(&self, code_hash: [u8; 32]) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM tidemark.station WHERE code_hash = $1)";
        let client = self.client().await?;
        let row = client.query_typed_one(sql, &[(&code_hash.as_slice(), Type::BYTEA)]).await.map_err(failed)?;
        Ok(row.get(0))
    }

    async fn join(&self, ask: &JoinAsk) -> Result<JoinOutcome, StoreError> {
        self.transact(|tx| {
            let ask = ask.clone();
            Box::pin(async move { join(tx, &ask).await })
        })
        .await
    }

    async fn renew(&self, ask: &JoinAsk, number: StationNumber) -> Result<JoinOutcome, StoreError> {
        self.transact(|tx| {
            let ask = ask.clone();
            Box::pin(async move { renew(tx, &ask, number).await })
        })
        .await
    }

    async fn rotate_station(&self, code: &NewStation) -> Result<RotateOutcome, StoreError> {
        self.transact(|tx| {
            let code = code.clone();
            Box::pin(async move { rotate(tx, &code).await })
        })
        .await
    }

    async fn add_station(&self, station: &NewStation) -> Result<bool, StoreError> {
        add_station(&**self.client().await?, station).await
    }

    async fn revoke_station(&self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE tidemark.station SET revoked_at = coalesce(revoked_at, $2) WHERE name = $1";
        let client = self.client().await?;
        let rows = client.execute_typed(sql, &[(&name, Type::TEXT), (&StampMs(now_ms), Type::TIMESTAMPTZ)]).await;
        Ok(rows.map_err(failed)? == 1)
    }

    async fn stations(&self) -> Result<Vec<StationSummary>, StoreError> {
        let sql = format!(
            "SELECT {STATION_COLUMNS}, c.seq, c.updated_at,
                 (SELECT count(*) FROM tidemark.rejects r WHERE r.station = number AND r.state = 'open')
             FROM tidemark.station LEFT JOIN tidemark.cursor c ON c.station = number ORDER BY name"
        );
        let client = self.client().await?;
        let rows = client.query_typed(&sql, &[]).await.map_err(failed)?;
        Ok(rows
            .iter()
            .map(|row| StationSummary {
                record: station_of(row),
                tidemark: row.get::<_, Option<i64>>(8).unwrap_or(0).unsigned_abs(),
                updated_at_ms: row.get::<_, Option<StampMs>>(9).map(|stamp| stamp.0),
                rejects: row.get::<_, i64>(10).unsigned_abs(),
            })
            .collect())
    }

    async fn station_by_token(&self, token_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        let sql = format!(
            "SELECT {STATION_COLUMNS} FROM tidemark.station WHERE token_hash = $1
                 OR number = (SELECT station FROM tidemark.ended_token WHERE ended_token.token_hash = $1)"
        );
        let client = self.client().await?;
        let row = client.query_typed_opt(&sql, &[(&token_hash.as_slice(), Type::BYTEA)]).await.map_err(failed)?;
        Ok(row.as_ref().map(station_of))
    }

    async fn station_by_uuid(&self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        self.station_where("station_uuid", (&UuidBytes(uuid), Type::UUID)).await
    }

    async fn cursor(&self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        let sql = "SELECT seq, chain FROM tidemark.cursor WHERE station = $1";
        let client = self.client().await?;
        let number = station.get().cast_signed();
        client.query_typed_opt(sql, &[(&number, Type::INT4)]).await.map_err(failed)?.as_ref().map(cursor_of).transpose()
    }

    async fn schemas(&self) -> Result<Vec<KnownSchema>, StoreError> {
        let client = self.client().await?;
        let rows = client.query_typed("SELECT fingerprint, toml FROM tidemark.schema", &[]).await.map_err(failed)?;
        Ok(rows.iter().map(|row| KnownSchema { fingerprint: row.get(0), toml: row.get(1) }).collect())
    }

    async fn ready(&self) -> Result<Vec<String>, StoreError> {
        let mut client = self.client().await?;
        let looked = async {
            let mut found = inspect::differences(&mut client, &self.schema).await?;
            // Of tables that are not there nothing can be asked.
            if found.is_empty() {
                found = inspect::rights(&client, &self.schema).await?;
            }
            Ok::<_, inspect::InspectError>(found)
        };
        looked.await.map_err(|error| match error {
            inspect::InspectError::Postgres(error) => failed(error),
            inspect::InspectError::Migrate(error) => StoreError::Fault(error.to_string()),
        })
    }

    fn reports(&self) -> Option<&dyn ReportStore> {
        self.has_reports.then_some(self)
    }
}

/// Invites a station; `false` when the name is taken.
async fn add_station(client: &impl GenericClient, station: &NewStation) -> Result<bool, StoreError> {
    let sql = "INSERT INTO tidemark.station (name, code_hash, code_expires_at, created_at) VALUES ($1, $2, $3, $4)
               ON CONFLICT (name) DO NOTHING";
    let (expires, now) = (StampMs(station.code_expires_at_ms), StampMs(station.now_ms));
    let rows = client
        .execute_typed(
            sql,
            &[
                (&station.name, Type::TEXT),
                (&station.code_hash.as_slice(), Type::BYTEA),
                (&expires, Type::TIMESTAMPTZ),
                (&now, Type::TIMESTAMPTZ),
            ],
        )
        .await;
    Ok(rows.map_err(failed)? == 1)
}
