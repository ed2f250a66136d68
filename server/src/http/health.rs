//! Readiness: whether a write would succeed. Whoever asks, and however often, the database is asked once a second.

use std::sync::Arc;
use std::time::Duration;

use tidemark_core::protocol::Problem;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ingest::{Ingest, differs, store_problem};

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(1);
/// How long a comparison of the database with the schema is good that found no difference.
const COMPARED: Duration = Duration::from_secs(5);

/// What was last found. Who asks while it is looked up waits for that.
#[derive(Debug, Default)]
pub(super) struct Health(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    ready: Option<(Instant, Result<(), Problem>)>,
    compared: Option<Instant>,
}

impl Health {
    /// Whether a write would succeed.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn ready(&self, ingest: &Arc<Ingest>) -> Result<(), Problem> {
        let mut seen = Arc::clone(&self.0).lock_owned().await;
        if let Some((at, ready)) = &seen.ready
            && at.elapsed() < FRESH
        {
            return ready.clone();
        }
        // A task of its own: who asks and hangs up does not make the next one ask the database anew.
        let looked = Arc::clone(ingest);
        let looking = tokio::spawn(async move {
            let ready = look(&looked, &mut seen.compared).await;
            seen.ready = Some((Instant::now(), ready.clone()));
            ready
        });
        let looked = looking.await;
        ingest.panics().joined("looking whether the database is ready", &"none", looked)?
    }
}

async fn look(ingest: &Ingest, compared: &mut Option<Instant>) -> Result<(), Problem> {
    ingest.upstream().probe().await.map_err(store_problem)?;
    if compared.is_none_or(|at| at.elapsed() >= COMPARED) {
        *compared = None;
        let differences = ingest.upstream().ready().await.map_err(store_problem)?;
        if !differences.is_empty() {
            return Err(differs(&differences));
        }
        *compared = Some(Instant::now());
    }
    ingest.notices().well();
    Ok(())
}
