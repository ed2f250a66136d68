//! Writes of rows: row by row as steps, or as sets, one per table.

use std::collections::BTreeMap;

use tidemark_core::identity::Identity;
use tidemark_core::schema::Schema;

/// The place of a row within a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowAt {
    /// Index of its group.
    pub group: u32,
    /// Its row there.
    pub row: u32,
}

/// The writes to one table. Every list is sorted, and no row is in two of them.
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

impl TableWrites {
    /// How many rows they write.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.fresh.len() + self.upserts.len() + self.deletes.len()
    }
}

/// The effect of a change that is the last of its row within the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Of [`TableWrites::fresh`].
    Fresh(RowAt),
    /// Of [`TableWrites::upserts`].
    Upsert(RowAt),
    /// Of [`TableWrites::deletes`].
    Delete,
}

/// One row of the net effect. A change has several where it brings a row back that a replaced number had moved: the
/// row, and each time it was moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The place of the change in the range: of the changes of one row, the last.
    pub place: usize,
    /// The table.
    pub table: usize,
    /// The row.
    pub identity: Identity,
    /// The write.
    pub effect: Effect,
}

/// Steps as sets, tables in parents-first order.
#[must_use]
pub fn writes_of(schema: &Schema, steps: &[Step]) -> Vec<TableWrites> {
    let mut sorted: Vec<&Step> = steps.iter().collect();
    sorted.sort_unstable_by_key(|step| (step.table, step.identity));
    let mut of_tables: BTreeMap<usize, TableWrites> = BTreeMap::new();
    for step in sorted {
        let writes = of_tables.entry(step.table).or_default();
        writes.table = step.table;
        match step.effect {
            Effect::Fresh(at) => writes.fresh.push(at),
            Effect::Upsert(at) => writes.upserts.push(at),
            Effect::Delete => writes.deletes.push(step.identity),
        }
    }
    schema.parents_first().iter().filter_map(|table| of_tables.remove(table)).collect()
}

/// A step that the database refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedStep {
    /// Its place in the list of steps.
    pub step: usize,
    /// Why, in the database's words.
    pub message: String,
    /// Whether the row itself is at fault, whatever else there is (a CHECK, not a UNIQUE).
    pub own: bool,
}

/// The outcome of steps that were written one after another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Isolated {
    /// Those refused.
    pub refused: Vec<RefusedStep>,
    /// Whether all the others were written. If not, `refused` is not all of it, and the transaction is to be rolled
    /// back to its last savepoint.
    pub complete: bool,
}
