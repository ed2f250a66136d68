//! Files that have been several stations, against upstream: every row once, under the right number, with equal cells.
//!
//! Which row is whose is said here by copies of the files, taken by the test where the histories parted, and not by
//! what the product keeps about it: a row that is in the copy is the old number's, any other the new one's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::ColumnType;

use crate::compare::{Cell, Cells, Seen, Upstream, station_rows};

/// Ids of one station lie in a block of this size.
const BLOCK: i64 = 4_294_967_296;

/// A number that a file had, and what it held when it went on under another.
#[derive(Debug, Clone)]
pub struct Former {
    /// The number.
    pub number: u32,
    /// A copy of the file as it was at the last change both histories have in common.
    pub copy: PathBuf,
    /// The next number replaced this one.
    pub replaced: bool,
}

/// A file, and the numbers it had, the first one first.
#[derive(Debug, Clone)]
pub struct Life<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its number now.
    pub number: u32,
    /// Those before.
    pub former: Vec<Former>,
}

/// Rows by table and upstream key, the second half being text for keys that are no integers.
type Rows = BTreeMap<(usize, Cell), Cells>;

impl<'a> Life<'a> {
    /// A file that has only been one station.
    #[must_use]
    pub const fn of(file: &'a Path, number: u32) -> Self {
        Self { file, number, former: Vec::new() }
    }

    /// Puts what this file's life did, as it should be upstream, over what is expected so far. Rows of a number that
    /// goes on elsewhere are that file's business. Rows of a replaced number stay as that left them, unless this life
    /// wrote or deleted them.
    fn lay_over(&self, schema: &Schema, expected: &mut Rows) -> Result<u64> {
        let mut held = Vec::new();
        for former in &self.former {
            let tables = schema.tables().iter().map(|table| {
                let rows = station_rows(&former.copy, table)?;
                Ok(rows.into_iter().map(|row| (row[table.key].clone(), row)).collect::<BTreeMap<Cell, Cells>>())
            });
            held.push(tables.collect::<Result<Vec<_>>>()?);
        }
        // The index of the former number whose row it is, counted from the last one that held it back to the first.
        let owner = |table: usize, key: &Cell| {
            let mut owner = None;
            for index in (0..held.len()).rev() {
                if !held[index][table].contains_key(key) {
                    break;
                }
                owner = Some(index);
            }
            owner
        };
        let number = |table: usize, key: &Cell| owner(table, key).map_or(self.number, |at| self.former[at].number);
        let owns =
            |table: usize, key: &Cell| owner(table, key).is_none_or(|at| self.former[at..].iter().all(|f| f.replaced));
        let mut cells = 0;
        for (index, table) in schema.tables().iter().enumerate() {
            let here = station_rows(self.file, table)?;
            let keys: BTreeSet<&Cell> = here.iter().map(|row| &row[table.key]).collect();
            let last = held.last().map(|tables| &tables[index]);
            for key in last.into_iter().flat_map(BTreeMap::keys) {
                if !keys.contains(key) && owns(index, key) {
                    expected.remove(&(index, upstream(key, number(index, key))));
                }
            }
            for row in &here {
                let key = &row[table.key];
                let untouched = last.and_then(|last| last.get(key)) == Some(row);
                if owns(index, key) && !untouched {
                    let row = row_upstream(schema, table, row, |table, key| number(table, key))?;
                    cells += row.len() as u64;
                    expected.insert((index, row[table.key].clone()), row);
                }
            }
        }
        Ok(cells)
    }
}

fn upstream(key: &Cell, number: u32) -> Cell {
    match key {
        Cell::Integer(local) => Cell::Integer(i64::from(number) * BLOCK + local),
        other => other.clone(),
    }
}

/// A row with its key and references as they should be upstream.
fn row_upstream(schema: &Schema, table: &Table, row: &Cells, number: impl Fn(usize, &Cell) -> u32) -> Result<Cells> {
    let own = schema.table_index(&table.name).context("the table is of the schema")?;
    let cells = row.iter().zip(&table.columns).enumerate().map(|(index, (cell, column))| {
        let target = if index == table.key { Some(own) } else { column.references };
        match target.filter(|_| column.ty == ColumnType::Integer) {
            Some(target) => upstream(cell, number(target, cell)),
            None => cell.clone(),
        }
    });
    Ok(cells.collect())
}

