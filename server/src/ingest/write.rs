//! Changes into rows: plan, write, and isolate what the database refuses beyond what the planner foresaw (a constraint
//! it has beyond the schema, a row that another station wrote meanwhile). Verdicts are as if the changes came one by
//! one.
//!
//! ```text
//! plan the range ─ write its net effect ─▶ done
//!        ▲              │ violation: undo
//!        │              ▼
//!        │    write the rows apart ([`Rows::write_each`]) ─▶ nothing else of the range hangs on those refused: done
//!        │              │ undo
//!        ├──────────────┤ each refused row is itself at fault: plan anew as if the checks had refused its last change
//!        └──────────────┘ else: halve the range; the halves run in order and are planned anew, down to single changes
//! ```
//!
//! Only an image that a later change of the same range replaces is never written, and so is never seen by a constraint
//! beyond the schema.
//!
//! [`Rows::write_each`]: crate::upstream::Rows::write_each

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tidemark_core::batch::{Group, Op};
use tidemark_core::identity::Key;
use tidemark_core::ids::StationNumber;
use tidemark_core::reject::{RejectCode, Rejection};
use tidemark_core::schema::Schema;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::appended::inserted_keys;
use super::check::{Refused, TimeRange, check};
use super::foreseen::Foreseen;
use super::plan::{Plan, Refusal, plan};
use super::questions::{guarded_by, questions};
use super::resolve::Change;
use super::stages::Stages;
use crate::ledger::lineage::Lineage;
use crate::ledger::rejects::RejectedRow;
use crate::metrics::Stage;
use crate::offload::compute;
use crate::spans::span;
use crate::upstream::Transaction;
use crate::upstream::error::StoreError;
use crate::upstream::facts::{Facts, Questions};
use crate::upstream::writes::{Effect, RefusedStep, Step, writes_of};

/// How often a range is planned anew because rows were refused that others hang on, before it is halved.
const ROUNDS_MAX: u32 = 4;

/// Changes to write.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The schema that is served; the groups follow it.
    pub schema: &'a Schema,
    /// In whose log the changes are: among its rejects parents are looked for.
    pub log: StationNumber,
    /// The station that writes them, and the rows it may write: that of the log, or the one that replaced it.
    pub lineage: &'a Lineage,
    /// Which times are taken.
    pub times: TimeRange,
    /// The groups the changes are in.
    pub groups: &'a [Group],
    /// The changes, in order.
    pub changes: &'a [Change],
    /// Whether there are open rejects, so that parents are looked for among them.
    pub has_open_rejects: bool,
    /// Where the time goes.
    pub stages: &'a Stages,
    /// What was foreseen of them.
    pub foreseen: Option<&'a Foreseen>,
}

impl Work<'_> {
    /// What was foreseen, if it is of just these changes.
    fn foreseen(&self) -> Option<&Foreseen> {
        self.foreseen.filter(|foreseen| foreseen.is_of(self.lineage, self.changes))
    }
}

/// The outcome of changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Written {
    /// How many were applied.
    pub applied: u32,
    /// The others, in order.
    pub refused: Vec<Refusal>,
}

/// Writes changes within a transaction.
///
/// # Errors
/// When the store fails; the transaction is to be rolled back.
pub async fn write(tx: &mut dyn Transaction, work: &Work<'_>) -> Result<Written, StoreError> {
    let check = || check(work.schema, work.lineage, work.groups, work.changes, work.times);
    let began = Instant::now();
    let refused = match work.foreseen() {
        Some(foreseen) => Cow::Borrowed(&foreseen.refused),
        None => Cow::Owned(compute(work.changes.len(), check)),
    };
    work.stages.since(Stage::Plan, began);
    let mut written = Written::default();
    let mut known = KnownRows::default();
    let mut ranges = vec![(0, work.changes.len())];
    while let Some((low, high)) = ranges.pop() {
        let range = Work { changes: &work.changes[low..high], ..*work };
        let Some(plan) = write_range(tx, &range, &refused, &known).await? else {
            let middle = low.midpoint(high);
            ranges.extend([(middle, high), (low, middle)]);
            continue;
        };
        // Before the next range asks which keys were inserted.
        for (table, keys) in inserted_keys(range.schema, range.changes, plan.rejected.iter().map(|no| no.place)) {
            tx.keep_inserted(table, &keys).await?;
        }
        if !ranges.is_empty() {
            known.note(&range, &plan);
        }
        written.applied += plan.applied;
        written
            .refused
            .extend(plan.rejected.into_iter().map(|refusal| Refusal { place: low + refusal.place, ..refusal }));
    }
    Ok(written)
}

