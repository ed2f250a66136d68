//! The planner: from changes in order to verdicts as if each were applied alone, and to the net effect that is written.
//! Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_core::amount::count;
use tidemark_core::batch::{Group, Op};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::planted::{Bug, planted};
use tidemark_core::reject::{RejectCode, Rejection};
use tidemark_core::schema::{Schema, Table};

use super::appended::{Appended, Arrival, taken};
use super::check::Refused;
use super::questions::guarded_by;
use super::resolve::Change;
use crate::ledger::lineage::Lineage;
use crate::ledger::rejects::RejectedRow;
use crate::upstream::facts::{ColumnAt, Facts, Questions};
use crate::upstream::writes::{Effect, RowAt, Step};

/// A change that is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the range.
    pub place: usize,
    /// Why.
    pub rejection: Rejection,
    /// With [`RejectCode::Parent`]: the seq of the parent's rejected change.
    pub parent: Option<u64>,
}

impl Refusal {
    const fn new(place: usize, rejection: Rejection) -> Self {
        Self { place, rejection, parent: None }
    }
}

/// The plan of a range of changes: their verdicts, and the net effect.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The changes that are not applied, in order.
    pub rejected: Vec<Refusal>,
    /// How many are applied.
    pub applied: u32,
    /// The net effect row by row, in the order of the log; of one change, what goes comes first.
    pub steps: Vec<Step>,
}

/// The net effect on a row within the range.
struct Net {
    /// The place of the change that made it so.
    place: usize,
    fresh: bool,
    last: Option<RowAt>,
}

impl Net {
    const GONE: Self = Self { place: 0, fresh: false, last: None };
}

/// The net effect on the rows of a table. A recorder's rows come in the order of their identity: those stand in a list,
/// and only what comes out of order in a map.
#[derive(Default)]
struct Nets {
    ascending: Vec<(Identity, Net)>,
    others: HashMap<Identity, Net>,
}

impl Nets {
    /// The effect on a row; `first` gives it where there was none.
    fn of(&mut self, identity: Identity, first: impl FnOnce() -> Net) -> &mut Net {
        let next = self.ascending.len();
        if self.ascending.last().is_none_or(|(last, _)| *last < identity) {
            self.ascending.push((identity, first()));
            return &mut self.ascending[next].1;
        }
        match self.ascending.binary_search_by_key(&identity, |(row, _)| *row) {
            Ok(place) => &mut self.ascending[place].1,
            Err(_) => self.others.entry(identity).or_insert_with(first),
        }
    }
}

/// The rows upstream, as far as they were asked about, with the range's effect so far.
struct Overlay {
    present: HashMap<(usize, Key), BTreeSet<i64>>,
    asked_present: BTreeSet<usize>,
    children: HashMap<(ColumnAt, Key), i64>,
    holders: HashMap<(ColumnAt, Key), Option<Key>>,
    holder_columns: BTreeMap<usize, Vec<usize>>,
    rejected: HashMap<(usize, Key), RejectedRow>,
}

impl Plan {
    /// Turns changes that are applied by the plan into ones that broke a constraint of the database: by place, with its
    /// words. Of several words about one change the first are kept.
    pub fn refuse(&mut self, violations: impl Iterator<Item = (usize, String)>) {
        let mut by_place: BTreeMap<usize, String> = BTreeMap::new();
        for (place, message) in violations {
            by_place.entry(place).or_insert(message);
        }
        self.steps.retain(|step| !by_place.contains_key(&step.place));
        for (place, message) in by_place {
            self.rejected.push(Refusal::new(place, Rejection::new(RejectCode::Constraint, message)));
            self.applied -= 1;
        }
        self.rejected.sort_unstable_by_key(|refusal| refusal.place);
    }
}

