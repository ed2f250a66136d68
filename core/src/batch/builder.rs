//! Cuts a batch out of a log.

use super::{Batch, Group, NO_TABLE, Op, VOID_CODE, table_name};
use crate::chain::{Chain, canonical_change};
use crate::convert::convert_row;
use crate::idmap::IdMap;
use crate::planted::{Bug, planted};
use crate::reject::{RejectCode, Rejection};
use crate::schema::{Schema, Table};
use crate::value::{SqliteValue, ValueRef, emptied};

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
