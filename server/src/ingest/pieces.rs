//! Applying a batch in as many transactions as it takes: one, unless it touches too many chunks, or fails in a way that
//! repeats itself ([`patience`]). Each piece is a part of the log like a batch of its own: its rows, its rejects and
//! the cursor behind it commit together, so whatever ends this leaves a prefix of the batch, and the same batch goes on
//! from there.
//!
//! [`patience`]: super::patience

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemark_core::decision::Cursor;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::{Problem, ProblemCode, PushReply, RejectedChange, UnavailableReason};
use tokio::time::Instant;
use tracing::Span;

use super::apply::{Outcome, apply};
use super::decoded::{Decoded, Part};
use super::intake::Ingest;
use super::patience::{Next, Tried};
use super::problem::{differs, store_problem};
use super::stages::Stages;
use crate::metrics::Stage;
use crate::panics::caught;
use crate::spans::span;
use crate::upstream::error::{Cause, StoreError};
use crate::upstream::transact;

/// The outcome of a batch in this request, so far.
#[derive(Default)]
struct Tally {
    cursor: Option<Cursor>,
    /// Whether the last piece was taken.
    after_success: bool,
    applied: u32,
    duplicate: u32,
    rejected: Vec<RejectedChange>,
}

/// When the last try of a transaction began and ended its work, in nanoseconds since it was asked for.
#[derive(Debug, Default)]
struct Laps {
    begun: AtomicU64,
    applied: AtomicU64,
    /// The time for rows of earlier transactions of the batch.
    rows: Duration,
    /// The span of what comes after its work.
    commit: Mutex<Option<Span>>,
}

/// The time for rows so far.
fn rows_time(stages: &Stages) -> Duration {
    [Stage::Plan, Stage::Ask, Stage::Write].iter().map(|stage| stages.of(*stage)).sum()
}

impl Laps {
    /// The span of the commit begins, or with none it ends.
    fn commits(&self, span: Span) {
        *self.commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(span);
    }

    /// Tells where the time went of a transaction that took so long in all: what is neither planning nor asking nor
    /// writing rows is the ledger's.
    fn tell(&self, stages: &Stages, total: Duration) {
        let [begun, applied] = [&self.begun, &self.applied].map(|at| Duration::from_nanos(at.load(Ordering::Relaxed)));
        let rows = rows_time(stages).saturating_sub(self.rows);
        stages.add(Stage::Begin, begun);
        stages.add(Stage::Ledger, applied.saturating_sub(begun).saturating_sub(rows));
        stages.add(Stage::Commit, total.saturating_sub(applied));
    }
}

impl Ingest {
    /// Applies a decoded batch.
    ///
    /// # Errors
    /// That it does not follow what is there, or that the database could not take it; what was taken until then stays.
    pub async fn apply(&self, job: Decoded) -> Result<PushReply, Problem> {
        let applied = self.apply_all(job).await;
        if let Err(problem) = &applied {
            self.metrics.batches.declined(match problem.code {
                ProblemCode::Gap => "gap",
                ProblemCode::Forked => "forked",
                _ => "failed",
            });
        }
        applied
    }

    async fn apply_all(&self, job: Decoded) -> Result<PushReply, Problem> {
        let job = Arc::new(job);
        let (station, span) = (job.batch.station, job.batch.span());
        let ends = Instant::now() + self.request_time;
        let mut tally = Tally::default();
        let mut refuse: Option<(u64, String)> = None;
        loop {
            let rows = self.patience.rows(station);
            let part = Part {
                rows_max: rows.unwrap_or(u32::MAX),
                chunks_max: self.chunks_max,
                known_to: tally.cursor.map_or(0, |cursor| cursor.seq),
                refuse: refuse.take(),
            };
            let refusing = part.refuse.is_some();
            let tried = match rows {
                Some(_) => self.tried(&job, &part, &mut tally).await?,
                None => Tried {
                    batch: span.first_seq,
                    first_seq: span.first_seq,
                    rows: span.count,
                    after_success: tally.after_success,
                },
            };
            match self.attempt(&job, part).await {
                Ok(Outcome::Done { cursor, applied, duplicate, mut rejected }) => {
                    let before = tally.cursor.replace(cursor);
                    let whole = cursor.seq >= span.last_seq();
                    tally.after_success = !refusing && applied > 0;
                    if !refusing {
                        self.patience.went_through(
                            station,
                            tried.rows,
                            whole && rows.is_none_or(|rows| rows >= span.count),
                        );
                    }
                    tally.applied += applied;
                    tally.duplicate += duplicate;
                    if planted(Bug::PieceRejectsForgotten) {
                        tally.rejected.clear();
                    }
                    tally.rejected.append(&mut rejected);
                    if whole {
                        return Ok(self.acknowledge(&job, cursor, tally));
                    }
                    if before.is_some_and(|before| before.seq >= cursor.seq) {
                        let stands = format!("the cursor of station {station} does not move on from {}", cursor.seq);
                        return Err(store_problem(StoreError::Fault(stands)));
                    }
                }
                Ok(outcome) => return Err(self.declined(station, &span, outcome).await),
                Err(error) => {
                    let cause = match &error {
                        StoreError::Unavailable { .. } if planted(Bug::AwayBlamesChanges) => Some(Cause::Fault),
                        error => error.cause(),
                    };
                    let Some(cause) = cause else { return Err(store_problem(error)) };
                    let next = self.patience.failed(station, tried, cause);
                    let last_seq = tried.first_seq + u64::from(tried.rows) - 1;
                    tracing::warn!(%station, first_seq = tried.first_seq, last_seq, ?next, "changes failed: {error}");
                    match next {
                        // What cannot even be kept as rejected says nothing more of the change.
                        Next::Refuse if refusing => return Err(refused(&error, cause, &tried)),
                        Next::Refuse => {
                            self.is_well().await?;
                            refuse = Some((tried.first_seq, words(&error, cause)));
                        }
                        Next::Smaller => {}
                        Next::Later => return Err(refused(&error, cause, &tried)),
                    }
                }
            }
            // What is about to be refused took a whole request to find out.
            if refuse.is_none() && Instant::now() >= ends {
                let done = tally.cursor.map_or(0, |cursor| (cursor.seq + 1).saturating_sub(span.first_seq));
                let detail = format!(
                    "the server has applied {done} of the {} changes, in small pieces; send them again, it goes on from there",
                    span.count
                );
                return Err(Problem::unavailable(UnavailableReason::ServerBusy, detail));
            }
        }
    }

