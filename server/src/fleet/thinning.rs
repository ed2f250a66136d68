//! What is kept of batches for those who look does not grow for ever: of each station the newest, and what came in for
//! as long as its figures can be asked for. It goes whatever time settled rejects are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::panics::Panics;
use crate::supervision;
use crate::upstream::Upstream;
use crate::upstream::error::StoreError;

/// So many batches of each station stay.
pub const PUSHES_KEPT: u32 = 500;
/// The figures of what came in stay for so long, in milliseconds: 35 days.
pub const INGESTED_KEPT_MS: i64 = 35 * 86_400_000;
/// Rows taken away by one statement.
const ROWS_MAX: u32 = 1_000;
/// Between two rounds, and between two statements.
const EVERY: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(20);

/// Takes away what is too much of every station; returns how many rows went.
///
/// # Errors
/// When the store fails; what went until then is gone.
pub async fn thin(upstream: &dyn Upstream, now_ms: i64) -> Result<u64, StoreError> {
    let mut gone = upstream.ledger().thin_ingested(now_ms.saturating_sub(INGESTED_KEPT_MS)).await?;
    let numbers = upstream.stations().await?.into_iter().filter_map(|station| station.record.number);
    for station in numbers {
        loop {
            let some = upstream.ledger().thin_pushes(station, PUSHES_KEPT, ROWS_MAX).await?;
            gone += some;
            if some < u64::from(ROWS_MAX) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(gone)
}

/// Takes away every ten minutes what is too much. Several servers on one database may do so.
pub(crate) fn start(upstream: &Arc<dyn Upstream>, clock: &Arc<dyn Clock>, panics: &Arc<Panics>) -> JoinHandle<()> {
    let (upstream, clock) = (Arc::clone(upstream), Arc::clone(clock));
    supervision::spawn(panics, "thinning out what is kept of batches", move || {
        thin_on(Arc::clone(&upstream), Arc::clone(&clock))
    })
}

async fn thin_on(upstream: Arc<dyn Upstream>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(EVERY).await;
        match thin(upstream.as_ref(), clock.now_ms()).await {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "thinned out what is kept of batches for those who look"),
            Err(error) => tracing::debug!("what is kept of batches cannot be thinned out now: {error}"),
        }
    }
}
