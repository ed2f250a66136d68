//! The one transaction that takes a batch: lock the cursor, decide, write, keep the rejects, move the cursor. The same over every store; who
//! calls it begins and commits.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tidemark_core::batch::{Batch, ChangeRef, Group, Op, VOID_CODE};
use tidemark_core::chain::{Chain, Print};
use tidemark_core::decision::{Cursor, Decision, decide};
use tidemark_core::ids::StationNumber;
use tidemark_core::image::image;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::{RejectCode, Rejection};
use tidemark_core::schema::Schema;
use tidemark_core::value::ValueRef;

use super::check::TimeRange;
use super::chunks::fitting;
use super::plan::Refusal;
use super::questions::Key;
use super::write::{Work, Written, row_of, write};
use crate::ledger::cursors::Advance;
use crate::ledger::rejects::{AppliedRow, Reject, RejectState};
use crate::upstream::Transaction;
use crate::upstream::error::StoreError;

/// Longest message of a reject, in bytes: a reply with every change of the largest batch rejected still fits a message.
const MESSAGE_BYTES_MAX: usize = 240;
/// Longest code of a change that was rejected on its station, in bytes: it may be a newer station's.
const CODE_BYTES_MAX: usize = 64;

/// A batch and everything that is needed to apply it.
#[derive(Debug)]
pub struct Job {
    /// The batch as it came.
    pub batch: Batch,
    /// The print of the chain after each of its changes.
    pub prints: Vec<Print>,
    /// The schema it follows.
    pub schema: Arc<Schema>,
    /// The schema that is served.
    pub current: Arc<Schema>,
    /// The batch's groups by the served schema, when the batch follows an older one.
    pub projected: Option<Vec<Group>>,
    /// Which times are taken.
    pub times: TimeRange,
    /// The server's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// The chain after each of its changes, once it is needed.
    pub chains: OnceLock<Vec<Chain>>,
}

/// How much of a batch one transaction takes, counted from the station's cursor on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Most changes.
    pub rows_max: u32,
    /// Most chunks that they touch. One change is always taken.
    pub chunks_max: u32,
    /// Up to which seq whoever asks knows what became of the changes: of those nothing is told again. 0: of none.
    pub known_to: u64,
    /// The change that is kept as rejected, with these words, instead of being written; if it is not the next one, nothing is refused.
    pub refuse: Option<(u64, String)>,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { rows_max: u32::MAX, chunks_max: u32::MAX, known_to: 0, refuse: None };
}

impl Job {
    /// The chain after a change of the batch.
    #[must_use]
    pub fn chain_at(&self, seq: u64) -> Chain {
        let chains = self.chains.get_or_init(|| self.batch.chain_after_each(&self.schema));
        let place = seq.checked_sub(self.batch.first_seq).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| chains.get(place)).copied().unwrap_or(self.batch.chain_before)
    }

    /// The changes of a part that begins after the batch's first `skip` changes.
    #[must_use]
    pub fn changes(&self, skip: u32, part: &Part) -> Vec<ChangeRef> {
        let changes = self.batch.changes().skip(skip as usize).take(part.rows_max.max(1) as usize);
        let mut changes: Vec<ChangeRef> = changes.collect();
        if part.chunks_max < u32::MAX && !planted(Bug::ChunksUncapped) {
            changes.truncate(fitting(&self.current, self.groups(), &changes, part.chunks_max));
        }
        changes
    }

    /// The groups by the served schema.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        self.projected.as_deref().unwrap_or(&self.batch.groups)
    }
}

