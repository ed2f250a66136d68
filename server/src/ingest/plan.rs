//! The planner: from changes in order to verdicts as if each were applied alone, and to the net effect that is written. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_core::batch::{ChangeRef, Group, Op};
use tidemark_core::planted::{Bug, planted};
use tidemark_core::reject::{RejectCode, Rejection};
use tidemark_core::schema::{Schema, Table};

use super::check::{Refused, RowAt};
use super::questions::{ColumnAt, Facts, Identity, Key, Questions, guarded_by, identity_of};

/// What is to be written to one table. Every list is sorted, and no row is in two of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableWrites {
    /// The table.
    pub table: usize,
    /// Rows that should not be there yet: they began with an insert.
    pub fresh: Vec<RowAt>,
    /// Rows that may be there.
    pub upserts: Vec<RowAt>,
    /// Rows to take away; they may be absent.
    pub deletes: Vec<Identity>,
}

/// What becomes of a range of changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The changes that are not applied, by their place in the range.
    pub rejected: Vec<(usize, Rejection)>,
    /// How many are applied.
    pub applied: u32,
    /// The net effect, tables in parents-first order.
    pub writes: Vec<TableWrites>,
}

/// What a row came to within the range.
struct Net {
    fresh: bool,
    last: Option<RowAt>,
}

/// The rows upstream, as far as they were asked about, with the range's effect so far.
struct Overlay {
    present: HashMap<(usize, Key), BTreeSet<i64>>,
    asked_present: BTreeSet<usize>,
    children: HashMap<(ColumnAt, Key), i64>,
    holders: HashMap<(ColumnAt, Key), Option<Key>>,
    holder_columns: BTreeMap<usize, Vec<usize>>,
}

/// Plans a range of changes. `facts` answer what was `asked` of the same range.
#[must_use]
pub fn plan(
    schema: &Schema,
    groups: &[Group],
    changes: &[ChangeRef],
    refused: &Refused,
    asked: &Questions,
    facts: Facts,
) -> Plan {
    let mut inherited: HashMap<(usize, Key), BTreeSet<i64>> =
        asked.inherited.iter().filter_map(|&at| Some((at, facts.present.get(&at)?.clone()))).collect();
    let mut overlay = Overlay::new(schema, groups, facts.present, facts.children, facts.holders);
    let mut net: Vec<HashMap<Identity, Net>> = schema.tables().iter().map(|_| HashMap::new()).collect();
    let mut plan = Plan::default();
    for (place, change) in changes.iter().enumerate() {
        let group = &groups[change.group];
        if group.op == Op::Void {
            continue;
        }
        let at = RowAt { group: change.group as u32, row: change.row as u32 };
        let index = group.table as usize;
        let table = &schema.tables()[index];
        let verdict = match (refused.get(&at), identity_of(table, group, change.row)) {
            (Some(rejection), _) => Err(rejection.clone()),
            (None, None) => Err(Rejection::new(RejectCode::Required, format!("{}: the key is missing", table.name))),
            (None, Some(identity)) => match facts.foreign.get(&(index, identity.key)) {
                Some(owner) if !planted(Bug::OwnerNotChecked) => Err(Rejection::new(
                    RejectCode::Owner,
                    format!(
                        "{}.{}: the row {} belongs to {}",
                        table.name,
                        table.key_column().name,
                        identity.key,
                        owner_name(*owner)
                    ),
                )),
                _ => overlay.judge(schema, index, group, change.row, identity).map(|()| identity),
            },
        };
        let identity = match verdict {
            Ok(identity) => identity,
            Err(rejection) => {
                plan.rejected.push((place, rejection));
                continue;
            }
        };
        // Wherever a number that was replaced has moved the row, there it is no more.
        for time_us in inherited.remove(&(index, identity.key)).into_iter().flatten() {
            let elsewhere = Identity { time_us, ..identity };
            if elsewhere != identity {
                net[index].insert(elsewhere, Net { fresh: false, last: None });
                overlay.forget(index, elsewhere);
            }
        }
        if !planted(Bug::BatchBlind) {
            overlay.take(index, table, group, change.row, identity);
        }
        plan.applied += 1;
        let gone = group.op == Op::Delete;
        let entry = net[index].entry(identity).or_insert(Net { fresh: group.op == Op::Insert, last: None });
        let kept = entry.last.is_some() && !gone && planted(Bug::FirstImageKept)
            || group.op == Op::Insert && !entry.fresh && planted(Bug::DeleteWins);
        if !kept {
            entry.last = (!gone).then_some(at);
        }
        entry.fresh &= !gone;
    }
    plan.writes =
        schema.parents_first().iter().filter_map(|&table| writes(table, std::mem::take(&mut net[table]))).collect();
    plan
}

