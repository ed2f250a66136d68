//! A connection of the pool: whether it is alive, whether it is of today, and its end, which also ends what it was
//! still doing.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::connect::{CONNECT_TIMEOUT, ConnectError, Credentials, Established, Tls, establish, message_of};
use super::prepared::Prepared;
use crate::database::PostgresUrl;
use crate::upstream::error::{StoreError, Unavailability};

/// How long a request to end a statement may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// The signs of life of a connection: when it was last sent something, or got something.
#[derive(Debug)]
pub(super) struct Pulse {
    since: Instant,
    /// Milliseconds from `since` on.
    last_ms: AtomicU64,
    /// Whether something was asked that was not answered to its end.
    at_work: AtomicBool,
    /// Whether a part of what is watched had no sign for too long: then it stays at work.
    was_silent: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        let [at_work, was_silent] = [false; 2].map(AtomicBool::new);
        Self { since: Instant::now(), last_ms: AtomicU64::new(0), at_work, was_silent }
    }

    fn beat(&self) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.since + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Whether something was asked that was not answered to its end.
    pub(super) fn is_at_work(&self) -> bool {
        self.at_work.load(Ordering::Relaxed)
    }

    /// What is asked of the database, unless it gives no sign for as long as `limit`.
    ///
    /// # Errors
    /// What was asked fails; or there was no sign. Then, and when this is dropped before its end, the connection knows
    /// that it is still at work.
    pub(super) async fn watch<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.beat();
        self.at_work.store(true, Ordering::Relaxed);
        self.was_silent.store(false, Ordering::Relaxed);
        let answer = self.heard(limit, asked).await?;
        self.at_work.store(self.was_silent.load(Ordering::Relaxed), Ordering::Relaxed);
        answer
    }

    /// A part of what is watched, for which the database may be silent for less long.
    ///
    /// # Errors
    /// As of [`Pulse::watch`].
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.heard(limit, asked).await?
    }

    /// The answer to what was asked, whatever it is; an error when there was no sign for so long.
    async fn heard<A>(&self, limit: Duration, asked: impl Future<Output = A>) -> Result<A, StoreError> {
        let mut asked = pin!(asked);
        loop {
            let ends = self.last() + limit;
            if let Ok(answer) = tokio::time::timeout_at(ends, &mut asked).await {
                return Ok(answer);
            }
            if self.last() + limit <= Instant::now() {
                self.was_silent.store(true, Ordering::Relaxed);
                let message = format!("the database gave no sign for {limit:?}");
                return Err(StoreError::unavailable(Unavailability::Away, message));
            }
        }
    }
}

/// A connection.
pub(super) struct Connection {
    pub(super) client: Client,
    /// A request to end a statement goes the same way, as well protected.
    tls: Tls,
    /// The statements that it has prepared.
    pub(super) prepared: Prepared,
    pub(super) pulse: Arc<Pulse>,
    pub(super) epoch: u64,
    /// Carries what is sent and received.
    carrying: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.carrying.abort();
        // The server would go on with a statement, and hold its locks, until it has something to say.
        if self.pulse.is_at_work()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let token = self.client.cancel_token();
            let tls = self.tls.clone();
            runtime.spawn(async move {
                match tokio::time::timeout(CANCEL_TIMEOUT, token.cancel_query(tls)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!("a statement was not cancelled: {}", message_of(&error)),
                    Err(_) => tracing::debug!("a statement was not cancelled within {CANCEL_TIMEOUT:?}"),
                }
            });
        }
    }
}

/// Makes connections for a pool.
///
/// A database that takes no writes any more, or went away, may be another one tomorrow under the same address. So each
/// connection belongs to an epoch, which ends with the first such failure of one of its connections: none of them is
/// used again. It also ends when a table was altered so that statements prepared before are refused.
#[derive(Clone)]
pub(super) struct Connector {
    url: PostgresUrl,
    credentials: Credentials,
    epoch: Arc<AtomicU64>,
    /// The last failure that says something of the whole database.
    last: Arc<Mutex<Option<(Instant, StoreError)>>>,
}

