//! Whether a write would succeed: tried on a connection of its own, and undone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;

use super::connect::failed;
use super::pool::{PostgresUpstream, Purpose};
use crate::upstream::error::{StoreError, Unavailability};

/// How long a try may take.
const PROBE_TIME: Duration = Duration::from_secs(3);
/// How often a try also takes room on the disk, unless a write has just failed. In between it looks at flags.
const ROOM_EVERY: Duration = Duration::from_secs(10);
const SETTINGS: &str = "SET LOCAL statement_timeout = '2500ms'; SET LOCAL lock_timeout = '1s'";
const FLAGS: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";
/// A dozen pages of a new file.
const ROOM: &str =
    "CREATE TEMPORARY TABLE tidemark_probe ON COMMIT DROP AS SELECT n FROM generate_series(1, 2000) AS n";

/// When room was last taken.
#[derive(Debug, Default)]
pub(super) struct Probed(Mutex<Option<Instant>>);

impl PostgresUpstream {
    /// Tries a write, and undoes it.
    pub(super) async fn try_a_write(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let of_room = || self.probed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.last_write.failure().is_some() || of_room().is_none_or(|at| at.elapsed() >= ROOM_EVERY);
        let trying = async {
            let mut lent = self.lend(Purpose::Probe).await?;
            let (client, pulse) = lent.take();
            let done = pulse.watch(PROBE_TIME, tried(client, room)).await;
            lent.end(done.map_err(StoreError::before_all))
        };
        let tried = tokio::time::timeout(PROBE_TIME, trying).await;
        tried.unwrap_or_else(|_| {
            let message = format!("the database gave no answer within {PROBE_TIME:?}");
            Err(StoreError::unavailable(Unavailability::Away, message))
        })?;
        if room {
            *of_room() = Some(began);
        }
        self.last_write.after_a_try(began)
    }
}

async fn tried(client: &mut Client, room: bool) -> Result<(), StoreError> {
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(SETTINGS).await.map_err(failed)?;
    let flags = transaction.query_typed_one(FLAGS, &[]).await.map_err(failed)?;
    if flags.get(0) {
        return Err(StoreError::unavailable(Unavailability::ReadOnly, "it is in recovery: a standby, or not yet one"));
    }
    if flags.get(1) {
        return Err(StoreError::unavailable(Unavailability::ReadOnly, "transactions are read-only"));
    }
    if room {
        transaction.batch_execute(ROOM).await.map_err(failed)?;
    }
    transaction.rollback().await.map_err(failed)
}