/// Writes one range: its verdicts, or `None` when it has to be halved.
async fn write_range(
    tx: &mut dyn Transaction,
    range: &Work<'_>,
    refused: &Refused,
    known: &KnownRows,
) -> Result<Option<Plan>, StoreError> {
    let mut refused = Cow::Borrowed(refused);
    let mut plan = plan_range(tx, range, &refused, known, range.foreseen()).instrument(span!("plan")).await?;
    for _ in 0..ROUNDS_MAX {
        if plan.steps.is_empty() {
            return Ok(Some(plan));
        }
        let Err(violation) = write_plan(tx, range, &plan).instrument(span!("write")).await? else {
            return Ok(Some(plan));
        };
        // Another transaction may have written meanwhile what the planner has a word for.
        let today = plan_range(tx, range, &refused, known, None).instrument(span!("plan")).await?;
        if today != plan {
            plan = today;
            continue;
        }
        let steps = plan.steps.as_slice();
        tx.savepoint().await?;
        let began = Instant::now();
        let isolated = tx.write_each(range.lineage, range.groups, steps).await?;
        range.stages.since(Stage::Write, began);
        let at_fault: Vec<&Step> = isolated.refused.iter().map(|refused| &steps[refused.step]).collect();
        let is_torn = || is_torn(steps, &isolated.refused);
        if isolated.complete && !is_torn() && !others_hang_on(range, &at_fault) {
            tx.release_savepoint().await?;
            let refused = isolated.refused.iter().map(|refused| (steps[refused.step].place, refused.message.clone()));
            let refused: Vec<(usize, String)> = refused.collect();
            plan.refuse(refused.into_iter());
            return Ok(Some(plan));
        }
        tx.rollback_to_savepoint().await?;
        if range.changes.len() == 1 {
            // There is nothing to halve: all that the change would do is refused.
            let message = isolated.refused.first().map_or(violation, |refused| refused.message.clone());
            plan.refuse(std::iter::once((0, message)));
            return Ok(Some(plan));
        }
        if isolated.refused.is_empty() || isolated.refused.iter().any(|refused| !refused.own) {
            return Ok(None);
        }
        for (step, because) in at_fault.iter().zip(&isolated.refused) {
            let rejection = Rejection::new(RejectCode::Constraint, because.message.clone());
            refused.to_mut().insert(range.changes[step.place].at, rejection);
        }
        plan = plan_range(tx, range, &refused, known, None).instrument(span!("plan")).await?;
    }
    Ok(None)
}

/// Writes what a plan says; the words of the database when a row of it is refused, and then nothing of it remains.
async fn write_plan(tx: &mut dyn Transaction, range: &Work<'_>, plan: &Plan) -> Result<Result<(), String>, StoreError> {
    let began = Instant::now();
    tx.savepoint().await?;
    let written = tx.write(range.lineage, range.groups, &writes_of(range.schema, &plan.steps)).await;
    let written = match written {
        Ok(()) => tx.release_savepoint().await.map(Ok),
        Err(StoreError::Violation(message)) => tx.rollback_to_savepoint().await.map(|()| Err(message)),
        Err(error) => Err(error),
    };
    range.stages.since(Stage::Write, began);
    written
}

