//! The questions of a range about the rows that are upstream already, set by set.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_core::batch::{Group, Op};
use tidemark_core::identity::Key;
use tidemark_core::schema::Schema;

use super::check::Refused;
use super::resolve::Change;
use crate::ledger::lineage::Lineage;
use crate::upstream::facts::{ColumnAt, Questions};

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
    changes: &[Change],
    refused: &Refused,
) -> Questions {
    let inherits = |key| match key {
        Key::Integer(id) => lineage.former_of(id).is_some_and(|former| former.owned),
        Key::Uuid(_) => lineage.former.iter().any(|former| former.owned),
    };
    let mut asked = Questions::default();
    let mut touched: BTreeMap<usize, BTreeSet<Key>> = BTreeMap::new();
    for change in changes {
        let Some(identity) = change.identity.filter(|_| !refused.contains_key(&change.at)) else { continue };
        let index = change.table;
        if matches!(identity.key, Key::Uuid(_)) {
            asked.foreign.entry(index).or_default().insert(identity.key);
        }
        if schema.tables()[index].append {
            asked.appended.entry(index).or_default().push(identity);
        } else if schema.tables()[index].time.is_none() {
            touched.entry(index).or_default().insert(identity.key);
        } else if inherits(identity.key) {
            asked.present.entry(index).or_default().insert(identity.key);
            asked.inherited.insert((index, identity.key));
        }
        if change.op == Op::Delete {
            for at in guarded_by(schema, index) {
                asked.children.entry(at).or_default().insert(identity.key);
            }
            continue;
        }
        for (_, parent, key) in change.references(schema, groups) {
            // An integer says whose row it is; of a uuid only the row does.
            if matches!(key, Key::Uuid(_)) {
                asked.foreign.entry(parent).or_default().insert(key);
            }
            asked.present.entry(parent).or_default().insert(key);
        }
    }
    let guarding: BTreeSet<usize> = asked.children.keys().map(|at| at.table).collect();
    asked.holders = touched.into_iter().filter(|(table, _)| guarding.contains(table)).collect();
    asked
}