fn owner_name(station: u32) -> String {
    if station == 0 { "HQ".to_owned() } else { format!("station {station}") }
}

fn writes(table: usize, net: HashMap<Identity, Net>) -> Option<TableWrites> {
    if net.is_empty() {
        return None;
    }
    let mut net: Vec<(Identity, Net)> = net.into_iter().collect();
    net.sort_unstable_by_key(|(identity, _)| *identity);
    let mut writes = TableWrites { table, ..TableWrites::default() };
    for (identity, net) in net {
        match net.last {
            None => writes.deletes.push(identity),
            Some(at) if net.fresh => writes.fresh.push(at),
            Some(at) => writes.upserts.push(at),
        }
    }
    Some(writes)
}

impl Overlay {
    fn new(
        schema: &Schema,
        groups: &[Group],
        present: HashMap<(usize, Key), BTreeSet<i64>>,
        children: HashMap<(ColumnAt, Key), u64>,
        holders: HashMap<(ColumnAt, Key), Option<Key>>,
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
        }
    }

    /// Whether the change may be applied now.
    fn judge(
        &self,
        schema: &Schema,
        index: usize,
        group: &Group,
        row: usize,
        identity: Identity,
    ) -> Result<(), Rejection> {
        let table = &schema.tables()[index];
        if group.op == Op::Delete {
            for at in guarded_by(schema, index) {
                let itself = at.table == index && self.holders.get(&(at, identity.key)) == Some(&Some(identity.key));
                let held = self.children.get(&(at, identity.key)).copied().unwrap_or(0) - i64::from(itself);
                if held > 0 {
                    let child = &schema.tables()[at.table];
                    return Err(Rejection::new(
                        RejectCode::Referenced,
                        format!(
                            "{}.{}: {held} rows still reference {} by {}.{}; delete them first",
                            table.name,
                            table.key_column().name,
                            identity.key,
                            child.name,
                            child.columns[at.column].name
                        ),
                    ));
                }
            }
            return Ok(());
        }
        for (column, parent) in
            table.columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.references?)))
        {
            let Some(key) = Key::of(group.columns[column].get(row)) else { continue };
            let itself = parent == index && key == identity.key;
            if !itself && self.present.get(&(parent, key)).is_none_or(BTreeSet::is_empty) {
                return Err(Rejection::new(
                    RejectCode::Reference,
                    format!(
                        "{}.{}: the row {key} of {} is not upstream",
                        table.name,
                        table.columns[column].name,
                        schema.tables()[parent].name
                    ),
                ));
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

    /// Takes an applied change into account.
    fn take(&mut self, index: usize, table: &Table, group: &Group, row: usize, identity: Identity) {
        let gone = group.op == Op::Delete;
        if self.asked_present.contains(&index) {
            let times = self.present.entry((index, identity.key)).or_default();
            if gone {
                times.remove(&identity.time_us);
            } else {
                times.insert(identity.time_us);
            }
        }
        if table.time.is_some() {
            return;
        }
        for &column in self.holder_columns.get(&index).map_or(&[][..], Vec::as_slice) {
            let at = ColumnAt { table: index, column };
            let before = if gone {
                self.holders.remove(&(at, identity.key))
            } else {
                self.holders.insert((at, identity.key), Key::of(group.columns[column].get(row)))
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
