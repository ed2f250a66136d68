//! The store's connections: who may have how many, for how long, and a transaction on one of them.
//!
//! Of `pool_max` connections one is for readiness alone; reports and exports have a sixth of the rest, and as many are
//! left to lookups in the ledger, which come before every other request. Transactions and surveys share what remains.

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Pool, PoolError, TimeoutType, Timeouts};
use tidemark_core::schema::Schema;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_postgres::Client;

use super::connect::{CONNECT_TIMEOUT, connect_and_tell};
use super::connection::{Connection, Connector, Pulse};
use super::pooled::Pooled;
use super::transaction::{BEGIN_SILENCE, PostgresTransaction, Undoing};
use super::{inspect, touched};
use crate::bounds::STATEMENT_TIMEOUT;
use crate::database::PostgresUrl;
use crate::stores::last_write::LastWrite;
use crate::survey::SURVEY_TIME;
use crate::upstream::Work;
use crate::upstream::error::{StoreError, Unavailability};

/// Idle connections that are kept.
const CONNECTIONS_KEPT: usize = 10;
/// How long an idle connection over that number stays.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long it may give none to a question of the ledger.
pub(super) const LOOKUP_SILENCE: Duration = Duration::from_secs(10);
/// How much longer than a statement may take it may give none in a transaction: then it is the database that is
/// silent, for it would have ended the statement.
const SILENCE_MARGIN: Duration = Duration::from_secs(10);
/// How long a transaction that failed may take to be undone, before its connection is closed all the same.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement waits for a lock of another transaction, at most. Longer than a large batch takes that has
/// just made a chunk, which others then wait for; a lock that is held for longer is not waited for on a connection.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// What is set in every transaction, besides its timeouts, for it alone: no setting is left in the session.
const SETTINGS: [(&str, &str); 4] =
    [("synchronous_commit", "on"), ("idle_in_transaction_session_timeout", "60s"), ("TimeZone", "UTC"), ("jit", "off")];

/// The store.
#[derive(Clone)]
pub struct PostgresUpstream {
    pub(super) schema: Arc<Schema>,
    connector: Connector,
    pool: Pool<Connector>,
    /// The one connection that tells whether a write would succeed.
    probing: Pool<Connector>,
    shares: Arc<Shares>,
    pub(super) pooled: Pooled,
    pub(super) last_write: Arc<LastWrite>,
    pub(super) description: String,
    pub(super) has_reports: bool,
    /// The beginning of every transaction.
    settings: String,
    /// How long the database may give no sign within a transaction.
    silence: Duration,
    /// How long a survey may read.
    pub(super) survey_time: Duration,
}

/// For what a connection is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A transaction, or a survey.
    Work,
    /// A question to the ledger.
    Lookup,
    /// A report, or an export.
    Report,
    /// Whether a write would succeed.
    Probe,
}

impl Purpose {
    /// Its name in the metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Lookup => "lookup",
            Self::Report => "report",
            Self::Probe => "probe",
        }
    }
}

/// Who may have how many connections at once.
struct Shares {
    work: Semaphore,
    reports: Semaphore,
}

/// How a transaction ended.
enum Ended {
    /// It is durable.
    Committed,
    /// It is undone: rows were refused that had no savepoint.
    Unmarked,
}

/// How many transactions and surveys run at once on a pool of so many connections.
pub(crate) const fn work_max(pool_max: usize) -> usize {
    let share = share(pool_max);
    if pool_max > 2 * share { pool_max - 2 * share } else { 1 }
}

const fn share(pool_max: usize) -> usize {
    if pool_max < 6 { 1 } else { pool_max / 6 }
}

/// A connection on loan. It goes back to the pool only when what it was wanted for has succeeded ([`Lent::end`]).
/// However else that ends, by an error, a panic or because nobody waits any more, it is closed, and the database ends,
/// undoes and unlocks what was begun. For the driver leaves a connection behind on which every answer is the one to the
/// question before when a COPY fails at its very beginning (it ends the COPY that did not begin, and that is answered,
/// too).
pub(super) struct Lent<'u> {
    object: Option<Object<Connector>>,
    connector: &'u Connector,
    _turn: Option<SemaphorePermit<'u>>,
}

