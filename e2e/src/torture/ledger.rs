//! The ledger of a station: what its file and its part of upstream must hold, worked out from the writers' journals
//! alone.
//!
//! Changes are taken in the order of their numbers. Each is judged by rules of this file's own, which know only the
//! schema and the faults that the writers make on purpose; what fits is applied, what does not must be among the
//! rejects, with the code expected here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::ColumnType;

use super::journal::{Change, Op, Prepared};
use crate::compare::{BLOCK, Cell, Cells, as_upstream};

/// Times from here on are farther ahead than any server takes. The writers' honest times are long before.
const FAR_TIMES: &str = "9000";

/// A change that must have been rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The table.
    pub table: String,
    /// What it would have done.
    pub op: Op,
    /// Why, in one word.
    pub code: &'static str,
    /// Who must have refused it: `station` or `server`.
    pub origin: &'static str,
    /// Its row.
    pub row: Cells,
}

/// Rows upstream by key and time: a row whose time was corrected is deleted at the old one and inserted at the new.
type There = BTreeMap<(Cell, Cell), Cells>;

/// What must be where.
#[derive(Debug)]
pub struct Ledger {
    schema: Schema,
    here: Vec<BTreeMap<Cell, Cells>>,
    there: Vec<There>,
    /// The changes that must have been rejected, by number.
    pub rejected: BTreeMap<u64, Rejected>,
    /// The number of the last change.
    pub last_seq: u64,
}

impl Ledger {
    /// Of a station that has written nothing.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let tables = schema.tables().len();
        Self {
            schema: schema.clone(),
            here: vec![BTreeMap::new(); tables],
            there: vec![There::new(); tables],
            rejected: BTreeMap::new(),
            last_seq: 0,
        }
    }

    /// The rows of a table that the station's file must hold, sorted.
    #[must_use]
    pub fn here(&self, table: usize) -> Vec<Cells> {
        sorted(self.here[table].values())
    }

    /// The rows of a table that upstream must hold of this station, sorted, with local ids.
    #[must_use]
    pub fn there(&self, table: usize) -> Vec<Cells> {
        sorted(self.there[table].values())
    }

    /// Takes committed transactions, all that followed the last ones.
    ///
    /// # Errors
    /// When their changes do not fill the log's numbers one by one: capture missed a change, or logged one twice.
    pub fn take(&mut self, mut committed: Vec<Prepared>) -> Result<()> {
        committed.sort_by_key(|transaction| transaction.last_seq);
        for transaction in committed {
            let expected = self.last_seq + transaction.changes.len() as u64;
            if transaction.last_seq != expected {
                bail!(
                    "a transaction of {} changes after change {} should end at {expected} of the log, and ended at {}: capture missed a \
                     change or logged one twice (last change: {:?})",
                    transaction.changes.len(),
                    self.last_seq,
                    transaction.last_seq,
                    transaction.changes.last()
                );
            }
            for change in transaction.changes {
                self.last_seq += 1;
                self.change(&change)?;
            }
        }
        Ok(())
    }

    fn change(&mut self, change: &Change) -> Result<()> {
        let index = self.schema.table_index(&change.table).with_context(|| format!("no table {}", change.table))?;
        let table = &self.schema.tables()[index];
        let cells = table.columns.iter().zip(&change.row).map(|(column, said)| as_upstream(column, said.cell()?));
        let row: Cells = cells.collect::<Result<_>>()?;
        if row.len() != table.columns.len() || row.len() != change.row.len() {
            bail!("{}: a row of {} columns", change.table, change.row.len());
        }
        let key = row[table.key].clone();
        match change.op {
            Op::D => self.here[index].remove(&key),
            Op::I | Op::U => self.here[index].insert(key.clone(), row.clone()),
        };
        if let Some((code, origin)) = self.judge(index, change.op, &row) {
            let rejected = Rejected { table: table.name.clone(), op: change.op, code, origin, row };
            self.rejected.insert(self.last_seq, rejected);
            return Ok(());
        }
        let identity = (key, table.time.map_or(Cell::Null, |time| row[time].clone()));
        match change.op {
            Op::D => self.there[index].remove(&identity),
            Op::I | Op::U => self.there[index].insert(identity, row),
        };
        Ok(())
    }

    /// Why a change must be rejected, and by whom; `None` when it must be applied.
    fn judge(&self, index: usize, op: Op, row: &Cells) -> Option<(&'static str, &'static str)> {
        let table = &self.schema.tables()[index];
        let travels = |column: usize| op != Op::D || column == table.key || Some(column) == table.time;
        let columns = || (0..row.len()).filter(|&column| travels(column));
        if let Some(code) = columns().find_map(|column| fault(table, column, &row[column])) {
            return Some((code, "station"));
        }
        if op == Op::D {
            let held = table.time.is_none() && self.has_ordinary_child(index, &row[table.key]);
            return held.then_some(("referenced", "server"));
        }
        if table.time.is_some_and(|time| matches!(&row[time], Cell::Text(text) if text.as_str() >= FAR_TIMES)) {
            return Some(("clock", "server"));
        }
        let missing = table.columns.iter().zip(row).any(|(column, cell)| {
            column.references.is_some_and(|parent| *cell != Cell::Null && !self.is_upstream(parent, cell))
        });
        missing.then_some(("reference", "server"))
    }

    /// Whether a row of an ordinary table references this one upstream. Those of hypertables do not hold their parents.
    fn has_ordinary_child(&self, parent: usize, key: &Cell) -> bool {
        self.schema.tables().iter().zip(&self.there).filter(|(child, _)| child.time.is_none()).any(|(child, rows)| {
            let columns = child.columns.iter().enumerate().filter(|(_, column)| column.references == Some(parent));
            columns.into_iter().any(|(column, _)| rows.values().any(|row| row[column] == *key))
        })
    }

    fn is_upstream(&self, table: usize, key: &Cell) -> bool {
        // NULL is the least of all cells.
        self.there[table].range((key.clone(), Cell::Null)..).next().is_some_and(|((found, _), _)| found == key)
    }
}

