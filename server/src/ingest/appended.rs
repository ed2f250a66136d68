//! Inserts into append tables: upstream has no unique index there, so that no key comes twice is decided here.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidemark_core::batch::{Group, Op};
use tidemark_core::digest::RowHash;
use tidemark_core::identity::Key;
use tidemark_core::reject::{RejectCode, Rejection};
use tidemark_core::schema::{Schema, Table};

use super::resolve::Change;
use crate::upstream::writes::RowAt;

/// What an insert finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// No row has its key.
    New,
    /// The very row is there: nothing is left to do.
    Known,
    /// Another row has its key.
    Other,
}

/// The rows of append tables that inserts of a range meet.
#[derive(Debug)]
pub struct Appended {
    /// Those upstream.
    stored: HashMap<(usize, Key), RowHash>,
    /// Those that earlier changes of the range insert.
    inserted: HashMap<(usize, Key), RowAt>,
}

impl Appended {
    /// Begins with what the store says is there.
    #[must_use]
    pub fn new(stored: HashMap<(usize, Key), RowHash>) -> Self {
        Self { stored, inserted: HashMap::new() }
    }

    /// What an insert finds; a row that is new is there from then on.
    pub fn take(&mut self, schema: &Schema, groups: &[Group], change: &Change, key: Key) -> Arrival {
        let row = (change.table, key);
        let hash = |at: RowAt| {
            let name = &schema.tables()[change.table].name;
            RowHash::of(&mut Vec::new(), name, groups[at.group as usize].row(at.row as usize))
        };
        let there = self.stored.get(&row).copied().or_else(|| self.inserted.get(&row).map(|&at| hash(at)));
        match there {
            None => {
                self.inserted.insert(row, change.at);
                Arrival::New
            }
            Some(there) if there == hash(change.at) => Arrival::Known,
            Some(_) => Arrival::Other,
        }
    }
}

/// The rejection of an insert whose key another row has.
#[must_use]
pub fn taken(table: &Table, key: Key) -> Rejection {
    let message = format!(
        "{}.{}: an append table has a row {key} already, with other values: upstream it stays as it was inserted first",
        table.name,
        table.key_column().name
    );
    Rejection::new(RejectCode::AppendOnly, message)
}

/// The keys that changes have inserted into each append table, or found there; `refused` are the places of the changes
/// that were not applied.
#[must_use]
pub fn inserted_keys(
    schema: &Schema,
    changes: &[Change],
    refused: impl Iterator<Item = usize>,
) -> BTreeMap<usize, Vec<i64>> {
    let mut inserted: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    if schema.tables().iter().all(|table| !table.append) {
        return inserted;
    }
    let refused: HashSet<usize> = refused.collect();
    for (place, change) in changes.iter().enumerate() {
        let is_refused = refused.contains(&place);
        let is_append = schema.tables().get(change.table).is_some_and(|table| table.append);
        if let (false, true, Op::Insert, Some(Key::Integer(id))) = (is_refused, is_append, change.op, change.key) {
            inserted.entry(change.table).or_default().push(id);
        }
    }
    inserted
}