impl Connector {
    pub(super) fn new(url: PostgresUrl) -> Self {
        Self { url, credentials: Credentials::default(), epoch: Arc::default(), last: Arc::default() }
    }

    fn note(&self, error: &StoreError) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error.clone()));
    }

    /// How the database failed as a whole just before: then that is why somebody waits in vain for a connection.
    pub(super) fn just_failed(&self) -> Option<StoreError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < CONNECT_TIMEOUT * 2).map(|(_, error)| error.clone())
    }

    /// A connection of this epoch failed.
    pub(super) fn failed(&self, epoch: u64, error: &StoreError) {
        let ends = matches!(
            error.unavailability(),
            Some(Unavailability::Away | Unavailability::Starting | Unavailability::ReadOnly | Unavailability::Damaged)
        );
        if ends {
            self.note(error);
            self.ends(epoch);
        }
    }

    /// Ends an epoch. Of those that fail together, the first one ends it.
    pub(super) fn ends(&self, epoch: u64) {
        let _ = self.epoch.compare_exchange(epoch, epoch + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn connected(&self, epoch: u64) -> Result<Connection, StoreError> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, establish(&self.url, &self.credentials)).await;
        let established = connecting.map_err(|_| {
            StoreError::unavailable(Unavailability::Away, format!("no connection within {CONNECT_TIMEOUT:?}"))
        })?;
        let Established { client, connection, tls, .. } = established.map_err(ConnectError::into_store_error)?;
        let pulse = Arc::new(Pulse::new());
        let beating = Arc::clone(&pulse);
        let carrying = tokio::spawn(async move {
            let mut connection = pin!(connection);
            // It is polled when there is something to send, when it could be sent, and when something came.
            let ended = poll_fn(|context| {
                beating.beat();
                connection.as_mut().poll(context)
            });
            if let Err(error) = ended.await {
                tracing::debug!("a connection to PostgreSQL ended: {}", message_of(&error));
            }
        });
        Ok(Connection { client, tls, prepared: Prepared::default(), pulse, epoch, carrying })
    }
}

impl Manager for Connector {
    type Type = Connection;
    type Error = StoreError;

    async fn create(&self) -> Result<Connection, StoreError> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        self.connected(epoch).await.inspect_err(|error| self.note(error))
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<StoreError> {
        if connection.client.is_closed() || connection.pulse.is_at_work() {
            return Err(RecycleError::message("it was closed, or is still at work"));
        }
        if connection.epoch != self.epoch.load(Ordering::Relaxed) {
            return Err(RecycleError::message("it is of an epoch that ended"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_ends_what_was_asked_and_a_sign_of_life_does_not() {
        let pulse = Arc::new(Pulse::new());
        let limit = Duration::from_millis(400);
        tokio::time::sleep(limit * 2).await;
        // A pool kept it idle for longer: that is no silence.
        assert_eq!(pulse.watch(limit, async { Ok(7) }).await, Ok(7));
        let began = Instant::now();
        let silent = pulse.watch(limit, std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!(silent.unavailability(), Some(Unavailability::Away));
        assert!(pulse.is_at_work() && began.elapsed() >= limit, "{:?}", began.elapsed());
        let beating = Arc::clone(&pulse);
        let slow = async move {
            for _ in 0..12 {
                tokio::time::sleep(limit / 8).await;
                beating.beat();
            }
            Ok(40)
        };
        assert_eq!(pulse.watch(limit, slow).await, Ok(40));
        assert!(!pulse.is_at_work());
    }

    #[tokio::test]
    async fn an_epoch_ends_once_for_all_who_fail_together_and_not_by_what_says_nothing_of_the_server() {
        let connector = Connector::new("postgresql://u@localhost/d".parse().unwrap());
        let now = || connector.epoch.load(Ordering::Relaxed);
        for why in [Unavailability::Locked, Unavailability::Full, Unavailability::Busy] {
            connector.failed(0, &StoreError::unavailable(why, ""));
        }
        connector.failed(0, &StoreError::Violation(String::new()));
        assert_eq!(now(), 0);
        (0..5).for_each(|_| connector.failed(0, &StoreError::unavailable(Unavailability::ReadOnly, "")));
        assert_eq!(now(), 1);
    }
}
