//! Keys that ran away. SQLite's AUTOINCREMENT goes on from the largest key there ever was, so one row with a key beyond
//! what travels takes every later row of its table along. Here these rows get keys that travel, and the numbering goes
//! on from there.

use rusqlite::{Connection, Transaction};
use tidemark_core::ids::LOCAL_ID_MAX;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::ColumnType;

use crate::error::{Error, RejectProblem, Result};
use crate::lacking::Lacking;
use crate::log::last_seq;
use crate::repair::{appended_since, requeue_row};
use crate::store::Store;

/// A table whose keys were renumbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renumbered {
    /// The table.
    pub table: String,
    /// The number of its rows that have another key now.
    pub rows: u64,
    /// The number of rows, of any table, that referenced them and do so still.
    pub references: u64,
    /// The largest key now: the next row's is larger.
    pub last: i64,
}

impl Store {
    /// Gives every row whose key is beyond [`LOCAL_ID_MAX`] the next key that is free, along with what references it,
    /// by UPDATEs that capture logs like any other; afterwards the tables number on from there. What was rejected of
    /// these rows is requeued by that. All or nothing.
    ///
    /// # Errors
    /// When a table has no keys left; SQLite's.
    pub fn renumber(&mut self, now_ms: i64) -> Result<Vec<Renumbered>> {
        let (file, schema) = (self.file().to_owned(), self.schema().clone());
        self.transaction(|tx| {
            let sql = |error| Error::sqlite(&file, "renumber the rows", error);
            // A row and what references it cannot change at once.
            tx.execute_batch("PRAGMA defer_foreign_keys = ON").map_err(sql)?;
            let lacking = Lacking::read(tx, &file)?;
            let before = last_seq(tx).map_err(sql)?;
            let mut done = Vec::new();
            for (index, table) in schema.tables().iter().enumerate() {
                let is_numbered = table.key_column().ty == ColumnType::Integer && lacking.has(table);
                if is_numbered && ran_away(tx, table).map_err(sql)? {
                    done.push(renumber_table(tx, (&file, &lacking), &schema, index, now_ms)?);
                }
            }
            // Rows that reference those were rejected with them.
            appended_since(tx, &schema, before).map_err(sql)?;
            Ok(done)
        })
    }
}

fn ran_away(db: &Connection, table: &Table) -> rusqlite::Result<bool> {
    let (name, key) = (quote(&table.name), quote(&table.key_column().name));
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {name} WHERE {key} > ?1) OR EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?2 AND seq > ?1)"
    );
    db.query_row(&sql, (LOCAL_ID_MAX, &table.name), |row| row.get(0))
}

/// The largest key of a table that travels: of the rows there are, of those in the log, and of those known to have been
/// upstream.
fn largest(db: &Connection, table: &Table) -> rusqlite::Result<i64> {
    let (name, key) = (quote(&table.name), quote(&table.key_column().name));
    let sql = format!(
        "SELECT max(coalesce((SELECT max({key}) FROM {name} WHERE {key} BETWEEN 1 AND ?1), 0), \
         coalesce((SELECT max(c{c}) FROM tidemark_log WHERE tbl = ?2 AND typeof(c{c}) = 'integer' AND c{c} BETWEEN 1 AND ?1), 0), \
         coalesce((SELECT id FROM tidemark_bound WHERE tbl = ?2 AND id BETWEEN 1 AND ?1), 0))",
        c = table.key
    );
    db.query_row(&sql, (LOCAL_ID_MAX, &table.name), |row| row.get(0))
}

fn renumber_table(
    tx: &Transaction<'_>,
    (file, lacking): (&str, &Lacking),
    schema: &Schema,
    index: usize,
    now_ms: i64,
) -> Result<Renumbered> {
    let sql = |error| Error::sqlite(file, "renumber the rows", error);
    let table = &schema.tables()[index];
    let (name, key) = (quote(&table.name), quote(&table.key_column().name));
    let mut done =
        Renumbered { table: table.name.clone(), rows: 0, references: 0, last: largest(tx, table).map_err(sql)? };
    let referencing: Vec<(usize, String, String)> = schema
        .tables()
        .iter()
        .enumerate()
        .flat_map(|(at, table)| {
            let absent = lacking.columns(table);
            let there = table.columns.iter().enumerate().filter(move |(column, _)| !absent.contains(column));
            there.map(move |(_, column)| (at, table, column))
        })
        .filter(|(_, _, column)| column.references == Some(index))
        .map(|(at, table, column)| (at, quote(&table.name), quote(&column.name)))
        .collect();
    let next = format!("SELECT min({key}) FROM {name} WHERE {key} > ?1");
    while let Some(old) = tx.query_row(&next, [LOCAL_ID_MAX], |row| row.get::<_, Option<i64>>(0)).map_err(sql)? {
        if done.last >= LOCAL_ID_MAX {
            return Err(RejectProblem::NoKeys { table: table.name.clone(), below: LOCAL_ID_MAX }.into());
        }
        done.last += 1;
        tx.execute(&format!("UPDATE {name} SET {key} = ?2 WHERE {key} = ?1"), (old, done.last)).map_err(sql)?;
        requeue_row(tx, schema, index, old, now_ms).map_err(sql)?;
        done.rows += 1;
        for (child, child_name, column) in &referencing {
            let child_key = quote(&schema.tables()[*child].key_column().name);
            let keys = format!("SELECT {child_key} FROM {child_name} WHERE {column} = ?1");
            let mut keys = tx.prepare(&keys).map_err(sql)?;
            let keys = keys.query_map([old], |row| row.get::<_, rusqlite::types::Value>(0)).map_err(sql)?;
            let keys = keys.collect::<rusqlite::Result<Vec<_>>>().map_err(sql)?;
            let update = format!("UPDATE {child_name} SET {column} = ?2 WHERE {column} = ?1");
            done.references += tx.execute(&update, (old, done.last)).map_err(sql)? as u64;
            for key in keys {
                requeue_row(tx, schema, *child, key, now_ms).map_err(sql)?;
            }
        }
    }
    let number_on = "UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1";
    tx.execute(number_on, (&table.name, done.last)).map_err(sql)?;
    Ok(done)
}
