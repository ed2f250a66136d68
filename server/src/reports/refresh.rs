//! The roll-ups of reports, brought up to date while the server runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::live::Live;
use crate::metrics::Metrics;
use crate::panics::Panics;
use crate::supervision;
use crate::upstream::Upstream;

/// Keeps the roll-ups of reports up to date, where there are any. Several servers on one database take turns.
pub(crate) fn start(
    upstream: &Arc<dyn Upstream>,
    every: Live<Option<Duration>>,
    metrics: &Arc<Metrics>,
    panics: &Arc<Panics>,
) -> Option<JoinHandle<()>> {
    upstream.reports()?;
    let (upstream, metrics) = (Arc::clone(upstream), Arc::clone(metrics));
    Some(supervision::spawn(panics, "bringing the roll-ups of reports up to date", move || {
        refresh_on(Arc::clone(&upstream), every.clone(), Arc::clone(&metrics))
    }))
}

async fn refresh_on(upstream: Arc<dyn Upstream>, every: Live<Option<Duration>>, metrics: Arc<Metrics>) {
    let mut failing = false;
    loop {
        // While it is to be never: until it is to be again.
        every.wait(|every| every.map(|_| Duration::ZERO)).await;
        let refreshed = match upstream.reports() {
            Some(reports) => reports.refresh(false).await,
            None => return,
        };
        if refreshed.is_err() {
            metrics.health.rollup_failed();
        }
        match refreshed {
            Ok(0) => failing = false,
            Ok(notes) => {
                failing = false;
                tracing::debug!(notes, "the roll-ups of reports are up to date");
            }
            // Once is enough: it goes on trying.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!("the roll-ups of reports cannot be brought up to date: {error}");
            }
            Err(_) => {}
        }
        every.wait(|every| *every).await;
    }
}
