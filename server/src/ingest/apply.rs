//! The one transaction that takes a batch: lock the cursor, decide, plan, write, keep the rejects, move the cursor. The same over every
//! store; who calls it begins and commits.
//!
//! What the planner did not foresee (a constraint the database has beyond the schema, a row that another station wrote meanwhile) shows as a
//! violation while writing. Then the range is halved until the change at fault stands alone; halves run in order and are planned
//! anew on what is there, so verdicts are as if the changes came one by one. Only an image that a later change of the same range replaces
//! is never written, and so is never seen by a constraint beyond the schema.

use std::sync::Arc;

use tidemark_core::batch::{Batch, ChangeRef, Group, Op, VOID_CODE};
use tidemark_core::chain::Print;
use tidemark_core::decision::{Cursor, Decision, decide};
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::{RejectCode, Rejection};
use tidemark_core::schema::Schema;
use tidemark_core::value::ValueRef;

use super::check::{TimeRange, check};
use super::plan::plan;
use super::questions::questions;
use crate::lines::Line;
use crate::upstream::{Reject, StoreError, StoreTransaction};

/// Longest message of a reject, in bytes: a reply with every change of the largest batch rejected still fits a message.
const MESSAGE_BYTES_MAX: usize = 240;

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
}

impl Job {
    /// The groups by the served schema.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        self.projected.as_deref().unwrap_or(&self.batch.groups)
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is durable once the transaction commits.
    Done {
        /// The station's cursor.
        cursor: Cursor,
        /// Changes applied now.
        applied: u32,
        /// Changes that had been dealt with before.
        duplicate: u32,
        /// Changes the server rejected, now or before, in seq order.
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

/// Applies a batch within a transaction.
///
/// # Errors
/// When the store fails; the transaction is to be rolled back.
pub async fn apply<T: StoreTransaction + ?Sized>(tx: &mut T, job: &Job) -> Result<Outcome, StoreError> {
    let batch = &job.batch;
    let span = batch.span();
    let Some(cursor) = tx.lock_cursor(batch.station).await? else { return Ok(Outcome::UnknownStation) };
    let line = tx.line(batch.station).await?;
    if line.revoked {
        return Ok(Outcome::Revoked);
    }
    let skip = match decide(&cursor, &span, |seq| batch.chain_at(&job.schema, seq)) {
        Decision::Gap { .. } => return Ok(Outcome::Gap { cursor }),
        Decision::Forked { at } => {
            tx.note_fork(batch.station, at, job.now_ms).await?;
            return Ok(Outcome::Forked { cursor });
        }
        Decision::Duplicate => {
            let print = tx.print_at(batch.station, span.last_seq()).await?;
            if print.is_some_and(|print| print != span.chain_after.print()) {
                tx.note_fork(batch.station, span.last_seq(), job.now_ms).await?;
                return Ok(Outcome::Forked { cursor });
            }
            let mut rejected = tx.rejected_between(batch.station, span.first_seq, span.last_seq()).await?;
            if planted(Bug::RejectsNotRepeated) {
                rejected.clear();
            }
            return Ok(Outcome::Done { cursor, applied: 0, duplicate: span.count, rejected });
        }
        Decision::Apply { skip } => skip,
    };
    let mut rejected = match skip {
        0 => Vec::new(),
        _ => tx.rejected_between(batch.station, span.first_seq, cursor.seq).await?,
    };
    let groups = job.groups();
    let changes: Vec<ChangeRef> = batch.changes().skip(skip as usize).collect();
    let (applied, refusals) = write(tx, job, &line, groups, &changes).await?;
    let kept = refusals.iter().map(|(place, rejection)| {
        let change = &changes[*place];
        let image = image(&job.current, &groups[change.group], change.row);
        reject(job, change, &groups[change.group], rejection.code.as_str(), &rejection.message, Some(image), "server")
    });
    if !planted(Bug::RejectNotStored) {
        tx.store_rejects(&mut kept.chain(station_rejects(job, groups, &changes))).await?;
    }
    rejected.extend(refusals.iter().map(|(place, rejection)| RejectedChange {
        seq: changes[*place].seq,
        code: rejection.code,
        message: rejection.message.clone(),
    }));
    let cursor = Cursor { seq: span.last_seq(), chain: span.chain_after };
    let clock_offset_ms = job.now_ms.saturating_sub(batch.sent_at_ms);
    tx.keep_history(batch.station, span.first_seq + u64::from(skip), &job.prints[skip as usize..]).await?;
    let advanced = tx.advance(batch.station, cursor, job.now_ms, clock_offset_ms).await;
    if !planted(Bug::CursorApart) {
        advanced?;
    }
    Ok(Outcome::Done { cursor, applied, duplicate: skip, rejected })
}

/// Writes changes; returns how many were applied, and the others by their place.
async fn write<T: StoreTransaction + ?Sized>(
    tx: &mut T,
    job: &Job,
    line: &Line,
    groups: &[Group],
    changes: &[ChangeRef],
) -> Result<(u32, Vec<(usize, Rejection)>), StoreError> {
    let refused = check(&job.current, line, groups, job.times);
    let (mut applied, mut rejected) = (0, Vec::new());
    let mut ranges = vec![(0, changes.len())];
    while let Some((low, high)) = ranges.pop() {
        let range = &changes[low..high];
        let asked = questions(&job.current, line, groups, range, &refused);
        let facts = tx.facts(line, &asked).await?;
        let plan = plan(&job.current, groups, range, &refused, &asked, facts);
        if !plan.writes.is_empty() {
            tx.savepoint().await?;
            match tx.write(line, groups, &plan.writes).await {
                Ok(()) => tx.release_savepoint().await?,
                Err(StoreError::Violation(message)) => {
                    tx.rollback_to_savepoint().await?;
                    if high - low == 1 {
                        rejected.push((low, Rejection::new(RejectCode::Constraint, message)));
                    } else {
                        let middle = low.midpoint(high);
                        ranges.extend([(middle, high), (low, middle)]);
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        applied += plan.applied;
        rejected.extend(plan.rejected.into_iter().map(|(place, rejection)| (low + place, rejection)));
    }
    for (_, rejection) in &mut rejected {
        rejection.message = shortened(&rejection.message, MESSAGE_BYTES_MAX);
    }
    Ok((applied, rejected))
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
        (!nothing).then(|| reject(job, change, group, &shortened(code, 64), message, None, "station"))
    })
}

fn reject(
    job: &Job,
    change: &ChangeRef,
    group: &Group,
    code: &str,
    message: &str,
    image: Option<String>,
    origin: &str,
) -> Reject {
    let table = job.current.tables().get(group.table as usize);
    Reject {
        station: job.batch.station,
        seq: change.seq,
        at_ms: change.at_ms,
        received_at_ms: job.now_ms,
        table: table.map_or_else(String::new, |table| table.name.clone()),
        op: group.op.as_str().to_owned(),
        code: code.to_owned(),
        message: shortened(message, MESSAGE_BYTES_MAX),
        image,
        origin: origin.to_owned(),
    }
}

/// The change's values as JSON: all columns, or a delete's key and time.
fn image(schema: &Schema, group: &Group, row: usize) -> String {
    let table = &schema.tables()[group.table as usize];
    let named: serde_json::Map<String, serde_json::Value> = match group.op {
        Op::Delete => table
            .identity()
            .zip(group.row(row))
            .map(|(at, value)| (table.columns[at].name.clone(), value.to_json()))
            .collect(),
        _ => table
            .columns
            .iter()
            .zip(group.row(row))
            .map(|(column, value)| (column.name.clone(), value.to_json()))
            .collect(),
    };
    serde_json::Value::Object(named).to_string()
}

/// At most `bytes_max` bytes of a text, without NUL, which no upstream text can hold.
fn shortened(text: &str, bytes_max: usize) -> String {
    let mut short = text.replace('\0', "\u{fffd}");
    if short.len() > bytes_max {
        let end = (0..=bytes_max - '…'.len_utf8()).rev().find(|&at| short.is_char_boundary(at)).unwrap_or(0);
        short.truncate(end);
        short.push('…');
    }
    short
}
