//! The store's pool of connections, and a transaction on one of them.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tidemark_core::schema::Schema;
use tokio_postgres::NoTls;

use super::connect::{CONNECT_TIMEOUT, connect, failed};
use super::transaction::PostgresTransaction;
use super::{inspect, touched};
use crate::bounds::STATEMENT_TIMEOUT;
use crate::upstream::Work;
use crate::upstream::error::{StoreError, Unavailability};

/// Idle connections that are kept.
const CONNECTIONS_KEPT: usize = 10;
/// How long an idle connection over that number stays.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long a transaction that failed may take to be undone, before its connection is closed all the same.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement waits for a lock of another transaction, at most.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Set in every transaction, with its timeouts. Not for the session, so that a transaction-pooling proxy may stand
/// between.
const SETTINGS: &str = "SET LOCAL synchronous_commit = on; SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL TIME ZONE 'UTC'; SET LOCAL jit = off";

/// The store.
#[derive(Clone)]
pub struct PostgresUpstream {
    pub(super) schema: Arc<Schema>,
    pool: Pool,
    pub(super) description: String,
    pub(super) has_reports: bool,
    /// The settings of every transaction.
    settings: String,
}

/// A connection that goes back to the pool only when its transaction was committed. However else the work on it ends,
/// by an error or a panic, it is closed, and the database undoes and unlocks what was begun. For the driver leaves a
/// connection behind on which every answer is the one to the question before when a COPY fails at its very beginning
/// (it ends the COPY that did not begin, and that is answered, too).
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

/// The settings of a transaction. A wait for another's lock ends before the time of its statement is over, and by
/// another name: it says nothing of the statement.
fn settings(statement_timeout: Duration) -> String {
    let ms = |timeout: Duration| timeout.as_millis().clamp(1, i32::MAX as u128);
    let lock_timeout = LOCK_TIMEOUT.min(statement_timeout * 3 / 4);
    format!(
        "{SETTINGS}; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}",
        ms(statement_timeout),
        ms(lock_timeout)
    )
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
        let has_reports = touched::has_reports(&client).await?;
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

    pub(super) async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => failed(error).before_all(),
            other => StoreError::unavailable(Unavailability::Away, other.to_string()),
        })
    }

    pub(super) async fn attempt(&self, work: &Work) -> Result<(), StoreError> {
        let mut lent = Lent { object: Some(self.client().await?), committed: false };
        let inner = lent.client().transaction().await.map_err(|error| failed(error).before_all())?;
        inner.batch_execute(&self.settings).await.map_err(|error| failed(error).before_all())?;
        let mut transaction = PostgresTransaction::new(&self.schema, &inner, self.has_reports);
        if let Err(error) = work(&mut transaction).await {
            // Waited for: what it had locked is free when the next attempt begins. The connection is closed in any
            // case.
            let _ = tokio::time::timeout(ROLLBACK_TIMEOUT, inner.rollback()).await;
            return Err(error);
        }
        inner.commit().await.map_err(failed)?;
        lent.committed = true;
        Ok(())
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