/// Plans a range of changes. `facts` answer what was `asked` of the same range.
#[must_use]
pub fn plan(
    schema: &Schema,
    lineage: &Lineage,
    groups: &[Group],
    changes: &[Change],
    refused: &Refused,
    asked: &Questions,
    facts: Facts,
) -> Plan {
    let foreign = facts.foreign;
    let mut appended = Appended::new(facts.appended);
    let mut inherited: HashMap<(usize, Key), BTreeSet<i64>> =
        asked.inherited.iter().filter_map(|&at| Some((at, facts.present.get(&at)?.clone()))).collect();
    let mut overlay = Overlay::new(schema, groups, facts.present, facts.children, facts.holders, facts.rejected);
    let mut net: Vec<Nets> = schema.tables().iter().map(|_| Nets::default()).collect();
    let mut plan = Plan::default();
    for (place, change) in changes.iter().enumerate() {
        if change.op == Op::Void {
            continue;
        }
        let index = change.table;
        let table = &schema.tables()[index];
        let verdict = match (refused.get(&change.at), change.identity) {
            (Some(rejection), _) => Err(Refusal::new(place, rejection.clone())),
            (None, None) => {
                let message = format!("{}: the key is missing", table.name);
                Err(Refusal::new(place, Rejection::new(RejectCode::Required, message)))
            }
            (None, Some(identity)) => match foreign.get(&(index, identity.key)) {
                Some(owner) if !planted(Bug::OwnerNotChecked) => {
                    Err(Refusal::new(place, not_yours(table, identity.key, *owner)))
                }
                _ => match strange_reference(schema, lineage, groups, change, &foreign) {
                    Some(rejection) => Err(Refusal::new(place, rejection)),
                    None => overlay
                        .judge(schema, groups, change, identity)
                        .map(|()| identity)
                        .map_err(|(rejection, parent)| Refusal { parent, ..Refusal::new(place, rejection) }),
                },
            },
        };
        let identity = match verdict {
            Ok(identity) => identity,
            Err(refusal) => {
                overlay.refuse(change, refusal.rejection.code);
                plan.rejected.push(refusal);
                continue;
            }
        };
        if table.append && !planted(Bug::AppendUnchecked) {
            match appended.take(schema, groups, change, identity.key) {
                Arrival::New => {}
                Arrival::Known => {
                    plan.applied += 1;
                    continue;
                }
                Arrival::Other => {
                    plan.rejected.push(Refusal::new(place, taken(table, identity.key)));
                    continue;
                }
            }
        }
        // Wherever a number that was replaced has moved the row, there it is no more.
        let moved = if inherited.is_empty() { None } else { inherited.remove(&(index, identity.key)) };
        for time_us in moved.into_iter().flatten() {
            let elsewhere = Identity { time_us, ..identity };
            if elsewhere != identity {
                *net[index].of(elsewhere, || Net::GONE) = Net { place, ..Net::GONE };
                overlay.forget(index, elsewhere);
            }
        }
        if !planted(Bug::BatchBlind) {
            overlay.take(schema, groups, change, identity);
        }
        plan.applied += 1;
        let gone = change.op == Op::Delete;
        let entry = net[index].of(identity, || Net { fresh: change.op == Op::Insert, ..Net::GONE });
        entry.place = place;
        let kept = entry.last.is_some() && !gone && planted(Bug::FirstImageKept)
            || change.op == Op::Insert && !entry.fresh && planted(Bug::DeleteWins);
        if !kept {
            entry.last = (!gone).then_some(change.at);
        }
        entry.fresh &= !gone;
    }
    plan.steps = steps(net);
    plan
}

fn not_yours(table: &Table, key: Key, owner: u32) -> Rejection {
    let owner = if owner == 0 { "HQ".to_owned() } else { format!("station {owner}") };
    let message = format!("{}.{}: the row {key} belongs to {owner}", table.name, table.key_column().name);
    Rejection::new(RejectCode::Owner, message)
}

/// The rejection of a change that references another station's row by its uuid: what would hold that station's delete.
/// Integers are checked before the database is asked, since they say whose row they name.
fn strange_reference(
    schema: &Schema,
    lineage: &Lineage,
    groups: &[Group],
    change: &Change,
    foreign: &HashMap<(usize, Key), u32>,
) -> Option<Rejection> {
    if change.op == Op::Delete {
        return None;
    }
    change.references(schema, groups).find_map(|(column, parent, key)| {
        let owner = *foreign.get(&(parent, key))?;
        (!lineage.may_reference_rows_of(owner)).then(|| {
            let table = &schema.tables()[change.table];
            let message = format!(
                "{}.{}: the reference {key} is neither to a row of station {} nor to one of HQ",
                table.name, table.columns[column].name, lineage.station
            );
            Rejection::new(RejectCode::IdRange, message)
        })
    })
}

/// The net effect of every table's rows, in the order of the log.
fn steps(net: Vec<Nets>) -> Vec<Step> {
    let mut steps: Vec<Step> = net
        .into_iter()
        .enumerate()
        .flat_map(|(table, rows)| {
            rows.ascending.into_iter().chain(rows.others).map(move |(identity, Net { place, fresh, last })| {
                let effect = match last {
                    None => Effect::Delete,
                    Some(at) if fresh => Effect::Fresh(at),
                    Some(at) => Effect::Upsert(at),
                };
                Step { place, table, identity, effect }
            })
        })
        .collect();
    steps.sort_unstable_by_key(|step| (step.place, step.effect != Effect::Delete, step.identity));
    steps
}

