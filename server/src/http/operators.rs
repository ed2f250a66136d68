//! The bounds of what operators ask: few questions at once, each within a stated time; so they take few of the
//! database's connections, and pushes keep theirs. Whether there are operators at all is asked once a second at most.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidemark_core::protocol::{Problem, UnavailableReason};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ingest::store_problem;
use crate::upstream::Upstream;

/// Most questions of operators at once.
const AT_ONCE: usize = 3;
/// How long one waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(5);
/// How long one may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How long it is known whether there are operators, in milliseconds.
const KNOWN_MS: i64 = 1_000;

/// The turns of operators.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: Semaphore,
    /// Whether there are operators, and when that was asked.
    known: Mutex<Option<(i64, bool)>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { at_once: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }
}

fn busy() -> Problem {
    let detail = "the server answers as many questions of operators as it does at once; try again soon";
    Problem::unavailable(UnavailableReason::ServerBusy, detail)
}

impl Turns {
    /// A turn, once there is one.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let turn = tokio::time::timeout(TURN_TIME, self.at_once.acquire()).await;
        turn.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Whether there was an operator when that was asked last, however long ago.
    pub(super) fn was_on(&self) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|(_, is_on)| is_on)
    }

    /// Whether there is an operator whose token opens something.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub(super) async fn is_on(&self, upstream: &dyn Upstream, now_ms: i64) -> Result<bool, Problem> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at_ms, is_on)) = known
            && (at_ms..at_ms.saturating_add(KNOWN_MS)).contains(&now_ms)
        {
            return Ok(is_on);
        }
        let is_on = upstream.ledger().has_operators().await.map_err(store_problem)?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms, is_on));
        Ok(is_on)
    }
}

/// Ends an answer that takes too long; what it asked of the database is cancelled.
pub(super) async fn in_time<T>(answering: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(ANSWER_TIME, answering).await.map_err(|_| {
        let detail = "the database did not answer in time; try again, or ask for less";
        Problem::unavailable(UnavailableReason::DatabaseBusy, detail)
    })?
}
