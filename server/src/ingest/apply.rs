//! The one transaction that takes a part of a batch: lock the cursor, decide, resolve, write, keep the rejects, move
//! the cursor. The same over every store; [`transact`](crate::upstream::transact) begins and commits.

use std::borrow::Cow;

use tidemark_core::batch::Op;
use tidemark_core::chain::Print;
use tidemark_core::decision::{Cursor, Decision, decide};
use tidemark_core::ids::StationNumber;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::{RejectCode, Rejection};

use super::decoded::{Decoded, Part};
use super::plan::Refusal;
use super::rejected::{last_applied, server_reject, shortened, station_rejects};
use super::resolve::Change;
use super::write::{Work, Written, write};
use crate::ledger::batches::Opened;
use crate::ledger::cursors::Advance;
use crate::ledger::rejects::AppliedRow;
use crate::offload::compute;
use crate::upstream::Transaction;
use crate::upstream::error::StoreError;

/// The outcome of a part of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The part is durable once the transaction commits.
    Done {
        /// The station's cursor: at the end of the part, or behind it.
        cursor: Cursor,
        /// Changes applied now.
        applied: u32,
        /// Changes behind [`Part::known_to`] that had been dealt with before.
        duplicate: u32,
        /// Changes behind [`Part::known_to`] that the server rejected, now or before, in seq order.
        rejected: Vec<RejectedChange>,
    },
    /// Changes before it are missing.
    Gap {
        /// The station's cursor.
        cursor: Cursor,
    },
    /// It continues another history.
    Forked {
        /// The station's cursor.
        cursor: Cursor,
    },
    /// There is no such station.
    UnknownStation,
    /// The station was revoked while the batch was on its way.
    Revoked,
}

/// Applies a part of a batch within a transaction.
///
/// # Errors
/// When the store fails; the transaction is to be rolled back.
pub async fn apply(tx: &mut dyn Transaction, job: &Decoded, part: &Part) -> Result<Outcome, StoreError> {
    let batch = &job.batch;
    let span = batch.span();
    let opened = tx.open_batch(batch.station).await.map_err(StoreError::before_all)?;
    let Some(Opened { cursor, lineage, has_open_rejects }) = opened else { return Ok(Outcome::UnknownStation) };
    if lineage.revoked {
        return Ok(Outcome::Revoked);
    }
    let untold = span.first_seq.max(part.known_to + 1);
    let skip = match decide(&cursor, &span, |seq| job.chain_at(seq)) {
        Decision::Gap { .. } => return Ok(Outcome::Gap { cursor }),
        Decision::Forked { at } => {
            tx.note_fork(batch.station, at, job.now_ms).await?;
            return Ok(Outcome::Forked { cursor });
        }
        Decision::Duplicate => {
            let print = print_at(tx, batch.station, span.last_seq()).await?;
            if print.is_some_and(|print| print != span.chain_after.print()) {
                tx.note_fork(batch.station, span.last_seq(), job.now_ms).await?;
                return Ok(Outcome::Forked { cursor });
            }
            let mut rejected = tx.rejected_between(batch.station, untold, span.last_seq()).await?;
            if planted(Bug::RejectsNotRepeated) {
                rejected.clear();
            }
            let duplicate = (span.last_seq() + 1).saturating_sub(untold) as u32;
            return Ok(Outcome::Done { cursor, applied: 0, duplicate, rejected });
        }
        Decision::Apply { skip } => skip,
    };
    let duplicate = (cursor.seq + 1).saturating_sub(untold) as u32;
    let mut rejected = match duplicate {
        0 => Vec::new(),
        _ => tx.rejected_between(batch.station, untold, cursor.seq).await?,
    };
    let groups = job.groups();
    let foreseen = job.foreseen(skip, part);
    let changes = match foreseen {
        Some(foreseen) => Cow::Borrowed(foreseen.changes.as_slice()),
        None => Cow::Owned(compute(batch.order.len(), || job.resolve(skip, part))),
    };
    let work = Work {
        schema: &job.current,
        log: batch.station,
        lineage: &lineage,
        times: job.times,
        groups,
        changes: &changes,
        has_open_rejects,
        stages: &job.stages,
        foreseen,
    };
    let Written { applied, mut refused } = match refused_unwritten(&work, part) {
        Some(written) => written,
        None => write(tx, &work).await?,
    };
    for refusal in &mut refused {
        refusal.rejection.message = shortened(&refusal.rejection.message);
    }
    if has_open_rejects || !refused.is_empty() {
        let last = last_applied(&work, &refused);
        if has_open_rejects {
            let applied: Vec<AppliedRow> =
                last.iter().map(|(&(table, key), &seq)| AppliedRow { table, key, seq }).collect();
            tx.supersede(&job.current, &lineage, &applied, job.now_ms).await?;
        }
        let kept = refused.iter().map(|refusal| server_reject(job, &work, refusal, &last));
        if !planted(Bug::RejectNotStored) {
            tx.store_rejects(&mut kept.chain(station_rejects(job, groups, &changes))).await?;
        }
    } else {
        tx.store_rejects(&mut station_rejects(job, groups, &changes)).await?;
    }
    rejected.extend(refused.into_iter().map(|refusal| RejectedChange {
        seq: changes[refusal.place].seq,
        code: refusal.rejection.code,
        message: refusal.rejection.message,
    }));
    let upto = changes.last().map_or(span.last_seq(), |change| change.seq);
    let cursor = if upto == span.last_seq() || planted(Bug::PieceSkipsRest) {
        Cursor { seq: span.last_seq(), chain: span.chain_after }
    } else {
        Cursor { seq: upto, chain: job.chain_at(upto) }
    };
    let prints = &job.prints[skip as usize..skip as usize + changes.len()];
    let kept = tx.keep_history(batch.station, span.first_seq + u64::from(skip), prints, job.now_ms).await;
    if !planted(Bug::HistoryApart) {
        kept?;
    }
    let advance = Advance {
        station: batch.station,
        cursor,
        began: span.first_seq - 1,
        now_ms: job.now_ms,
        clock_offset_ms: job.now_ms.saturating_sub(batch.sent_at_ms),
    };
    let advanced = tx.advance(&advance).await;
    if !planted(Bug::CursorApart) {
        advanced?;
    }
    Ok(Outcome::Done { cursor, applied, duplicate, rejected })
}

/// The print of the chain after change `seq`, if it is known.
async fn print_at(tx: &mut dyn Transaction, station: StationNumber, seq: u64) -> Result<Option<Print>, StoreError> {
    let Some(after) = seq.checked_sub(1) else { return Ok(None) };
    let history = tx.history(station, after, 1).await?;
    Ok(history.filter(|history| history.first_seq == seq).and_then(|history| history.prints.first().copied()))
}

/// The outcome of a part that is the one change to be refused: nothing of it is written. `None` for every other part.
/// A change that the station has rejected already is not refused again.
fn refused_unwritten(work: &Work<'_>, part: &Part) -> Option<Written> {
    let (seq, message) = part.refuse.as_ref()?;
    let blamed = work.changes.first().is_some_and(|change| change.seq == *seq);
    if !blamed || work.changes.len() != 1 && !planted(Bug::PieceRejected) {
        return None;
    }
    let rejectable = |(_, change): &(usize, &Change)| change.op != Op::Void;
    let refused = work.changes.iter().enumerate().filter(rejectable).map(|(place, _)| Refusal {
        place,
        rejection: Rejection::new(RejectCode::Constraint, message.clone()),
        parent: None,
    });
    Some(Written { applied: 0, refused: refused.collect() })
}
