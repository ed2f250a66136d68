//! What the planner must know of the rows that are upstream already: asked set by set, one query per table.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_core::batch::{ChangeRef, Group, Op};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::ValueRef;

use super::check::{Refused, RowAt};
use crate::upstream::rejects::RejectedRow;

/// A key, or a reference to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Of a table keyed by integers; an upstream id.
    Integer(i64),
    /// Of a table keyed by uuids.
    Uuid([u8; 16]),
}

impl Key {
    /// The key a value is.
    #[must_use]
    pub const fn of(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Integer(id) => Some(Self::Integer(id)),
            ValueRef::Uuid(uuid) => Some(Self::Uuid(uuid)),
            _ => None,
        }
    }

    /// As a value.
    #[must_use]
    pub const fn value(self) -> ValueRef<'static> {
        match self {
            Self::Integer(id) => ValueRef::Integer(id),
            Self::Uuid(uuid) => ValueRef::Uuid(uuid),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(id) => id.fmt(f),
            Self::Uuid(uuid) => f.write_str(&tidemark_core::value::format_uuid(*uuid)),
        }
    }
}

/// What identifies a row upstream: its key and, in a table with a time column, its time (else 0). Ordered by time first, so that sorted
/// writes go chunk by chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Microseconds since 1970 UTC, or 0.
    pub time_us: i64,
    /// The key.
    pub key: Key,
}

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

/// A column of a table, by indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnAt {
    /// The table.
    pub table: usize,
    /// Its column.
    pub column: usize,
}

/// The questions of a range of changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Questions {
    /// Which of these rows are there? By table and key; the answer gives their times too.
    pub present: BTreeMap<usize, BTreeSet<Key>>,
    /// Which of these keys belong to another station? Tables keyed by uuid only.
    pub foreign: BTreeMap<usize, BTreeSet<Key>>,
    /// How many rows hold this reference? By referencing column and parent key; ordinary tables only.
    pub children: BTreeMap<ColumnAt, BTreeSet<Key>>,
    /// What do these rows hold in the referencing columns of `children`? By table and key.
    pub holders: BTreeMap<usize, BTreeSet<Key>>,
}

impl Questions {
    /// The referencing columns asked about in one table, in order.
    #[must_use]
    pub fn holder_columns(&self, table: usize) -> Vec<usize> {
        self.children.keys().filter(|at| at.table == table).map(|at| at.column).collect()
    }
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The times at which a key is there; ordinary tables say 0.
    pub present: HashMap<(usize, Key), BTreeSet<i64>>,
    /// The station each foreign key belongs to.
    pub foreign: HashMap<(usize, Key), u32>,
    /// How many rows hold a reference.
    pub children: HashMap<(ColumnAt, Key), u64>,
    /// What a row holds in a referencing column; no entry, no row.
    pub holders: HashMap<(ColumnAt, Key), Option<Key>>,
    /// Referenced rows that are absent because their change was rejected.
    pub rejected: HashMap<(usize, Key), RejectedRow>,
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
pub fn questions(schema: &Schema, groups: &[Group], changes: &[ChangeRef], refused: &Refused) -> Questions {
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