    /// The changes that a part is going to try, for a batch that failed before: then it matters which they are.
    async fn tried(&self, job: &Decoded, part: &Part, tally: &mut Tally) -> Result<Tried, Problem> {
        let span = job.batch.span();
        let cursor = match tally.cursor {
            Some(cursor) => cursor.seq,
            None => {
                self.upstream.cursor(job.batch.station).await.map_err(store_problem)?.map_or(0, |cursor| cursor.seq)
            }
        };
        let first_seq = span.first_seq.max(cursor.saturating_add(1)).min(span.last_seq());
        let changes = job.resolve((first_seq - span.first_seq) as u32, part);
        let rows = (changes.len() as u32).max(1);
        Ok(Tried { batch: span.first_seq, first_seq, rows, after_success: tally.after_success })
    }

    /// One transaction. A panic in it is a failure like others.
    async fn attempt(&self, job: &Arc<Decoded>, part: Part) -> Result<Outcome, StoreError> {
        let (station, span) = (job.batch.station, job.batch.span());
        let (work, began) = (Arc::clone(job), Instant::now());
        let laps = Arc::new(Laps { rows: rows_time(&job.stages), ..Laps::default() });
        let lap = Arc::clone(&laps);
        let applied = caught(transact(self.upstream.as_ref(), move |tx| {
            let (job, part, lap) = (Arc::clone(&work), part.clone(), Arc::clone(&lap));
            Box::pin(async move {
                lap.begun.store(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
                let applied = apply(tx, &job, &part).await;
                lap.applied.store(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
                lap.commits(span!("commit"));
                applied
            })
        }))
        .await;
        laps.commits(Span::none());
        if matches!(applied, Ok(Ok(_))) {
            laps.tell(&job.stages, began.elapsed());
        }
        let applied = applied.unwrap_or_else(|panic| {
            let doing = format!("applying the changes {} to {}", span.first_seq, span.last_seq());
            let message = self.panics.caught(doing, Some(&station), &*panic);
            Err(StoreError::Refused { cause: Cause::Panic, message })
        });
        match applied {
            Err(_) if planted(Bug::AckBeforeCommit) => {
                let cursor = Cursor { seq: span.last_seq(), chain: span.chain_after };
                Ok(Outcome::Done { cursor, applied: span.count, duplicate: 0, rejected: Vec::new() })
            }
            applied => applied,
        }
    }

    /// Whether the database is as the schema wants it, so that what it refuses is a change's fault and not its own.
    async fn is_well(&self) -> Result<(), Problem> {
        let differences = self.upstream.ready().await.map_err(store_problem)?;
        if differences.is_empty() {
            return Ok(());
        }
        Err(differs(&differences))
    }

    fn acknowledge(&self, job: &Decoded, cursor: Cursor, tally: Tally) -> PushReply {
        let Tally { applied, duplicate, rejected, .. } = tally;
        let (station, batches) = (job.batch.station, &self.metrics.batches);
        let clock_offset_ms = job.now_ms.saturating_sub(job.batch.sent_at_ms);
        let codes = rejected.iter().map(|change| change.code);
        batches.acknowledged(job.batch.span().count, clock_offset_ms, (applied, duplicate), codes);
        job.stages.tell(batches);
        tracing::debug!(%station, tidemark = cursor.seq, applied, duplicate, rejected = rejected.len(), "pushed");
        self.notices.rejected(station, &rejected);
        self.notices.well();
        PushReply { tidemark: cursor.seq, chain: cursor.chain, applied, duplicate, rejected, limits: self.limits }
    }
}

/// The problem of a client whose changes failed and are to be tried again.
fn refused(error: &StoreError, cause: Cause, tried: &Tried) -> Problem {
    if matches!(error, StoreError::Fault(_)) || cause == Cause::Panic {
        return crate::panics::fault().because(error.to_string());
    }
    let last = tried.first_seq + u64::from(tried.rows) - 1;
    let detail = format!(
        "the server's database would not take the changes {} to {last} ({cause}); send them again, it tries smaller pieces of them",
        tried.first_seq
    );
    // By what it failed says the cause; that it is tried again, the server.
    let reason =
        if cause.depends_on_load() { UnavailableReason::DatabaseBusy } else { UnavailableReason::DatabaseFault };
    Problem::unavailable(reason, detail).because(error.to_string())
}

/// Why a change is rejected, in the database's words.
fn words(error: &StoreError, cause: Cause) -> String {
    match cause {
        Cause::Panic => format!("the server failed over this change, by a fault of its own: {error}"),
        _ => error.to_string(),
    }
}