/// Asks what a range has to know, and plans it, as far as that was not foreseen.
async fn plan_range(
    tx: &mut dyn Transaction,
    range: &Work<'_>,
    refused: &Refused,
    known: &KnownRows,
    foreseen: Option<&Foreseen>,
) -> Result<Plan, StoreError> {
    if let Some(plan) = foreseen.and_then(|foreseen| foreseen.plan.clone()) {
        return Ok(plan);
    }
    let changes = range.changes.len();
    let began = Instant::now();
    let ask = || questions(range.schema, range.lineage, range.groups, range.changes, refused);
    let asked = match foreseen {
        Some(foreseen) => Cow::Borrowed(&foreseen.asked),
        None => Cow::Owned(compute(changes, ask)),
    };
    let began = range.stages.since(Stage::Plan, began);
    let facts = facts(tx, range, &asked, known).await?;
    let began = range.stages.since(Stage::Ask, began);
    let planning = || plan(range.schema, range.lineage, range.groups, range.changes, refused, &asked, facts);
    let plan = compute(changes, planning);
    range.stages.since(Stage::Plan, began);
    Ok(plan)
}

/// The answers to the questions of a range, with what is known of rejected parents.
async fn facts(
    tx: &mut dyn Transaction,
    range: &Work<'_>,
    asked: &Questions,
    known: &KnownRows,
) -> Result<Facts, StoreError> {
    let mut facts = tx.facts(range.lineage, asked).await?;
    if range.has_open_rejects {
        let mut absent: BTreeMap<usize, BTreeSet<Key>> = BTreeMap::new();
        for (&table, keys) in &asked.present {
            let keys: BTreeSet<Key> =
                keys.iter().copied().filter(|key| !facts.present.contains_key(&(table, *key))).collect();
            if !keys.is_empty() {
                absent.insert(table, keys);
            }
        }
        if !absent.is_empty() {
            facts.rejected = tx.rejected_rows(range.schema, range.log, &absent).await?;
        }
    }
    for (row, rejected) in &known.0 {
        match rejected {
            Some(rejected) => drop(facts.rejected.insert(*row, rejected.clone())),
            None => drop(facts.rejected.remove(row)),
        }
    }
    Ok(facts)
}

/// Rows that earlier ranges of the same changes touched: rejected by a change, or (`None`) written or deleted by one.
#[derive(Debug, Default)]
struct KnownRows(HashMap<(usize, Key), Option<RejectedRow>>);

impl KnownRows {
    fn note(&mut self, range: &Work<'_>, plan: &Plan) {
        let refusals: HashMap<usize, RejectCode> =
            plan.rejected.iter().map(|refusal| (refusal.place, refusal.rejection.code)).collect();
        for (place, change) in range.changes.iter().enumerate() {
            let Some(row) = change.row() else { continue };
            match refusals.get(&place) {
                None => drop(self.0.insert(row, None)),
                Some(code) if change.op != Op::Delete => {
                    let rejected = RejectedRow { seq: change.seq, code: code.as_str().to_owned() };
                    self.0.insert(row, Some(rejected));
                }
                Some(_) => {}
            }
        }
    }
}

/// Some steps of one change were refused, and others of it were not.
fn is_torn(steps: &[Step], refused: &[RefusedStep]) -> bool {
    let is_refused: HashSet<usize> = refused.iter().map(|refused| refused.step).collect();
    let places: HashSet<usize> = refused.iter().map(|refused| steps[refused.step].place).collect();
    steps.iter().enumerate().any(|(at, step)| places.contains(&step.place) && !is_refused.contains(&at))
}

/// Whether another change of the range would have another verdict or effect without these steps: an earlier change of
/// the same row, a row that references it, a delete that is checked against it.
fn others_hang_on(range: &Work<'_>, at_fault: &[&Step]) -> bool {
    let schema = range.schema;
    let mut places = BTreeSet::new();
    let mut rows = HashSet::new();
    for step in at_fault {
        places.insert(step.place);
        rows.extend(range.changes[step.place].row());
        // A delete that the database refuses leaves a row that the plan takes for gone.
        if step.effect == Effect::Delete {
            return true;
        }
    }
    let tables: BTreeSet<usize> = rows.iter().map(|(table, _)| *table).collect();
    range.changes.iter().enumerate().any(|(place, change)| {
        let Some(row) = change.row() else { return false };
        if places.contains(&place) {
            return false;
        }
        if rows.contains(&row) {
            return true;
        }
        if change.op == Op::Delete {
            return guarded_by(schema, row.0).any(|at| tables.contains(&at.table));
        }
        change.references(schema, range.groups).any(|(_, parent, key)| rows.contains(&(parent, key)))
    })
}
