//! A batch: a contiguous range of changes, grouped by table and operation, each group by columns; `builder` cuts it out
//! of a log.

mod builder;

pub use self::builder::{BatchBuilder, LogRow};

use crate::chain::{Chain, Print, canonical_change};
use crate::columns::ColumnBlock;
use crate::decision::Span;
use crate::ids::{LOCAL_ID_MAX, StationNumber};
use crate::schema::{Fingerprint, Schema, Table};
use crate::value::{ColumnType, ValueRef};

/// The operation of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Op {
    /// A new row; carries all columns. Over an existing key it replaces.
    Insert = 1,
    /// A changed row; carries all columns, and heals a row whose insert was rejected.
    Update = 2,
    /// A row that is gone; carries key and time.
    Delete = 3,
    /// A marker that keeps the numbering gapless: the change was rejected on the station (code and message travel), or
    /// is void.
    Void = 4,
}

impl Op {
    /// The operation of this code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Insert),
            2 => Some(Self::Update),
            3 => Some(Self::Delete),
            4 => Some(Self::Void),
            _ => None,
        }
    }

    /// The operation of a log row: `I`, `U` or `D`.
    #[must_use]
    pub const fn from_log(letter: &[u8]) -> Option<Self> {
        match letter {
            b"I" => Some(Self::Insert),
            b"U" => Some(Self::Update),
            b"D" => Some(Self::Delete),
            _ => None,
        }
    }

    /// A word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Void => "void",
        }
    }
}

/// The code a void change carries when there is nothing to repair: the delete of a row that could never have travelled.
pub const VOID_CODE: &str = "void";

/// The table number of a void change whose table the schema does not have.
pub const NO_TABLE: u32 = u32::MAX;

/// All changes of one table and operation, in log order.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The table's number in the schema; [`NO_TABLE`] only with [`Op::Void`].
    pub table: u32,
    /// The operation of all its changes.
    pub op: Op,
    /// The number of changes.
    pub rows: usize,
    /// The columns [`group_columns`] names.
    pub columns: Vec<ColumnBlock>,
}

/// The types of a group's columns: all of the table's (insert, update), key and time (delete), code and message (void).
#[must_use]
pub fn group_columns(table: Option<&Table>, op: Op) -> Vec<ColumnType> {
    match (op, table) {
        (Op::Void, _) => vec![ColumnType::Text, ColumnType::Text],
        (Op::Delete, Some(table)) => table.identity().map(|index| table.columns[index].ty).collect(),
        (Op::Insert | Op::Update, Some(table)) => table.columns.iter().map(|column| column.ty).collect(),
        (_, None) => Vec::new(),
    }
}

impl Group {
    /// An empty group.
    #[must_use]
    pub fn new(schema: &Schema, table: u32, op: Op) -> Self {
        let columns = group_columns(schema.tables().get(table as usize), op);
        Self { table, op, rows: 0, columns: columns.into_iter().map(ColumnBlock::new).collect() }
    }

    /// Appends a row.
    pub fn push(&mut self, values: &[ValueRef<'_>]) {
        debug_assert_eq!(values.len(), self.columns.len());
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(*value);
        }
        self.rows += 1;
    }

    /// The values of a row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = ValueRef<'_>> + Clone {
        self.columns.iter().map(move |column| column.get(row))
    }
}

/// A batch, decoded or about to be encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Fingerprint of the schema its columns follow.
    pub fingerprint: Fingerprint,
    /// Whose log it is of.
    pub station: StationNumber,
    /// First seq, from 1.
    pub first_seq: u64,
    /// The chain before the first change.
    pub chain_before: Chain,
    /// The chain after the last.
    pub chain_after: Chain,
    /// The station's clock when it was cut, milliseconds since 1970 UTC.
    pub sent_at_ms: i64,
    /// The changes.
    pub groups: Vec<Group>,
    /// For each seq in turn, the group its next row comes from.
    pub order: Vec<u32>,
    /// For each seq in turn, the station's clock when it was captured, milliseconds since 1970 UTC.
    pub at_ms: Vec<i64>,
}

/// The place of one change in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeRef {
    /// Its seq.
    pub seq: u64,
    /// The time of its capture, by the station's clock.
    pub at_ms: i64,
    /// Index of its group.
    pub group: usize,
    /// Its row there.
    pub row: usize,
}

impl Batch {
    /// The part of the log that it is.
    #[must_use]
    pub fn span(&self) -> Span {
        Span {
            first_seq: self.first_seq,
            count: self.order.len() as u32,
            chain_before: self.chain_before,
            chain_after: self.chain_after,
        }
    }

    /// Every change, in log order.
    pub fn changes(&self) -> impl Iterator<Item = ChangeRef> + '_ {
        let mut next_row = vec![0_usize; self.groups.len()];
        (self.first_seq..).zip(self.order.iter().zip(&self.at_ms)).map(move |(seq, (&group, &at_ms))| {
            let group = group as usize;
            let row = next_row[group];
            next_row[group] += 1;
            ChangeRef { seq, at_ms, group, row }
        })
    }

    /// The largest local id among the inserted and updated rows of each table that is keyed by integers, by the table's
    /// name.
    #[must_use]
    pub fn largest_ids(&self, schema: &Schema) -> Vec<(String, i64)> {
        let rows = self.groups.iter().filter(|group| matches!(group.op, Op::Insert | Op::Update));
        let largest = rows.filter_map(|group| {
            let table = schema.tables().get(group.table as usize)?;
            let ids = (0..group.rows).filter_map(|row| match group.columns.get(table.key)?.get(row) {
                ValueRef::Integer(id) => Some(id & LOCAL_ID_MAX),
                _ => None,
            });
            Some((table.name.clone(), ids.max()?))
        });
        largest.collect()
    }

    /// The chain after every change from the first to `seq`, recomputed from the changes.
    #[must_use]
    pub fn chain_at(&self, schema: &Schema, seq: u64) -> Chain {
        self.chains(schema)
            .take(seq.saturating_add(1).saturating_sub(self.first_seq) as usize)
            .last()
            .unwrap_or(self.chain_before)
    }

    /// The chain after each change.
    #[must_use]
    pub fn chain_after_each(&self, schema: &Schema) -> Vec<Chain> {
        self.chains(schema).collect()
    }

    /// The print of the chain after each change, and the chain after the last.
    #[must_use]
    pub fn prints(&self, schema: &Schema) -> (Vec<Print>, Chain) {
        let mut last = self.chain_before;
        let chains = self.chains(schema).inspect(|chain| last = *chain);
        (chains.map(|chain| chain.print()).collect(), last)
    }

    /// The chain after each change in turn, recomputed from the changes.
    fn chains<'a>(&'a self, schema: &'a Schema) -> impl Iterator<Item = Chain> + 'a {
        let mut canonical = Vec::new();
        self.changes().scan(self.chain_before, move |chain, change| {
            let group = &self.groups[change.group];
            canonical_change(
                &mut canonical,
                change.seq,
                change.at_ms,
                group.op as u8,
                table_name(schema, group.table),
                group.row(change.row),
            );
            *chain = chain.then(&canonical);
            Some(*chain)
        })
    }
}

/// The table's name in canonical bytes; empty for [`NO_TABLE`].
fn table_name(schema: &Schema, table: u32) -> &str {
    schema.tables().get(table as usize).map_or("", |table| table.name.as_str())
}
