//! Replay: rejected changes are applied again from their images, by the same planner and in the order of the log.
//! Cursor and chain stay.
//!
//! A number that was replaced writes nothing more. Its rejects are written by the station that replaced it, which owns
//! its rows; those of rows that this station wrote or deleted since were superseded by that.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidemark_core::batch::{ChangeRef, Group, Op};
use tidemark_core::ids::StationNumber;
use tidemark_core::image::parse_image;
use tidemark_core::reject::RejectCode;
use tidemark_core::schema::Schema;
use tidemark_core::value::{Value, ValueRef};

use super::check::TimeRange;
use super::plan::Refusal;
use super::rejected::{last_applied, shortened};
use super::resolve::Change;
use super::stages::Stages;
use super::write::{Work, Written, write};
use crate::bounds::ClockWindow;
use crate::fleet::acts::{changes as named, words};
use crate::ledger::operators::{ActedOn, NewAct};
use crate::ledger::rejects::{AppliedRow, Reject, RejectFilter, RejectHead, RejectState, Settled};
use crate::rejoin::lock_writer;
use crate::upstream::error::StoreError;
use crate::upstream::{Transaction, Upstream, transact};

/// Most rejects replayed in one transaction.
const PIECE_ROWS_MAX: usize = 5_000;
/// Most bytes of their images; a single larger one is replayed alone.
const PIECE_BYTES_MAX: u64 = 32 << 20;

/// Rejects of one station to apply again in one transaction.
#[derive(Debug)]
pub struct Replay {
    /// Whose.
    pub station: StationNumber,
    /// Which, in order. Those that are not open are passed over.
    pub seqs: Vec<u64>,
    /// The schema that is served.
    pub schema: Arc<Schema>,
    /// Which times are taken.
    pub times: TimeRange,
    /// Who does it, for the audit.
    pub by: String,
    /// The server's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// The outcome of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayOutcome {
    /// Rejects that were applied.
    pub applied: u64,
    /// Rejects that a newer image, replayed with them, made old.
    pub superseded: u64,
    /// Rejects that stay open, with the reason of today.
    pub still_open: Vec<StillOpen>,
}

/// A reject that could not be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillOpen {
    /// Whose.
    pub station: StationNumber,
    /// Its seq.
    pub seq: u64,
    /// Why, in one word.
    pub code: String,
    /// Why, for people.
    pub message: String,
}

/// Replays the open rejects a filter names, and all that hang on them, in the name of `by`; in pieces, each
/// a transaction with its row of the audit. Without a window any time is taken that the database can hold.
///
/// # Errors
/// When the store fails; the pieces before stay.
pub async fn replay_all(
    upstream: &dyn Upstream,
    schema: &Arc<Schema>,
    filter: &RejectFilter,
    window: Option<ClockWindow>,
    by: &str,
    now_ms: i64,
) -> Result<ReplayOutcome, StoreError> {
    let times = window.map_or(TimeRange::ANY, |window| TimeRange::new(window, now_ms));
    let heads = with_children(upstream, filter).await?;
    let mut total = ReplayOutcome::default();
    let mut pieces: Vec<&[RejectHead]> = pieces(&heads);
    pieces.reverse();
    while let Some(piece) = pieces.pop() {
        let [first, ..] = piece else { continue };
        let seqs = piece.iter().map(|head| head.seq).collect();
        let (schema, by) = (Arc::clone(schema), by.to_owned());
        let replay = Replay { station: first.station, seqs, schema, times, by: by.clone(), now_ms };
        let done = match upstream.replay(Arc::new(replay)).await {
            Ok(done) => done,
            // A limit, or a trigger of the operator's: down to the one that it is about, which stays open with the
            // database's words.
            Err(error) if error.cause().is_some() && piece.len() > 1 => {
                let (head, tail) = piece.split_at(piece.len() / 2);
                pieces.extend([tail, head]);
                continue;
            }
            Err(StoreError::Refused { message, .. }) => {
                let (station, seq, code) = (first.station, first.seq, RejectCode::Constraint.as_str().to_owned());
                let refused = ReplayOutcome {
                    still_open: vec![StillOpen { station, seq, code, message }],
                    ..ReplayOutcome::default()
                };
                // Nothing of it was done; that it was tried stands alone.
                upstream.ledger().note_act(&refused.act(station, &[seq], &by, now_ms)).await?;
                refused
            }
            Err(error) => return Err(error),
        };
        total.applied += done.applied;
        total.superseded += done.superseded;
        total.still_open.extend(done.still_open);
    }
    Ok(total)
}

