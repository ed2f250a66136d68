//! The tables and columns of the schema that an attached file does not have, because its program is too old to know
//! them. Capture takes them for empty until the program makes them.

use rusqlite::Connection;
use tidemark_core::schema::{Schema, Table};

use crate::error::Result;
use crate::meta::row_error;

/// `CREATE TABLE` of the list of what a file lacks; a row without a column stands for the whole table. Files made by
/// `init` lack nothing and have no such table.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) const CREATE_LACKING: &str = "CREATE TABLE tidemark_lacking (tbl TEXT NOT NULL, col TEXT)";

/// Tells whether a file was attached, not made by `init`.
pub(crate) fn is_attached(db: &Connection) -> rusqlite::Result<bool> {
    // A browser's files are its own.
    Ok(cfg!(not(target_arch = "wasm32")) && db.table_exists(None, "tidemark_lacking")?)
}

/// Tables and columns of the schema that a file has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lacking(Vec<(String, Option<String>)>);

impl Lacking {
    pub(crate) fn read(db: &Connection, file: &str) -> Result<Self> {
        let sql = |error| row_error(file, error);
        if !is_attached(db).map_err(sql)? {
            return Ok(Self::default());
        }
        let mut lacking = Self::default();
        let mut query = db.prepare("SELECT tbl, col FROM tidemark_lacking").map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            lacking.0.push((row.get(0).map_err(sql)?, row.get(1).map_err(sql)?));
        }
        Ok(lacking)
    }

    pub(crate) fn is_empty(&self) -> bool {
        // A browser's files are its own.
        cfg!(target_arch = "wasm32") || self.0.is_empty()
    }

    /// Tells whether the file has the table.
    pub(crate) fn has(&self, table: &Table) -> bool {
        self.is_empty() || !self.0.iter().any(|(name, column)| *name == table.name && column.is_none())
    }

    /// The places of a table's columns that the file has not; all of them when it has not the table.
    pub(crate) fn columns(&self, table: &Table) -> Vec<usize> {
        if self.is_empty() {
            return Vec::new();
        }
        let is_lacking = |at: &usize| {
            let mut of_table = self.0.iter().filter(|(name, _)| *name == table.name);
            of_table.any(|(_, column)| column.as_ref().is_none_or(|name| *name == table.columns[*at].name))
        };
        (0..table.columns.len()).filter(is_lacking).collect()
    }

    /// The schema's tables that the file has, parents first.
    pub(crate) fn tables<'s>(&'s self, schema: &'s Schema) -> impl Iterator<Item = &'s Table> {
        schema.parents_first().iter().map(|&index| &schema.tables()[index]).filter(|table| self.has(table))
    }
}

/// Notes that the file lacks a table, or a column of one.
pub(crate) fn note(db: &Connection, table: &str, column: Option<&str>) -> rusqlite::Result<()> {
    db.execute("INSERT INTO tidemark_lacking (tbl, col) VALUES (?1, ?2)", (table, column)).map(|_| ())
}

/// The names of a table's columns in the file; `None` when it has no such table.
pub(crate) fn columns_of(db: &Connection, table: &str) -> rusqlite::Result<Option<Vec<String>>> {
    let mut query = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = query.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok((!names.is_empty()).then_some(names))
}

/// The places of a table's columns that are not among these of the file.
pub(crate) fn absent_of(table: &Table, there: &[String]) -> Vec<usize> {
    let is_there = |at: usize| there.iter().any(|name| name.eq_ignore_ascii_case(&table.columns[at].name));
    (0..table.columns.len()).filter(|&at| !is_there(at)).collect()
}
