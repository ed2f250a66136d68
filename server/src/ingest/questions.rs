//! What the planner must know of the rows that are upstream already: asked set by set, one query per table.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_core::batch::{ChangeRef, Group, Op};
pub use tidemark_core::identity::{Identity, Key};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::ValueRef;

use super::check::Refused;
use crate::ledger::lineage::Lineage;
use crate::upstream::facts::{ColumnAt, Questions};
use crate::upstream::writes::RowAt;

/// The identity of a row of a group; `None` when it has none, which the checks refuse.
#[must_use]
pub fn identity_of(table: &Table, group: &Group, row: usize) -> Option<Identity> {
    let time = if group.op == Op::Delete { 1 } else { table.time.unwrap_or(0) };
    let time_us = match table.time {
        Some(_) => match group.columns.get(time)?.get(row) {
            ValueRef::Timestamp(us) => us,
            _ => return None,
        },
        None => 0,
    };
    Some(Identity { time_us, key: key_of(table, group, row)? })
}

/// The key of a row of a group, also when the rest of its identity is missing.
#[must_use]
pub fn key_of(table: &Table, group: &Group, row: usize) -> Option<Key> {
    let key = if group.op == Op::Delete { 0 } else { table.key };
    Key::of(group.columns.get(key)?.get(row))
}

/// Columns of ordinary tables that reference the ordinary table `parent`: what a delete of its rows is checked against.
pub fn guarded_by(schema: &Schema, parent: usize) -> impl Iterator<Item = ColumnAt> + '_ {
    let ordinary = schema.tables()[parent].time.is_none();
    schema.tables().iter().enumerate().filter(move |(_, table)| ordinary && table.time.is_none()).flat_map(
        move |(index, table)| {
            let columns = table.columns.iter().enumerate();
            columns
                .filter(move |(_, column)| column.references == Some(parent))
                .map(move |(column, _)| ColumnAt { table: index, column })
        },
    )
}

/// Collects the questions of some changes.
#[must_use]
pub fn questions(
    schema: &Schema,
    lineage: &Lineage,
    groups: &[Group],
    changes: &[ChangeRef],
    refused: &Refused,
) -> Questions {
    let inherits = |key| match key {
        Key::Integer(id) => lineage.former_of(id).is_some_and(|former| former.owned),
        Key::Uuid(_) => lineage.former.iter().any(|former| former.owned),
    };
    let mut asked = Questions::default();
    let mut touched: BTreeMap<usize, BTreeSet<Key>> = BTreeMap::new();
    for change in changes {
        let group = &groups[change.group];
        if group.op == Op::Void || refused.contains_key(&RowAt { group: change.group as u32, row: change.row as u32 }) {
            continue;
        }
        let index = group.table as usize;
        let table = &schema.tables()[index];
        let Some(identity) = identity_of(table, group, change.row) else { continue };
        if matches!(identity.key, Key::Uuid(_)) {
            asked.foreign.entry(index).or_default().insert(identity.key);
        }
        if table.time.is_none() {
            touched.entry(index).or_default().insert(identity.key);
        } else if inherits(identity.key) {
            asked.present.entry(index).or_default().insert(identity.key);
            asked.inherited.insert((index, identity.key));
        }
        if group.op == Op::Delete {
            for at in guarded_by(schema, index) {
                asked.children.entry(at).or_default().insert(identity.key);
            }
            continue;
        }
        for (column, parent) in
            table.columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.references?)))
        {
            if let Some(key) = Key::of(group.columns[column].get(change.row)) {
                asked.present.entry(parent).or_default().insert(key);
            }
        }
    }
    let guarding: BTreeSet<usize> = asked.children.keys().map(|at| at.table).collect();
    asked.holders = touched.into_iter().filter(|(table, _)| guarding.contains(table)).collect();
    asked
}
