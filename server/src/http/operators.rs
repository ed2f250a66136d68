//! The bounds of what operators ask: few questions at once, each within a stated time; so they take few of the
//! database's connections, and pushes keep theirs. Whether there are operators at all is asked once a second at most,
//! by one request for all that want to know, also while the database is away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_core::protocol::{Problem, UnavailableReason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ingest::{Ingest, store_problem};

/// Most questions of operators at once.
const AT_ONCE: usize = 3;
/// How long one waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(5);
/// How long one may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How long an answer to an act is waited for; it goes on after that. Less than [`ANSWER_TIME`], so that who asked is
/// told so.
const ACT_TIME: Duration = Duration::from_secs(25);
/// How long it is known whether there are operators, or that nobody can tell, in milliseconds.
const KNOWN_MS: i64 = 1_000;

/// The turns of operators.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: Arc<Semaphore>,
    known: Mutex<Known>,
    /// Held by the one request that asks the database.
    asking: tokio::sync::Mutex<()>,
}

/// What is known of operators.
#[derive(Debug, Default)]
struct Known {
    /// The last answer or failure, and when that came, milliseconds since 1970 UTC.
    last: Option<(i64, Result<bool, Problem>)>,
    /// The last answer, however long ago.
    was_on: bool,
}

impl Default for Turns {
    fn default() -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Self { at_once, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }
}

fn busy() -> Problem {
    let detail = "the server answers as many questions of operators as it does at once; try again soon";
    Problem::unavailable(UnavailableReason::ServerBusy, detail)
}

impl Turns {
    /// A turn, once there is one.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = tokio::time::timeout(TURN_TIME, Arc::clone(&self.at_once).acquire_owned()).await;
        turn.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Whether there was an operator when that was asked last, however long ago.
    pub(super) fn was_on(&self) -> bool {
        self.known().was_on
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last answer or failure, unless that was too long ago.
    fn known_at(&self, now_ms: i64) -> Option<Result<bool, Problem>> {
        let known = self.known();
        let (at_ms, answer) = known.last.as_ref()?;
        (*at_ms..at_ms.saturating_add(KNOWN_MS)).contains(&now_ms).then(|| answer.clone())
    }

    /// Whether there is an operator whose token opens something.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub(super) async fn is_on(&self, ingest: &Ingest) -> Result<bool, Problem> {
        let clock = ingest.clock();
        if let Some(known) = self.known_at(clock.now_ms()) {
            return known;
        }
        let _asking = self.asking.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(known) = self.known_at(clock.now_ms()) {
            return known;
        }
        let answer = ingest.upstream().ledger().has_operators().await.map_err(store_problem);
        let mut known = self.known();
        known.was_on = answer.clone().unwrap_or(known.was_on);
        known.last = Some((clock.now_ms(), answer.clone()));
        answer
    }
}

/// Ends an answer that takes too long; what it asked of the database is cancelled.
pub(super) async fn in_time<T>(answering: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(ANSWER_TIME, answering).await.map_err(|_| {
        let detail = "the database did not answer in time; try again, or ask for less";
        Problem::unavailable(UnavailableReason::DatabaseBusy, detail)
    })?
}

/// Runs an act of several transactions to its end, also when nobody waits for it any more. It keeps its turn until
/// then.
///
/// # Errors
/// As the act; when it panicked; when it takes long, which it goes on to do.
pub(super) async fn to_its_end<T: Send + 'static>(
    ingest: &Ingest,
    turn: OwnedSemaphorePermit,
    act: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let acting = tokio::spawn(async move {
        let done = act.await;
        drop(turn);
        done
    });
    let ended = tokio::time::timeout(ACT_TIME, acting).await.map_err(|_| {
        let detail = "it takes long and goes on; the audit shows what becomes of it";
        Problem::unavailable(UnavailableReason::DatabaseBusy, detail)
    })?;
    ingest.panics().joined("acting for an operator", &"none", ended)?
}
