//! Questions about the rows that are upstream already, as sets, and their answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_core::digest::RowHash;
use tidemark_core::identity::{Identity, Key};

use crate::ledger::rejects::RejectedRow;

/// A column of a table, by indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnAt {
    /// The table.
    pub table: usize,
    /// Its column.
    pub column: usize,
}

/// The questions of a range of changes. A store answers each set with one query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Questions {
    /// Which of these rows are there? By table and key; the answer gives their times too.
    pub present: BTreeMap<usize, BTreeSet<Key>>,
    /// Which of these keys belong to another station? Tables keyed by uuid only: the rows that are written, and those
    /// that are referenced.
    pub foreign: BTreeMap<usize, BTreeSet<Key>>,
    /// How many rows hold this reference? By referencing column and parent key; ordinary tables only.
    pub children: BTreeMap<ColumnAt, BTreeSet<Key>>,
    /// Which references do these rows hold in the referencing columns of `children`? By table and key.
    pub holders: BTreeMap<usize, BTreeSet<Key>>,
    /// Of the rows asked about in `present`, those that a number wrote which the station replaced, in tables with a
    /// time column: that number may have moved them to another time after the histories parted.
    pub inherited: BTreeSet<(usize, Key)>,
    /// Rows that are inserted into append tables, in the order of the log: what are the rows that have their keys
    /// already?
    pub appended: BTreeMap<usize, Vec<Identity>>,
}

impl Questions {
    /// How many keys they name.
    #[must_use]
    pub fn keys(&self) -> usize {
        let by_table = [&self.present, &self.foreign, &self.holders].into_iter().flat_map(BTreeMap::values);
        let sets = by_table.chain(self.children.values()).map(BTreeSet::len).sum::<usize>();
        sets + self.inherited.len() + self.appended.values().map(Vec::len).sum::<usize>()
    }

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
    /// The reference that a row holds in a referencing column; no entry, no row.
    pub holders: HashMap<(ColumnAt, Key), Option<Key>>,
    /// Referenced rows that are absent because their change was rejected.
    pub rejected: HashMap<(usize, Key), RejectedRow>,
    /// The hash of the row of an append table that has the key; no entry, no row.
    pub appended: HashMap<(usize, Key), RowHash>,
}
