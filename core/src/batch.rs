//! A batch: a contiguous range of changes, grouped by table and operation, each group by columns.

use crate::chain::{Chain, Print, canonical_change};
use crate::columns::ColumnBlock;
use crate::convert::convert_row;
use crate::decision::Span;
use crate::idmap::IdMap;
use crate::ids::{LOCAL_ID_MAX, StationNumber};
use crate::planted::{Bug, planted};
use crate::reject::{RejectCode, Rejection};
use crate::schema::{Fingerprint, Schema, Table};
use crate::value::{ColumnType, SqliteValue, ValueRef, emptied};

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

/// One row of the log, as SQLite holds it.
#[derive(Debug, Clone, Copy)]
pub struct LogRow<'a> {
    /// Its seq.
    pub seq: u64,
    /// The time of its capture, milliseconds since 1970 UTC by the station's clock.
    pub at_ms: i64,
    /// The table's name.
    pub table: &'a [u8],
    /// `I`, `U` or `D`.
    pub op: &'a [u8],
    /// c0 … cN.
    pub values: &'a [SqliteValue<'a>],
}

/// Cuts a batch out of a log: converts each row, keeps the chain, notes what had to be rejected.
///
/// ```
/// use tidemark_core::batch::{BatchBuilder, LogRow};
/// use tidemark_core::chain::Chain;
/// use tidemark_core::ids::StationNumber;
/// use tidemark_core::schema::Schema;
/// use tidemark_core::value::SqliteValue::{Integer, Text};
/// let toml = "name = 'w'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\nheight = { type = 'real' }";
/// let schema = Schema::parse(toml)?;
/// let mut builder = BatchBuilder::new(&schema, StationNumber::new(3)?, 1, Chain::start([7; 16]));
/// for (seq, height) in [(1, Integer(4)), (2, Text(b"tall"))] {
///     let values = [Integer(seq), height];
///     builder.push(&LogRow { seq: seq as u64, at_ms: 0, table: b"site", op: b"I", values: &values });
/// }
/// // Text where a number belongs does not travel; its number does.
/// assert_eq!(builder.rejected()[0].0, 2);
/// let batch = builder.finish(0);
/// assert_eq!((batch.span().first_seq, batch.span().last_seq()), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder<'s> {
    schema: &'s Schema,
    ids: IdMap,
    batch: Batch,
    group_of: Vec<[Option<u32>; 4]>,
    canonical: Vec<u8>,
    body_bytes: usize,
    cells: usize,
    rejected: Vec<(u64, Rejection)>,
    /// Empty: the memory of a row's values, for the next row's.
    values: Vec<ValueRef<'static>>,
    /// The table of the row before: the next is most often of the same.
    last_table: usize,
}

impl<'s> BatchBuilder<'s> {
    /// Begins a batch after `first_seq - 1`, where the chain is `chain_before`. `ids` is the map of the station's file,
    /// or its number where the file has had no other.
    #[must_use]
    pub fn new(schema: &'s Schema, ids: impl Into<IdMap>, first_seq: u64, chain_before: Chain) -> Self {
        let ids = ids.into();
        Self {
            schema,
            batch: Batch {
                fingerprint: schema.fingerprint(),
                station: ids.station(),
                first_seq,
                chain_before,
                chain_after: chain_before,
                sent_at_ms: 0,
                groups: Vec::new(),
                order: Vec::new(),
                at_ms: Vec::new(),
            },
            group_of: vec![[None; 4]; schema.tables().len() + 1],
            canonical: Vec::new(),
            body_bytes: 0,
            cells: 0,
            rejected: Vec::new(),
            values: Vec::new(),
            last_table: 0,
            ids,
        }
    }