/// What became of a batch.
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
pub async fn apply(tx: &mut dyn Transaction, job: &Job, part: &Part) -> Result<Outcome, StoreError> {
    let batch = &job.batch;
    let span = batch.span();
    let locked = tx.lock_cursor(batch.station).await.map_err(StoreError::before_all)?;
    let Some(cursor) = locked else { return Ok(Outcome::UnknownStation) };
    let lineage = tx.lineage(batch.station).await.map_err(StoreError::before_all)?;
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
    let changes = job.changes(skip, part);
    let has_open_rejects = tx.has_open_rejects(&lineage).await?;
    let work = Work {
        schema: &job.current,
        log: batch.station,
        lineage: &lineage,
        times: job.times,
        groups,
        changes: &changes,
        has_open_rejects,
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
    tx.keep_history(batch.station, span.first_seq + u64::from(skip), prints, job.now_ms).await?;
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

/// What becomes of a part that is the one change to be refused: nothing of it is written. `None` for every other part. A change that the
/// station has rejected already is not refused again.
fn refused_unwritten(work: &Work<'_>, part: &Part) -> Option<Written> {
    let (seq, message) = part.refuse.as_ref()?;
    let blamed = work.changes.first().is_some_and(|change| change.seq == *seq);
    if !blamed || work.changes.len() != 1 && !planted(Bug::PieceRejected) {
        return None;
    }
    let rejectable = |(_, change): &(usize, &ChangeRef)| work.groups[change.group].op != Op::Void;
    let refused = work.changes.iter().enumerate().filter(rejectable).map(|(place, _)| Refusal {
        place,
        rejection: Rejection::new(RejectCode::Constraint, message.clone()),
        parent: None,
    });
    Some(Written { applied: 0, refused: refused.collect() })
}

/// Changes that were rejected on the station: kept here too, so that the operator sees all in one place.
fn station_rejects<'a>(
    job: &'a Job,
    groups: &'a [Group],
    changes: &'a [ChangeRef],
) -> impl Iterator<Item = Reject> + Send + 'a {
    changes.iter().filter(|change| groups[change.group].op == Op::Void).filter_map(move |change| {
        let group = &groups[change.group];
        let text = |column: usize| match group.columns.get(column).map(|block| block.get(change.row)) {
            Some(ValueRef::Text(text)) => text,
            _ => "",
        };
        let (code, message) = (text(0), text(1));
        let nothing = code.is_empty() || code == VOID_CODE;
        (!nothing).then(|| reject(job, change, group, &cut(code, CODE_BYTES_MAX), message, "station"))
    })
}

fn reject(job: &Job, change: &ChangeRef, group: &Group, code: &str, message: &str, origin: &str) -> Reject {
    let table = job.current.tables().get(group.table as usize);
    Reject {
        station: job.batch.station,
        seq: change.seq,
        at_ms: change.at_ms,
        received_at_ms: job.now_ms,
        table: table.map_or_else(String::new, |table| table.name.clone()),
        op: group.op.as_str().to_owned(),
        code: code.to_owned(),
        message: shortened(message),
        image: None,
        origin: origin.to_owned(),
        state: RejectState::Open,
        resolved_at_ms: None,
        key: None,
        parent: None,
    }
}

/// A refused change as it is kept. What a later change of the same batch healed is superseded from the beginning.
fn server_reject(job: &Job, work: &Work<'_>, refusal: &Refusal, last: &HashMap<(usize, Key), u64>) -> Reject {
    let change = &work.changes[refusal.place];
    let group = &work.groups[change.group];
    let row = row_of(work.schema, group, change.row);
    let healed = row.and_then(|row| last.get(&row)).is_some_and(|&seq| seq > change.seq);
    let code = refusal.rejection.code.as_str();
    Reject {
        image: Some(image(&work.schema.tables()[group.table as usize], group, change.row)),
        state: if healed { RejectState::Superseded } else { RejectState::Open },
        resolved_at_ms: healed.then_some(job.now_ms),
        key: row.map(|(_, key)| key.to_string()),
        parent: refusal.parent,
        ..reject(job, change, group, code, &refusal.rejection.message, "server")
    }
}

/// The last change of each row that was applied, by its seq.
pub(super) fn last_applied(work: &Work<'_>, refused: &[Refusal]) -> HashMap<(usize, Key), u64> {
    let mut refused = refused.iter().map(|refusal| refusal.place).peekable();
    let mut last = HashMap::new();
    for (place, change) in work.changes.iter().enumerate() {
        if refused.next_if_eq(&place).is_none()
            && let Some(row) = row_of(work.schema, &work.groups[change.group], change.row)
        {
            last.insert(row, change.seq);
        }
    }
    last
}

/// A message as it is kept and told.
pub(super) fn shortened(message: &str) -> String {
    cut(message, MESSAGE_BYTES_MAX)
}

/// At most `bytes_max` bytes of a text, without NUL, which no upstream text can hold.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut short = text.replace('\0', "\u{fffd}");
    if short.len() > bytes_max {
        let end = (0..=bytes_max - '…'.len_utf8()).rev().find(|&at| short.is_char_boundary(at)).unwrap_or(0);
        short.truncate(end);
        short.push('…');
    }
    short
}
