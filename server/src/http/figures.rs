//! What only the database knows of the metrics: asked for by one task, now and then, with a deadline of its own. Nobody
//! who reads metrics waits for it, and what it found last stays until it finds something else.

use std::time::Duration;

use tidemark_core::protocol::{Problem, UnavailableReason};
use tokio::time::{Instant, timeout};

use super::endpoint::Endpoint;
use crate::fleet::view::{self, Station};
use crate::metrics::{DatabaseFigures, FleetFigures, StationFigures};
use crate::upstream::error::StoreError;

/// How long the database may take to answer all of it.
const DEADLINE: Duration = Duration::from_secs(10);

impl Endpoint {
    /// Asks for the figures at once and every so often. It never ends.
    pub async fn refresh_figures(&self) {
        loop {
            self.refresh_once().await;
            self.access.tell_due();
            tokio::time::sleep(self.metrics.refresh_every).await;
        }
    }

    async fn refresh_once(&self) {
        let began = Instant::now();
        let metrics = self.ingest.metrics();
        let ready = timeout(DEADLINE, self.health.ready(&self.ingest)).await;
        let figures = ready.map_or(DatabaseFigures::default(), |ready| database_figures(&ready));
        metrics.health.database(figures);
        let gathered = match figures.is_up {
            true => timeout(DEADLINE, self.gather()).await.is_ok_and(|gathered| gathered.is_ok()),
            false => false,
        };
        metrics.health.refreshed(self.ingest.clock().now_ms(), began.elapsed(), gathered);
    }

    async fn gather(&self) -> Result<(), StoreError> {
        let (upstream, metrics) = (self.ingest.upstream(), self.ingest.metrics());
        let now_ms = self.ingest.clock().now_ms();
        let stations = view::stations(upstream.as_ref(), Some(&self.fleet), now_ms).await?;
        let stations = stations.into_iter().map(station_figures).collect();
        let rejects_open = upstream.ledger().open_by_code().await?;
        metrics.set_fleet(&FleetFigures { stations, rejects_open, now_ms }, self.metrics.stations_max);
        if let Some(reports) = upstream.reports() {
            metrics.health.rollup_lag(reports.freshness().await?.lag_ms(now_ms));
        }
        let backup = upstream.ledger().last_backup(now_ms).await?;
        metrics.health.last_backup(backup.map(|backup| (backup.at_ms, backup.size_bytes)));
        Ok(())
    }
}

/// What a look at the database says of it.
fn database_figures(ready: &Result<(), Problem>) -> DatabaseFigures {
    let reason = ready.as_ref().err().map(|problem| problem.reason);
    let is_away =
        matches!(reason, Some(None | Some(UnavailableReason::DatabaseAway | UnavailableReason::DatabaseStarting)));
    let is_read_only = reason == Some(Some(UnavailableReason::DatabaseReadOnly));
    DatabaseFigures { is_up: !is_away, is_read_only, is_ready: ready.is_ok() }
}

/// What is known of one station.
fn station_figures(station: Station) -> StationFigures {
    StationFigures {
        number: station.number,
        name: station.name,
        state: station.state,
        last_contact_ms: station.last_contact_ms,
        tidemark: station.tidemark,
        rejects_open: station.rejects_open,
        pending: station.pending,
        oldest_ms: station.oldest_ms,
        clock_offset_ms: station.clock_offset_ms,
        free_disk_bytes: station.free_disk_bytes,
    }
}