    /// Appends the log's next row. A row that cannot travel becomes a void change, and is listed in
    /// [`BatchBuilder::rejected`].
    ///
    /// # Panics
    /// BUG: when `row.seq` is not the next one; the reader of the log checks for gaps.
    pub fn push(&mut self, row: &LogRow<'_>) {
        assert_eq!(row.seq, self.next_seq(), "BUG: the batch must be contiguous");
        let table_index = self.table_index(row.table);
        let op = Op::from_log(row.op);
        let (Some(index), Some(op)) = (table_index, op) else {
            // Shown as values are: shortened, since a program may have written anything into the log.
            let message = format!(
                "the log names as table the {} and as operation the {}, which the schema {} does not have",
                SqliteValue::Text(row.table),
                SqliteValue::Text(row.op),
                self.schema.name()
            );
            return self.push_rejected(row, NO_TABLE, Rejection::new(RejectCode::UnknownTable, message));
        };
        let table = &self.schema.tables()[index];
        let mut values = emptied(std::mem::take(&mut self.values));
        values.reserve(table.columns.len());
        let converted = if op == Op::Delete {
            convert_row(self.schema, index, &self.ids, row.values, table.identity(), &mut values)
        } else {
            convert_row(self.schema, index, &self.ids, row.values, 0..table.columns.len(), &mut values)
        };
        match converted {
            // A delete of what could never travel has nothing to do here either.
            _ if table.append && (op == Op::Update || op == Op::Delete && converted.is_ok()) => {
                let rejection = match row.values.get(table.key) {
                    Some(SqliteValue::Integer(id)) => Rejection::append_only(&table.name, op.as_str(), id),
                    key => Rejection::append_only(&table.name, op.as_str(), key.unwrap_or(&SqliteValue::Null)),
                };
                self.push_rejected(row, index as u32, rejection);
            }
            Ok(()) => self.append(row.seq, row.at_ms, index as u32, op, &values),
            // What never could travel upstream is not there, so its delete has nothing to do.
            Err(_) if op == Op::Delete => {
                self.append(
                    row.seq,
                    row.at_ms,
                    index as u32,
                    Op::Void,
                    &[ValueRef::Text(VOID_CODE), ValueRef::Text("")],
                );
            }
            Err(rejection) => self.push_rejected(row, index as u32, rejection),
        }
        self.values = emptied(values);
    }

    /// The number of the table that the log names so, in the schema.
    pub fn table_index(&mut self, name: &[u8]) -> Option<usize> {
        let tables = self.schema.tables();
        let is_it = |table: &Table| table.name.as_bytes() == name;
        if !tables.get(self.last_table).is_some_and(is_it) {
            self.last_table = tables.iter().position(is_it)?;
        }
        Some(self.last_table)
    }

    fn push_rejected(&mut self, row: &LogRow<'_>, table: u32, rejection: Rejection) {
        let values = [ValueRef::Text(rejection.code.as_str()), ValueRef::Text(&rejection.message)];
        self.append(row.seq, row.at_ms, table, Op::Void, &values);
        if !planted(Bug::VoidForgotten) {
            self.rejected.push((row.seq, rejection));
        }
    }

    fn append(&mut self, seq: u64, at_ms: i64, table: u32, op: Op, values: &[ValueRef<'_>]) {
        canonical_change(
            &mut self.canonical,
            seq,
            at_ms,
            op as u8,
            table_name(self.schema, table),
            values.iter().copied(),
        );
        self.batch.chain_after = self.batch.chain_after.then(&self.canonical);
        self.body_bytes += self.canonical.len();
        self.cells += values.len();
        let slot = &mut self.group_of[(table as usize).min(self.schema.tables().len())][op as usize - 1];
        let group = *slot.get_or_insert_with(|| {
            self.batch.groups.push(Group::new(self.schema, table, op));
            self.batch.groups.len() as u32 - 1
        });
        self.batch.groups[group as usize].push(values);
        self.batch.order.push(group);
        self.batch.at_ms.push(at_ms);
    }

    /// The seq that [`BatchBuilder::push`] expects.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.batch.first_seq + self.batch.order.len() as u64
    }

    /// The chain after what was pushed.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.batch.chain_after
    }

    /// The number of changes pushed.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.order.len()
    }

    /// The bytes that the canonical form of what was pushed has: no less than the body will have before compression.
    #[must_use]
    pub const fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// The number of cells pushed.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.cells
    }

    /// The changes that had to be rejected on the station, by seq.
    #[must_use]
    pub fn rejected(&self) -> &[(u64, Rejection)] {
        &self.rejected
    }

    /// The batch, stamped with the station's clock.
    #[must_use]
    pub fn finish(mut self, sent_at_ms: i64) -> Batch {
        self.batch.sent_at_ms = sent_at_ms;
        self.batch
    }
}
