//! A mix of inserts, updates and deletes over the 18 tables of the shrinkage schema.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use tidemark_core::schema::{Column, Schema, Table};
use tidemark_core::value::ColumnType;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::process::{ServerProcess, python_script};

use crate::watched::push;

/// How many changes a program commits at once.
const COMMIT: u64 = 1_000;

/// A file of the shrinkage system, with rows in its tables, and how many changes are made to it.
#[derive(Debug)]
pub struct Plant {
    folder: tempfile::TempDir,
    changes: u64,
}

impl Plant {
    /// Makes the file, by a Python that has SQLAlchemy. It has as many rows as there will be changes, so that each
    /// update and delete finds a row of its own.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn make(python: &Path, changes: u64) -> Result<Self> {
        let plant = Self { folder: tempfile::tempdir()?, changes };
        let made = Command::new(python)
            .arg(python_script("shrinkage_system.py"))
            .args([Path::new("make"), &plant.original(), Path::new("--rows"), Path::new(&changes.to_string())])
            .env("PYTHONUTF8", "1")
            .output()?;
        ensure!(made.status.success(), "the generator: {}", String::from_utf8_lossy(&made.stderr));
        Ok(plant)
    }

    fn original(&self) -> PathBuf {
        self.folder.path().join("original.db")
    }

    /// A station with a copy of the file, whose rows are upstream, and in whose log the changes are pending.
    ///
    /// # Errors
    /// When a program fails.
    pub fn station(&self, field: &Field, server: &ServerProcess) -> Result<Station> {
        let station = field.folder_of("plant")?;
        std::fs::copy(self.original(), &station.file)?;
        station.run(&["attach"])?.success()?;
        field.join(&station, &server.url())?;
        push(&station, server)?;
        record(&mut station.open()?, field.schema(), self.changes)?;
        Ok(station)
    }
}

/// What one table is changed with.
struct Changes {
    insert: String,
    update: String,
    /// `None` where other rows may hold on to these.
    delete: Option<String>,
    /// The rows that were there before, in random order.
    ids: Vec<i64>,
    /// The next row to copy, and to update, counted from the front, and to delete, from the back.
    next: [usize; 3],
}

/// Writes a mix into the station's file: of ten changes seven inserts (copies of rows that are there), two updates and
/// a delete, no row twice, over all tables by their sizes.
fn record(db: &mut Connection, schema: &Schema, changes: u64) -> Result<()> {
    let mut tables = Vec::new();
    for (at, table) in schema.tables().iter().enumerate() {
        let mut query =
            db.prepare(&format!("SELECT id FROM \"{}\" ORDER BY id * 2654435761 % 4294967296", table.name))?;
        let ids = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        // The table that the generator leaves empty gets a row.
        if ids.is_empty() {
            db.execute(&format!("INSERT INTO \"{}\" DEFAULT VALUES", table.name), [])?;
            continue;
        }
        let held = schema.tables().iter().any(|child| child.columns.iter().any(|column| column.references == Some(at)));
        tables.push(changes_of(table, held, ids)?);
    }
    let all: usize = tables.iter().map(|table| table.ids.len()).sum();
    // A table's turn comes as often as its share of the rows says.
    let mut turns = vec![0; tables.len()];
    let mut done = 0;
    while done < changes {
        let transaction = db.transaction()?;
        for n in done..(done + COMMIT).min(changes) {
            let op = [0, 0, 1, 0, 0, 2, 0, 0, 1, 0][(n % 10) as usize];
            let may = |table: &Changes| op != 2 || table.delete.is_some() && table.next[2] < table.ids.len() / 2;
            let eligible: usize = tables.iter().filter(|table| may(table)).map(|table| table.ids.len()).sum();
            ensure!(eligible > 0, "there are too few rows to delete");
            for (turn, table) in turns.iter_mut().zip(&tables) {
                *turn += if may(table) { table.ids.len() * (all / eligible).max(1) } else { 0 };
            }
            let fitting = (0..tables.len()).filter(|&at| may(&tables[at]));
            let at = fitting.max_by_key(|&at| turns[at]).context("BUG: one table fits")?;
            turns[at] = turns[at].saturating_sub(all);
            let table = &mut tables[at];
            let place = if op == 2 { table.ids.len() - 1 - table.next[2] } else { table.next[op] % table.ids.len() };
            table.next[op] += 1;
            let sql = match op {
                0 => &table.insert,
                1 => &table.update,
                _ => table.delete.as_ref().context("BUG: it may delete")?,
            };
            transaction.prepare_cached(sql)?.execute([table.ids[place]])?;
        }
        transaction.commit()?;
        done = (done + COMMIT).min(changes);
    }
    Ok(())
}

fn changes_of(table: &Table, held: bool, ids: Vec<i64>) -> Result<Changes> {
    let name = &table.name;
    let others = table.columns.iter().enumerate().filter(|(at, _)| *at != table.key);
    let columns = others.clone().map(|(_, column)| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ");
    let free = |column: &Column| column.references.is_none() && column.min.is_none() && column.max.is_none();
    let mut free = others.filter(|(at, column)| Some(*at) != table.time && free(column)).map(|(_, column)| column);
    let column = free.find(|column| matches!(column.ty, ColumnType::Text | ColumnType::Real));
    let column = column.with_context(|| format!("{name} has no column to edit"))?;
    let value = match column.ty {
        ColumnType::Text => format!("coalesce(\"{0}\", '') || '.'", column.name),
        _ => format!("coalesce(\"{0}\", 0) + 1", column.name),
    };
    Ok(Changes {
        insert: format!("INSERT INTO \"{name}\" ({columns}) SELECT {columns} FROM \"{name}\" WHERE id = ?1"),
        update: format!("UPDATE \"{name}\" SET \"{}\" = {value} WHERE id = ?1", column.name),
        delete: (!held).then(|| format!("DELETE FROM \"{name}\" WHERE id = ?1")),
        ids,
        next: [0; 3],
    })
}