impl Lent<'_> {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut Connection {
        self.object.as_mut().expect("BUG: a connection is lent until it is dropped")
    }

    /// The connection, and its signs of life.
    pub(super) fn take(&mut self) -> (&mut Client, Arc<Pulse>) {
        let connection = self.connection();
        (&mut connection.client, Arc::clone(&connection.pulse))
    }

    /// Gives the connection back when all went well, and else closes it.
    pub(super) fn end<T>(mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match &done {
            Ok(_) if self.connection().pulse.is_at_work() => {}
            Ok(_) => drop(self.object.take()),
            Err(error) => {
                let epoch = self.connection().epoch;
                self.connector.failed(epoch, error);
            }
        }
        done
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

/// The statement that makes the settings of a transaction: one, so that it can be prepared. A wait for another's lock
/// ends before the time of its statement is over, and by another name: it says nothing of the statement.
fn settings(statement_timeout: Duration) -> String {
    let ms = |timeout: Duration| timeout.as_millis().clamp(1, i32::MAX as u128).to_string();
    let (statement, lock) = (ms(statement_timeout), ms(LOCK_TIMEOUT.min(statement_timeout * 3 / 4)));
    let timeouts = [("statement_timeout", statement.as_str()), ("lock_timeout", &lock)];
    let all = SETTINGS.into_iter().chain(timeouts);
    let set: Vec<String> = all.map(|(name, value)| format!("set_config('{name}', '{value}', true)")).collect();
    format!("SELECT {}", set.join(", "))
}

fn pool(connector: &Connector, size: usize, wait: Duration) -> anyhow::Result<Pool<Connector>> {
    let timeouts = Timeouts { wait: Some(wait), create: Some(CONNECT_TIMEOUT), recycle: Some(CONNECT_TIMEOUT) };
    Ok(Pool::builder(connector.clone()).max_size(size).timeouts(timeouts).runtime(Runtime::Tokio1).build()?)
}

impl PostgresUpstream {
    /// Connects, and checks that the database matches the schema.
    ///
    /// # Errors
    /// When the server does not answer or refuses, or the database does not match; lists the differences.
    pub async fn open(url: &PostgresUrl, schema: Arc<Schema>, pool_max: usize) -> anyhow::Result<Self> {
        let (mut client, leg) = connect_and_tell(url).await?;
        // A table that somebody has locked is told, not waited for until they go.
        client.batch_execute(&format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
        let differences = inspect::differences(&mut client, &schema).await?;
        if !differences.is_empty() {
            anyhow::bail!(
                "the database {url} does not match schema {} version {}:\n  {}\nrun `tidemark-server migrate up` with the same --database and --schema (`migrate plan` shows the SQL)",
                schema.name(),
                schema.version(),
                differences.join("\n  ")
            );
        }
        let description = format!("{}; {leg}", inspect::describe(&client, &schema).await?);
        let has_reports = touched::has_reports(&client).await?;
        drop(client);
        let connector = Connector::new(url.clone());
        let all = pool(&connector, pool_max.saturating_sub(1).max(1), CONNECT_TIMEOUT)?;
        let probing = pool(&connector, 1, BEGIN_SILENCE)?;
        let shares =
            Arc::new(Shares { work: Semaphore::new(work_max(pool_max)), reports: Semaphore::new(share(pool_max)) });
        let upstream = Self {
            schema,
            connector,
            pooled: Pooled::new(all.clone()),
            pool: all,
            probing,
            shares,
            last_write: Arc::default(),
            description,
            has_reports,
            settings: String::new(),
            silence: Duration::ZERO,
            survey_time: SURVEY_TIME,
        };
        Ok(upstream.with_statement_timeout(STATEMENT_TIMEOUT))
    }

    /// Lets a statement of a transaction take this long; unless told otherwise it is [`STATEMENT_TIMEOUT`].
    #[must_use]
    pub fn with_statement_timeout(self, statement_timeout: Duration) -> Self {
        Self { settings: settings(statement_timeout), silence: statement_timeout + SILENCE_MARGIN, ..self }
    }

    /// Lets a survey read for so long; unless told otherwise it is [`SURVEY_TIME`].
    #[must_use]
    pub fn with_survey_time(self, survey_time: Duration) -> Self {
        Self { survey_time, ..self }
    }

    /// A connection, once there is one.
    pub(super) async fn lend(&self, purpose: Purpose) -> Result<Lent<'_>, StoreError> {
        let asked_at = Instant::now();
        let lent = self.lend_in_turn(purpose).await;
        self.pooled.waited(purpose.name(), asked_at.elapsed());
        lent
    }

    async fn lend_in_turn(&self, purpose: Purpose) -> Result<Lent<'_>, StoreError> {
        let (turns, pool) = match purpose {
            Purpose::Work => (Some(&self.shares.work), &self.pool),
            Purpose::Report => (Some(&self.shares.reports), &self.pool),
            Purpose::Lookup => (None, &self.pool),
            Purpose::Probe => (None, &self.probing),
        };
        let none = || {
            let message = format!("no connection of the pool was free for {CONNECT_TIMEOUT:?}");
            let busy = || StoreError::unavailable(Unavailability::Busy, message);
            self.connector.just_failed().unwrap_or_else(busy)
        };
        let turn = match turns {
            Some(turns) => match tokio::time::timeout(CONNECT_TIMEOUT, turns.acquire()).await {
                Ok(Ok(turn)) => Some(turn),
                _ => return Err(none()),
            },
            None => None,
        };
        let object = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => none(),
            other => StoreError::unavailable(Unavailability::Away, other.to_string()),
        })?;
        Ok(Lent { object: Some(object), connector: &self.connector, _turn: turn })
    }

    /// Lets connections go that stand idle beyond the kept ones.
    pub(super) fn shrink(&self) {
        let mut kept = 0;
        self.pool.retain(|_, metrics| {
            kept += 1;
            kept <= CONNECTIONS_KEPT || metrics.last_used() < IDLE_MAX
        });
    }

    /// No connection of this epoch is used again: the next one knows no statement yet.
    pub(super) fn forget_statements(&self, epoch: u64) {
        self.connector.ends(epoch);
    }

    pub(super) async fn attempt(&self, work: &Work) -> Result<(), StoreError> {
        let mut lent = self.lend(Purpose::Work).await?;
        let done = self.run(lent.connection(), work).await;
        lent.end(done)
    }

    async fn run(&self, connection: &Connection, work: &Work) -> Result<(), StoreError> {
        match self.run_once(connection, work, Undoing::Again).await {
            Ok(Ended::Unmarked) => self.run_once(connection, work, Undoing::Savepoints).await.map(|_| ()),
            done => done.map(|_| ()),
        }
    }

    async fn run_once(&self, connection: &Connection, work: &Work, undoing: Undoing) -> Result<Ended, StoreError> {
        let pulse = &connection.pulse;
        let begin = PostgresTransaction::begin(&self.schema, connection, &self.settings, self.has_reports, undoing);
        let mut transaction = begin.await;
        let mut done = pulse.watch(self.silence, work(&mut transaction)).await;
        if done.is_ok() {
            done = pulse.watch(self.silence, transaction.commit()).await;
        }
        if done.is_err() && !pulse.is_at_work() {
            // Waited for: what it had locked is free when the next attempt begins. The connection is closed, unless the
            // transaction is run again at once.
            let _ = pulse.watch(ROLLBACK_TIMEOUT, transaction.roll_back()).await;
        }
        match done.map_err(|error| transaction.of_sent(error)) {
            Err(error) if !pulse.is_at_work() && transaction.is_to_be_marked(&error) => Ok(Ended::Unmarked),
            Err(error) if transaction.pipeline.met_older_statement() => {
                self.forget_statements(connection.epoch);
                Err(StoreError::Conflict(error.to_string()))
            }
            done => done.map(|()| Ended::Committed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_has_its_share_of_the_pool() {
        for pool_max in 4..200 {
            let lookups = pool_max - 1 - work_max(pool_max) - share(pool_max);
            assert!(work_max(pool_max) >= 1 && share(pool_max) * 6 <= pool_max.max(6), "{pool_max}");
            assert!(lookups >= share(pool_max) - 1, "{pool_max}: {lookups}");
        }
        assert_eq!((work_max(30), share(30)), (20, 5));
        assert_eq!((work_max(1), share(1)), (1, 1));
    }
}
