//! Upkeep: what is settled is kept for a stated time, and then thinned out, while stations push.
//!
//! These go: rejects that were settled before that time, and prints of batches that were applied before it. What
//! stays: whatever is open; what an open reject hangs on; verdicts that the station has not shown to know; and of
//! every station the prints of its newest changes, whatever their age. What cannot be told without what went is told
//! as such: [`crate::http`] answers a question about such a reject with *forgotten*, and a file that parted from its
//! number's history among changes without prints is told which they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::ledger::cursors::{Thinned, Thinning};
use crate::live::Live;
use crate::panics::Panics;
use crate::supervision;
use crate::upstream::error::StoreError;
use crate::upstream::{Upstream, transact};

/// The time for which what is settled is kept unless told otherwise.
pub const KEEP: Duration = Duration::from_secs(180 * 86_400);
/// So many of a station's newest changes keep their prints, whatever their age: 80 KB.
pub const PRINTS_KEPT: u64 = 10_000;
/// Rejects and batches taken away by one transaction.
const ROWS_MAX: u32 = 1_000;
/// The time between two rounds.
const EVERY: Duration = Duration::from_secs(3600);
/// Between two transactions, so that pushes come in between.
const PAUSE: Duration = Duration::from_millis(20);

impl dyn Upstream {
    /// Takes away what may go of one station, in one short transaction.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn thin(&self, thinning: &Thinning) -> Result<Thinned, StoreError> {
        let thinning = *thinning;
        transact(self, move |tx| Box::pin(async move { tx.thin(&thinning).await })).await
    }
}

/// Thins out what was settled before a time, milliseconds since 1970 UTC, of every station.
///
/// # Errors
/// When the store fails; what went until then is gone.
pub async fn thin_all(upstream: &dyn Upstream, before_ms: i64, prints_kept: u64) -> Result<Thinned, StoreError> {
    let mut total = Thinned::default();
    let numbers = upstream.stations().await?.into_iter().filter_map(|station| station.record.number);
    for station in numbers {
        loop {
            let thinned = upstream.thin(&Thinning { station, before_ms, prints_kept, rows_max: ROWS_MAX }).await?;
            total.rejects += thinned.rejects;
            total.batches += thinned.batches;
            if thinned.rejects.max(thinned.batches) < u64::from(ROWS_MAX) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(total)
}

/// Thins out every hour what is older than `keep` is then. Several servers on one database may do so.
pub(crate) fn start(
    upstream: &Arc<dyn Upstream>,
    clock: &Arc<dyn Clock>,
    keep: Live<Option<Duration>>,
    panics: &Arc<Panics>,
) -> JoinHandle<()> {
    let (upstream, clock) = (Arc::clone(upstream), Arc::clone(clock));
    supervision::spawn(panics, "thinning out what was settled long ago", move || {
        thin_on(Arc::clone(&upstream), Arc::clone(&clock), keep.clone())
    })
}

async fn thin_on(upstream: Arc<dyn Upstream>, clock: Arc<dyn Clock>, keep: Live<Option<Duration>>) {
    loop {
        // While it is for ever: until it is not any more.
        keep.wait(|keep| keep.map(|_| Duration::ZERO)).await;
        let keep_ms = keep.get().map_or(i64::MAX, |keep| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        let before_ms = clock.now_ms().saturating_sub(keep_ms);
        match thin_all(upstream.as_ref(), before_ms, PRINTS_KEPT).await {
            Ok(Thinned { rejects: 0, batches: 0 }) => {}
            Ok(Thinned { rejects, batches }) => {
                tracing::info!(rejects, batches, "thinned out what was settled long ago")
            }
            Err(error) => tracing::warn!("what was settled long ago cannot be thinned out now: {error}"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
