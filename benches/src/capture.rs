//! Files for what capture costs: the same table without triggers and with them.

use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::Connection;
use rusqlite::types::Value;
use tidemark_core::schema::{Schema, Table, shrinkage};
use tidemark_core::value::ColumnType;
use tidemark_core::{capture, sqlite};

use crate::narrow_schema;

/// A table that rows are written into.
#[derive(Debug)]
pub struct Bench {
    /// What it is, for people.
    pub name: &'static str,
    schema: Schema,
    table: &'static str,
}

impl Bench {
    /// A narrow time table, the same as an ordinary table, and the widest table of the shrinkage schema.
    ///
    /// # Panics
    /// BUG: when a schema below is not valid.
    #[must_use]
    pub fn all() -> [Self; 3] {
        let narrow = narrow_schema();
        let ordinary = narrow.source().replace("time = \"measured_at\"", "");
        let ordinary = Schema::parse(&ordinary).expect("BUG: the schema is valid without its time column, too");
        [
            Self { name: "time table of 7 columns", schema: narrow, table: "reading" },
            Self { name: "ordinary table of 7 columns", schema: ordinary, table: "reading" },
            Self::shrinkage(),
        ]
    }

    /// `calculation_data` of the shrinkage schema.
    #[must_use]
    pub fn shrinkage() -> Self {
        Self { name: "calculation_data of 26 columns", schema: shrinkage(), table: "calculation_data" }
    }

    fn table(&self) -> &Table {
        self.schema.table(self.table).expect("BUG: the schema has the table")
    }

    /// The statement that inserts a row, all columns but the key its parameters.
    #[must_use]
    pub fn insert(&self) -> String {
        let table = self.table();
        let columns = table.columns.iter().enumerate().filter(|(at, _)| *at != table.key);
        let columns: Vec<String> = columns.map(|(_, column)| sqlite::quote(&column.name)).collect();
        let parameters = vec!["?"; columns.len()].join(", ");
        format!("INSERT INTO {} ({}) VALUES ({parameters})", sqlite::quote(&table.name), columns.join(", "))
    }

    /// The values of a row, the key left out; references are NULL.
    #[must_use]
    pub fn row(&self) -> Vec<Value> {
        let table = self.table();
        let columns = table.columns.iter().enumerate().filter(|(at, _)| *at != table.key);
        columns
            .map(|(_, column)| match column.ty {
                _ if column.references.is_some() => Value::Null,
                ColumnType::Integer => Value::Integer(17),
                ColumnType::Boolean => Value::Integer(1),
                ColumnType::Real => Value::Real(1013.25),
                ColumnType::Timestamp => Value::Text("2026-01-01 00:00:00.000000".to_owned()),
                ColumnType::Json => Value::Text("[1, null]".to_owned()),
                ColumnType::Text | ColumnType::Uuid => Value::Text("checked".to_owned()),
                ColumnType::Bytes => Value::Blob(vec![0; 8]),
            })
            .collect()
    }
}

/// Makes an empty file with the tables of a bench, captured or not.
///
/// # Errors
/// SQLite's.
pub fn make_file(path: &Path, bench: &Bench, captured: bool) -> Result<Connection> {
    let db = Connection::open(path).with_context(|| path.display().to_string())?;
    db.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = normal")?;
    for &index in bench.schema.parents_first() {
        db.execute_batch(&sqlite::create_table(&bench.schema, &bench.schema.tables()[index]))?;
    }
    if captured {
        db.execute_batch(&capture::create_log(&bench.schema))?;
        db.execute_batch(&capture::create_ousted(&bench.schema))?;
        for table in bench.schema.tables() {
            for trigger in capture::create_triggers(table, &[], &[]) {
                db.execute_batch(&trigger)?;
            }
        }
    }
    Ok(db)
}