/// Checks that upstream holds exactly the rows of these files, each once. Where one file replaced another, the dead one
/// comes first, as it was when it last pushed.
///
/// # Errors
/// The first differences.
pub fn assert_upstream_equals(upstream: &Upstream, schema: &Schema, lives: &[Life<'_>]) -> Result<Seen> {
    let mut expected = Rows::new();
    let mut seen = Seen::default();
    for life in lives {
        seen.cells += life.lay_over(schema, &mut expected).with_context(|| life.file.display().to_string())?;
    }
    seen.rows = expected.len() as u64;
    let mut differences = Vec::new();
    for (index, table) in schema.tables().iter().enumerate() {
        for (station, row) in upstream.all_rows(schema, table)? {
            let key = row[table.key].clone();
            let name = format!("{} {key:?} of station {station}", table.name);
            match expected.remove(&(index, key)) {
                Some(wanted) if wanted == row => {}
                Some(wanted) => differences.push(format!("{name}: {row:?} upstream, {wanted:?} expected")),
                None => differences.push(format!("{name}: upstream only, or twice: {row:?}")),
            }
        }
    }
    differences.extend(
        expected
            .iter()
            .map(|((table, key), row)| format!("{} {key:?}: missing upstream: {row:?}", schema.tables()[*table].name)),
    );
    let count = differences.len();
    differences.truncate(20);
    ensure!(seen.rows > 0, "a comparison of nothing proves nothing");
    if count > 0 {
        bail!("{count} differences:\n{}", differences.join("\n"));
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn rows_of_both_lives_are_told_apart_and_every_difference_is_found() -> Result<()> {
        let schema = Schema::parse(
            "name = 'w'\nversion = 1\n[tables.p.columns]\nid = { type = 'integer' }\nparent = { type = 'integer', references = 'p' }",
        )?;
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let make = |name: &str, rows: &str| -> Result<()> {
            let file = Connection::open(path(name))?;
            file.execute_batch(&format!("DROP TABLE IF EXISTS p; CREATE TABLE p (id, parent, station); {rows}"))?;
            Ok(())
        };
        let block = |number: i64, id: i64| number * BLOCK + id;
        // Station 3 wrote 1 and 2; the old life then 3; the file that went on as 7 wrote another 3, under 1.
        make("copy", "INSERT INTO p VALUES (1, NULL, 0), (2, 1, 0)")?;
        make("dead", "INSERT INTO p VALUES (1, NULL, 0), (2, 1, 0), (3, 2, 0)")?;
        make("here", "INSERT INTO p VALUES (1, NULL, 0), (3, 1, 0)")?;
        let there = |rows: &[(i64, Option<i64>)]| {
            let row = |(id, parent): &(i64, Option<i64>)| {
                format!("INSERT INTO p VALUES ({id}, {}, 3);", parent.map_or("NULL".to_owned(), |id| id.to_string()))
            };
            make("there", &rows.iter().map(row).collect::<String>())
        };
        let (dead, here) = (path("dead"), path("here"));
        let check = |replaced| {
            let former = vec![Former { number: 3, copy: path("copy"), replaced }];
            let lives = [Life::of(&dead, 3), Life { file: &here, number: 7, former }];
            assert_upstream_equals(&Upstream::Sqlite(path("there")), &schema, &lives).map_err(|error| error.to_string())
        };
        let [one, two, three, new] = [block(3, 1), block(3, 2), block(3, 3), block(7, 3)];
        there(&[(one, None), (three, Some(two)), (new, Some(one))])?;
        assert_eq!(check(true), Ok(Seen { rows: 3, cells: 8 }));
        assert!(check(false).is_err_and(|message| message.contains("missing upstream")));
        there(&[(one, None), (two, Some(one)), (three, Some(two)), (new, Some(one))])?;
        assert!(check(false).is_ok());
        assert!(check(true).is_err_and(|message| message.contains("upstream only")));
        there(&[(one, None), (two, Some(one)), (three, Some(two)), (new, Some(one)), (block(7, 1), None)])?;
        assert!(check(false).is_err_and(|message| message.contains("upstream only")));
        there(&[(one, None), (two, Some(one)), (three, Some(two)), (new, Some(new))])?;
        assert!(check(false).is_err_and(|message| message.contains("expected")));
        Ok(())
    }
}