/// The rejects of one station after the other, in pieces that go into one transaction.
fn pieces(heads: &[RejectHead]) -> Vec<&[RejectHead]> {
    let mut pieces = Vec::new();
    let mut rest = heads;
    while let Some(first) = rest.first() {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take(PIECE_ROWS_MAX)
            .take_while(|head| {
                bytes += head.image_bytes.unwrap_or(0);
                head.station == first.station && (bytes <= PIECE_BYTES_MAX || head.seq == first.seq)
            })
            .count();
        let (piece, after) = rest.split_at(count);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The open rejects a filter names and, over any number of generations, the open ones of rows that reference theirs; by
/// station and seq.
async fn with_children(upstream: &dyn Upstream, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError> {
    let open = RejectFilter { state: Some(RejectState::Open), ..filter.clone() };
    let mut found = upstream.reject_heads(&open).await?;
    let mut seen: BTreeSet<(StationNumber, u64)> = found.iter().map(|head| (head.station, head.seq)).collect();
    let mut parents = found.clone();
    while !parents.is_empty() {
        let mut children = Vec::new();
        for family in parents.chunk_by(|a, b| a.station == b.station) {
            let seqs = family.iter().map(|head| head.seq).collect();
            let of = RejectFilter {
                station: Some(family[0].station),
                children_of: Some(seqs),
                state: Some(RejectState::Open),
                ..RejectFilter::default()
            };
            children.extend(upstream.reject_heads(&of).await?);
        }
        children.retain(|head| seen.insert((head.station, head.seq)));
        found.extend_from_slice(&children);
        parents = children;
    }
    found.sort_unstable_by_key(|head| (head.station, head.seq));
    Ok(found)
}

impl ReplayOutcome {
    /// The act for the audit, of rejects of one station.
    fn act(&self, station: StationNumber, seqs: &[u64], by: &str, at_ms: i64) -> NewAct {
        let Self { applied, superseded, still_open } = self;
        let detail =
            format!("{}: replayed {applied}, superseded {superseded}, still open {}", named(seqs), still_open.len());
        let (operator, to) = (by.to_owned(), ActedOn::Station(station));
        NewAct { at_ms, operator, act: words::REJECTS_REPLAY, to, detail }
    }
}

impl dyn Upstream {
    /// Applies rejected changes again, in one transaction.
    ///
    /// # Errors
    /// When the store fails; then nothing is applied.
    pub async fn replay(&self, rejects: Arc<Replay>) -> Result<ReplayOutcome, StoreError> {
        transact(self, move |tx| {
            let rejects = Arc::clone(&rejects);
            Box::pin(async move { replay(tx, &rejects).await })
        })
        .await
    }

    /// Gives open rejects another state without applying anything; returns the seqs of those that were open.
    ///
    /// # Errors
    /// When the store fails; then all stay as they are.
    pub async fn close(
        &self,
        station: StationNumber,
        seqs: &[u64],
        state: RejectState,
        now_ms: i64,
    ) -> Result<Vec<u64>, StoreError> {
        let seqs = seqs.to_vec();
        transact(self, move |tx| {
            let seqs = seqs.clone();
            Box::pin(async move { close(tx, station, &seqs, state, now_ms).await })
        })
        .await
    }

    /// Gives open rejects up in the name of `by`, with a reason or an empty one; returns the seqs of those that were
    /// open.
    ///
    /// # Errors
    /// When the store fails; then all stay as they are.
    pub async fn discard(
        &self,
        station: StationNumber,
        seqs: &[u64],
        reason: &str,
        by: &str,
        now_ms: i64,
    ) -> Result<Vec<u64>, StoreError> {
        let (seqs, reason, operator) = (seqs.to_vec(), reason.to_owned(), by.to_owned());
        transact(self, move |tx| {
            let (seqs, reason, operator) = (seqs.clone(), reason.clone(), operator.clone());
            Box::pin(async move {
                let closed = close(tx, station, &seqs, RejectState::Discarded, now_ms).await?;
                if !closed.is_empty() {
                    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
                    let detail = format!("{}: discarded {}{reason}", named(&seqs), closed.len());
                    let (act, to) = (words::REJECTS_DISCARD, ActedOn::Station(station));
                    tx.note_act(&NewAct { at_ms: now_ms, operator, act, to, detail }).await?;
                }
                Ok(closed)
            })
        })
        .await
    }
}

/// Replays within a transaction, in the name of whoever writes the station's rows now.
///
/// # Errors
/// When the store fails; the transaction is to be rolled back.
async fn replay(tx: &mut dyn Transaction, replay: &Replay) -> Result<ReplayOutcome, StoreError> {
    let Replay { station, schema, now_ms, .. } = replay;
    // Serial with the pushes of whoever writes these rows, which may supersede a reject meanwhile.
    let Some(writer) = lock_writer(tx, *station).await? else { return Ok(ReplayOutcome::default()) };
    let own = tx.lineage(*station).await?;
    let lineage = if writer == *station { own.clone() } else { tx.lineage(writer).await? };
    let rejects = tx.open_rejects(*station, &replay.seqs).await?;
    let mut images = Images { schema, groups: Vec::new(), changes: Vec::new() };
    let mut outcome = ReplayOutcome::default();
    for reject in &rejects {
        if let Err(message) = images.push(reject) {
            outcome.still_open.push(StillOpen {
                station: *station,
                seq: reject.seq,
                code: reject.code.clone(),
                message,
            });
        }
    }
    let groups = &images.groups;
    let changes: Vec<Change> = images.changes.iter().map(|change| Change::of(schema, groups, change)).collect();
    let changes = changes.as_slice();
    let work = Work {
        schema,
        log: *station,
        lineage: &lineage,
        times: replay.times,
        groups,
        changes,
        has_open_rejects: true,
        stages: &Stages::default(),
        foreseen: None,
    };
    let Written { applied, refused } = write(tx, &work).await?;
    outcome.applied = applied.into();
    let mut settled = Vec::with_capacity(changes.len());
    let mut refusals = refused.iter().peekable();
    for (place, change) in changes.iter().enumerate() {
        let Some(Refusal { rejection, parent, .. }) = refusals.next_if(|refusal| refusal.place == place) else {
            settled.push(Settled { seq: change.seq, state: RejectState::Replayed, reason: None, parent: None });
            continue;
        };
        let (code, message) = (rejection.code.as_str().to_owned(), shortened(&rejection.message));
        settled.push(Settled {
            seq: change.seq,
            state: RejectState::Open,
            reason: Some((code.clone(), message.clone())),
            parent: *parent,
        });
        outcome.still_open.push(StillOpen { station: *station, seq: change.seq, code, message });
    }
    tx.settle(*station, &settled, *now_ms).await?;
    // Older images of what was applied just now: of those replayed with it and refused, and of others.
    let last = last_applied(&work, &refused);
    let applied: Vec<AppliedRow> = last.iter().map(|(&(table, key), &seq)| AppliedRow { table, key, seq }).collect();
    tx.supersede(schema, &own, &applied, *now_ms).await?;
    let healed = |refusal: &&Refusal| {
        let change = &changes[refusal.place];
        change.row().and_then(|row| last.get(&row)).is_some_and(|&seq| seq > change.seq)
    };
    let healed: BTreeSet<u64> = refused.iter().filter(healed).map(|refusal| changes[refusal.place].seq).collect();
    outcome.superseded = healed.len() as u64;
    outcome.still_open.retain(|open| !healed.contains(&open.seq));
    outcome.still_open.sort_unstable_by_key(|open| open.seq);
    if !rejects.is_empty() {
        let seqs: Vec<u64> = rejects.iter().map(|reject| reject.seq).collect();
        tx.note_act(&outcome.act(*station, &seqs, &replay.by, *now_ms)).await?;
    }
    Ok(outcome)
}

/// Images as the changes they were.
struct Images<'s> {
    schema: &'s Schema,
    groups: Vec<Group>,
    changes: Vec<ChangeRef>,
}

impl Images<'_> {
    /// Appends a reject's change.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    fn push(&mut self, reject: &Reject) -> Result<(), String> {
        let Some(image) = &reject.image else {
            return Err("was rejected on the station, which alone has the image: `tidemark rejects` repairs it there"
                .to_owned());
        };
        if reject.key.is_none() {
            return Err("whether its image is still the newest of its row is not known: repair it on the station, or discard it".to_owned());
        }
        let ops = [Op::Insert, Op::Update, Op::Delete];
        let op = ops.into_iter().find(|op| op.as_str() == reject.op);
        let op = op.ok_or_else(|| format!("there is no operation {:?}", reject.op))?;
        let index = self.schema.table_index(&reject.table);
        let index =
            index.ok_or_else(|| format!("the schema {} has no table {:?}", self.schema.name(), reject.table))?;
        let values = parse_image(&self.schema.tables()[index], op, image)?;
        let values: Vec<ValueRef<'_>> = values.iter().map(Value::as_ref).collect();
        let found = self.groups.iter().position(|group| (group.table as usize, group.op) == (index, op));
        let group = found.unwrap_or_else(|| {
            self.groups.push(Group::new(self.schema, index as u32, op));
            self.groups.len() - 1
        });
        let row = self.groups[group].rows;
        self.groups[group].push(&values);
        self.changes.push(ChangeRef { seq: reject.seq, at_ms: reject.at_ms, group, row });
        Ok(())
    }
}

/// Gives open rejects another state within a transaction; returns the seqs of those that were open.
///
/// # Errors
/// When the store fails; the transaction is to be rolled back.
async fn close(
    tx: &mut dyn Transaction,
    station: StationNumber,
    seqs: &[u64],
    state: RejectState,
    now_ms: i64,
) -> Result<Vec<u64>, StoreError> {
    if tx.lock_cursor(station).await?.is_none() {
        return Ok(Vec::new());
    }
    let seqs: Vec<u64> = tx.open_rejects(station, seqs).await?.into_iter().map(|reject| reject.seq).collect();
    let closed = |&seq: &u64| Settled { seq, state, reason: None, parent: None };
    tx.settle(station, &seqs.iter().map(closed).collect::<Vec<_>>(), now_ms).await?;
    Ok(seqs)
}