impl Overlay {
    fn new(
        schema: &Schema,
        groups: &[Group],
        present: HashMap<(usize, Key), BTreeSet<i64>>,
        children: HashMap<(ColumnAt, Key), u64>,
        holders: HashMap<(ColumnAt, Key), Option<Key>>,
        rejected: HashMap<(usize, Key), RejectedRow>,
    ) -> Self {
        // Tables whose rows matter to others of this batch.
        let referenced = groups.iter().filter(|group| matches!(group.op, Op::Insert | Op::Update)).flat_map(|group| {
            let table = schema.tables().get(group.table as usize);
            table.into_iter().flat_map(|table| table.columns.iter().filter_map(|column| column.references))
        });
        let mut holder_columns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let deleted: BTreeSet<usize> =
            groups.iter().filter(|group| group.op == Op::Delete).map(|group| group.table as usize).collect();
        for at in deleted.into_iter().flat_map(|parent| guarded_by(schema, parent)) {
            holder_columns.entry(at.table).or_default().push(at.column);
        }
        Self {
            present,
            asked_present: referenced.collect(),
            children: children.into_iter().map(|(at, count)| (at, i64::try_from(count).unwrap_or(i64::MAX))).collect(),
            holders,
            holder_columns,
            rejected,
        }
    }

    /// Refuses the change if it may not be applied now: why, and for want of which rejected change.
    fn judge(
        &self,
        schema: &Schema,
        groups: &[Group],
        change: &Change,
        identity: Identity,
    ) -> Result<(), (Rejection, Option<u64>)> {
        let index = change.table;
        let table = &schema.tables()[index];
        if change.op == Op::Delete {
            for at in guarded_by(schema, index) {
                let itself = at.table == index && self.holders.get(&(at, identity.key)) == Some(&Some(identity.key));
                let held = self.children.get(&(at, identity.key)).copied().unwrap_or(0) - i64::from(itself);
                if held > 0 {
                    let child = &schema.tables()[at.table];
                    let message = format!(
                        "{}.{}: {} is still referenced by {} ({}.{}); delete what references it first",
                        table.name,
                        table.key_column().name,
                        identity.key,
                        count(held.unsigned_abs(), "row"),
                        child.name,
                        child.columns[at.column].name
                    );
                    return Err((Rejection::new(RejectCode::Referenced, message), None));
                }
            }
            return Ok(());
        }
        for (column, parent, key) in change.references(schema, groups) {
            let itself = parent == index && key == identity.key;
            if !itself && self.present.get(&(parent, key)).is_none_or(BTreeSet::is_empty) {
                let absent = format!(
                    "{}.{}: the row {key} of {} is not upstream",
                    table.name,
                    table.columns[column].name,
                    schema.tables()[parent].name
                );
                return Err(match self.rejected.get(&(parent, key)) {
                    None => (Rejection::new(RejectCode::Reference, absent), None),
                    Some(RejectedRow { seq, code }) => {
                        let message =
                            format!("{absent}: its change {seq} was rejected ({code}); repair or replay that one");
                        (Rejection::new(RejectCode::Parent, message), Some(*seq))
                    }
                });
            }
        }
        Ok(())
    }

    /// Takes into account that a row of a table with a time column is gone.
    fn forget(&mut self, index: usize, identity: Identity) {
        if let Some(times) = self.present.get_mut(&(index, identity.key)) {
            times.remove(&identity.time_us);
        }
    }

    /// Takes a refused change into account: rows that reference its row hang on it.
    fn refuse(&mut self, change: &Change, code: RejectCode) {
        if change.op != Op::Delete
            && self.asked_present.contains(&change.table)
            && let Some(row) = change.row()
        {
            self.rejected.insert(row, RejectedRow { seq: change.seq, code: code.as_str().to_owned() });
        }
    }

    /// Takes an applied change into account.
    fn take(&mut self, schema: &Schema, groups: &[Group], change: &Change, identity: Identity) {
        let (index, gone) = (change.table, change.op == Op::Delete);
        if self.asked_present.contains(&index) {
            self.rejected.remove(&(index, identity.key));
            let times = self.present.entry((index, identity.key)).or_default();
            if gone {
                times.remove(&identity.time_us);
            } else {
                times.insert(identity.time_us);
            }
        }
        if schema.tables()[index].time.is_some() {
            return;
        }
        for &column in self.holder_columns.get(&index).map_or(&[][..], Vec::as_slice) {
            let at = ColumnAt { table: index, column };
            let before = if gone {
                self.holders.remove(&(at, identity.key))
            } else {
                self.holders.insert((at, identity.key), Key::of(change.value(groups, column)))
            };
            if let Some(parent) = before.flatten() {
                *self.children.entry((at, parent)).or_default() -= 1;
            }
            if let Some(parent) = self.holders.get(&(at, identity.key)).copied().flatten() {
                *self.children.entry((at, parent)).or_default() += 1;
            }
        }
    }
}