fn sorted<'a>(rows: impl Iterator<Item = &'a Cells>) -> Vec<Cells> {
    let mut rows: Vec<Cells> = rows.cloned().collect();
    rows.sort();
    rows
}

/// What keeps a value from travelling.
fn fault(table: &Table, index: usize, cell: &Cell) -> Option<&'static str> {
    let column = &table.columns[index];
    let is_id = index == table.key || column.references.is_some();
    match (column.ty, cell) {
        (_, Cell::Null) => table.is_not_null(index).then_some("required"),
        (ColumnType::Integer, Cell::Integer(id)) => (is_id && !(1..BLOCK).contains(id)).then_some("id-range"),
        (ColumnType::Boolean, Cell::Integer(0 | 1)) | (ColumnType::Real, Cell::Real(_)) => None,
        (ColumnType::Timestamp, Cell::Text(_)) => None,
        (ColumnType::Text, Cell::Text(text)) => text.contains('\0').then_some("nul"),
        (ColumnType::Json, Cell::Text(text)) => {
            serde_json::from_str::<serde_json::Value>(text).is_err().then_some("json")
        }
        _ => Some("type"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::journal::Said;

    const SCHEMA: &str = "name = 'w'\nversion = 1\n[tables.p.columns]\nid = { type = 'integer' }\nn = { type = 'integer' }\n\
        [tables.c.columns]\nid = { type = 'integer' }\np = { type = 'integer', references = 'p' }";

    fn transaction(last_seq: u64, changes: &[(&str, Op, i64, Said)]) -> Prepared {
        let change = |(table, op, id, other): &(&str, Op, i64, Said)| Change {
            table: (*table).to_owned(),
            op: *op,
            row: vec![Said::Integer(*id), other.clone()],
        };
        Prepared { tx: last_seq, last_seq, changes: changes.iter().map(change).collect() }
    }

    #[test]
    fn changes_are_judged_one_by_one_in_the_order_of_the_log() -> Result<()> {
        let schema = Schema::parse(SCHEMA)?;
        let mut ledger = Ledger::new(&schema);
        let bad = Said::Text("много".into());
        let later = transaction(7, &[("p", Op::U, 2, Said::Integer(5)), ("c", Op::U, 2, Said::Integer(2))]);
        let first = transaction(
            5,
            &[
                ("p", Op::I, 1, Said::Null(())),
                ("p", Op::I, 2, bad),
                ("c", Op::I, 1, Said::Integer(1)),
                ("c", Op::I, 2, Said::Integer(2)),
                ("p", Op::D, 1, Said::Null(())),
            ],
        );
        ledger.take(vec![later, first])?;
        let rejected: Vec<_> = ledger.rejected.iter().map(|(seq, it)| (*seq, it.code, it.origin)).collect();
        assert_eq!(rejected, [(2, "type", "station"), (4, "reference", "server"), (5, "referenced", "server")]);
        assert_eq!(ledger.here(0), [[Cell::Integer(2), Cell::Integer(5)]]);
        assert_eq!(ledger.there(0), [[Cell::Integer(1), Cell::Null], [Cell::Integer(2), Cell::Integer(5)]]);
        assert_eq!(ledger.here(1), ledger.there(1), "the child was healed with its parent");
        Ok(())
    }

    #[test]
    fn a_number_that_is_missing_or_doubled_is_seen() -> Result<()> {
        let schema = Schema::parse(SCHEMA)?;
        for last_seq in [1, 3] {
            let changes = [("p", Op::I, 1, Said::Null(())), ("p", Op::I, 2, Said::Null(()))];
            let taken = Ledger::new(&schema).take(vec![transaction(last_seq, &changes)]);
            assert!(taken.is_err_and(|error| error.to_string().contains("should end at 2")));
        }
        Ok(())
    }
}
