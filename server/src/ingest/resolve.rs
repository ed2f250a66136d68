//! For each change of a batch its row, table and operation, worked out once. Every later stage goes
//! by these and looks into the columns only for values.

use tidemark_core::batch::{ChangeRef, Group, Op};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::ValueRef;

use crate::upstream::writes::RowAt;

/// A change with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its seq.
    pub seq: u64,
    /// When it was captured, by the station's clock, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The place of its values in the groups of the batch.
    pub at: RowAt,
    /// The operation.
    pub op: Op,
    /// The table, by index; of a void change it may be none of the schema's.
    pub table: usize,
    /// The key of its row; `None` of a void change, and where the key is missing.
    pub key: Option<Key>,
    /// Key and time of its row; `None` where one of them is missing.
    pub identity: Option<Identity>,
}

impl Change {
    /// A change of a group, by the schema that the group follows.
    #[must_use]
    pub fn of(schema: &Schema, groups: &[Group], change: &ChangeRef) -> Self {
        let group = &groups[change.group];
        let table = group.table as usize;
        let found = schema.tables().get(table).filter(|_| group.op != Op::Void);
        let key = found.and_then(|table| key_of(table, group, change.row));
        let identity = found.zip(key).and_then(|(table, key)| {
            let time_us = time_of(table, group, change.row)?;
            Some(Identity { time_us, key })
        });
        let at = RowAt { group: change.group as u32, row: change.row as u32 };
        Self { seq: change.seq, at_ms: change.at_ms, at, op: group.op, table, key, identity }
    }

    /// The table and key of its row.
    #[must_use]
    pub fn row(&self) -> Option<(usize, Key)> {
        self.key.map(|key| (self.table, key))
    }

    /// A value of its row, by the place of the column in its group.
    #[must_use]
    pub fn value<'g>(&self, groups: &'g [Group], column: usize) -> ValueRef<'g> {
        groups[self.at.group as usize].columns[column].get(self.at.row as usize)
    }

    /// The references that an insert or update holds, as referencing column, referenced table and key. NULL is none.
    pub fn references<'a>(
        &'a self,
        schema: &'a Schema,
        groups: &'a [Group],
    ) -> impl Iterator<Item = (usize, usize, Key)> + 'a {
        let columns = &schema.tables()[self.table].columns;
        columns.iter().enumerate().filter_map(move |(at, column)| {
            let parent = column.references?;
            Some((at, parent, Key::of(self.value(groups, at))?))
        })
    }
}

/// The identity of a row of a group; `None` when it has none.
#[must_use]
pub fn identity_of(table: &Table, group: &Group, row: usize) -> Option<Identity> {
    Some(Identity { time_us: time_of(table, group, row)?, key: key_of(table, group, row)? })
}

/// The time of a row; 0 in an ordinary table. A delete has its key and its time only.
fn time_of(table: &Table, group: &Group, row: usize) -> Option<i64> {
    let Some(time) = table.time else { return Some(0) };
    let column = if group.op == Op::Delete { 1 } else { time };
    match group.columns.get(column)?.get(row) {
        ValueRef::Timestamp(us) => Some(us),
        _ => None,
    }
}

fn key_of(table: &Table, group: &Group, row: usize) -> Option<Key> {
    let column = if group.op == Op::Delete { 0 } else { table.key };
    Key::of(group.columns.get(column)?.get(row))
}
