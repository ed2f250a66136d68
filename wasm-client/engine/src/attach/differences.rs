//! Compares the tables of a file with those of a schema.

use std::fmt;

use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::schema::{Column, Schema, Table};
use tidemark_core::sqlite::declared_type;

use super::tables;
use crate::capture::unique_indexes;
use crate::error::{Error, Result};
use crate::format;
use crate::lacking::columns_of;
use crate::meta;

/// A difference between a file and a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The column, where it is one's.
    pub column: Option<String>,
    /// The difference and its consequence, in words.
    pub what: String,
    /// Set when the file cannot be attached because of it.
    pub stops: bool,
    /// Set when the file has not what the schema has.
    is_lacking: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "{}.{column}: {}", self.table, self.what),
            None => write!(f, "{}: {}", self.table, self.what),
        }
    }
}

impl Difference {
    fn of(table: &str, column: Option<&str>, what: impl Into<String>) -> Self {
        let column = column.map(str::to_owned);
        Self { table: table.to_owned(), column, what: what.into(), stops: false, is_lacking: false }
    }

    fn stop(table: &str, column: Option<&str>, what: impl Into<String>) -> Self {
        Self { stops: true, ..Self::of(table, column, what) }
    }

    /// The table, or the table and column, that the file has not.
    pub(super) fn lacking(&self) -> Option<(&str, Option<&str>)> {
        self.is_lacking.then_some((&self.table, self.column.as_deref()))
    }
}

/// A column as the file has it.
struct Found {
    name: String,
    declared: String,
    not_null: bool,
    is_key: bool,
}

/// Finds all differences, in the schema's order, then what only the file has.
///
/// # Errors
/// When the file is a station's already, or has no table of the schema; SQLite's.
pub(super) fn find(db: &Connection, file: &str, schema: &Schema) -> Result<Vec<Difference>> {
    let sql = |error| Error::sqlite(file, "read the tables' columns", error);
    if format::check(db, file)?.is_some() {
        let there = meta::read_schema(db, file)?;
        let (schema, version) = (there.name().to_owned(), there.version());
        return Err(Error::AlreadyTidemark { file: file.to_owned(), schema, version });
    }
    tables::find(db, file, schema)?.some(file, schema)?;
    let mut all = Vec::new();
    for table in schema.tables() {
        of_table(db, file, table, &mut all)?;
    }
    let others = "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                  ORDER BY type, name";
    let mut others = db.prepare(others).map_err(sql)?;
    let mut others = others.query([]).map_err(sql)?;
    while let Some(row) = others.next().map_err(sql)? {
        let (name, kind): (String, String) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
        if name.to_ascii_lowercase().starts_with("tidemark_") {
            let what = format!("a {kind} of this name is there, and such names are Tidemark's; rename it");
            all.push(Difference::stop(&name, None, what));
        } else if kind == "trigger" {
            all.push(Difference::of(&name, None, "a trigger of the file's own; what it writes is captured too"));
        } else if kind == "table" && !schema.tables().iter().any(|table| table.name.eq_ignore_ascii_case(&name)) {
            all.push(Difference::of(&name, None, "a table that the schema does not have; it stays in this file only"));
        }
    }
    Ok(all)
}

fn of_table(db: &Connection, file: &str, table: &Table, all: &mut Vec<Difference>) -> Result<()> {
    let sql = |error| Error::sqlite(file, "read the tables' columns", error);
    let name = &table.name;
    let kind = "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let kind: Option<(String, bool)> =
        db.query_row(kind, [name], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(sql)?;
    let Some((kind, without_rowid)) = kind else {
        let what = "the file has no such table; nothing of it goes upstream until a program makes it";
        all.push(Difference { is_lacking: true, ..Difference::of(name, None, what) });
        return Ok(());
    };
    if kind != "table" {
        all.push(Difference::stop(name, None, format!("is a {kind}, not a table; capture cannot follow it")));
        return Ok(());
    }
    if without_rowid {
        all.push(Difference::stop(name, None, "is WITHOUT ROWID; make it an ordinary table"));
    }
    let there = columns(db, name).map_err(sql)?;
    for (at, column) in table.columns.iter().enumerate() {
        match there.iter().find(|found| found.name.eq_ignore_ascii_case(&column.name)) {
            Some(found) => of_column(table, column, found, all),
            None if table.is_not_null(at) => {
                let what = "the file has no such column, and the schema requires it; add it, or make another schema for this file";
                all.push(Difference::stop(name, Some(&column.name), what));
            }
            None => {
                let what = "the file has no such column; it is NULL upstream until a program adds it";
                all.push(Difference { is_lacking: true, ..Difference::of(name, Some(&column.name), what) });
            }
        }
    }
    for found in
        there.iter().filter(|found| !table.columns.iter().any(|column| column.name.eq_ignore_ascii_case(&found.name)))
    {
        let what = "a column that the schema does not have; it stays in this file only";
        all.push(Difference::of(name, Some(&found.name), what));
    }
    match unique_indexes(db, file, table) {
        Ok(_) => {}
        Err(Error::Tables { detail, .. }) => all.push(Difference::stop(name, None, detail)),
        Err(error) => return Err(error),
    }
    let key = &table.key_column().name;
    let keys: Vec<&str> = there.iter().filter(|found| found.is_key).map(|found| found.name.as_str()).collect();
    let is_key = matches!(keys.as_slice(), [only] if only.eq_ignore_ascii_case(key));
    if !is_key && !has_unique_index(db, name, key).map_err(sql)? && columns_of(db, name).map_err(sql)?.is_some() {
        let what = "is not the table's primary key, and has no unique index: rows could not be told apart. Make a unique index on it";
        all.push(Difference::stop(name, Some(key), what));
    }
    Ok(())
}

fn of_column(table: &Table, column: &Column, found: &Found, all: &mut Vec<Difference>) {
    let (wanted, has) = (affinity(declared_type(column.ty)), affinity(&found.declared));
    if wanted != has {
        let what = format!(
            "declared {}, which SQLite treats as {has}; the schema's type {} expects {wanted}. Values that do not convert are rejected one by one",
            if found.declared.is_empty() { "without a type" } else { &found.declared },
            column.ty.as_str()
        );
        all.push(Difference::of(&table.name, Some(&column.name), what));
    }
    if column.required && !found.not_null && !found.is_key {
        let what = "the schema requires a value, the file allows NULL; rows with NULL are rejected";
        all.push(Difference::of(&table.name, Some(&column.name), what));
    }
}

fn columns(db: &Connection, table: &str) -> rusqlite::Result<Vec<Found>> {
    let mut query = db.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1)")?;
    let rows = query.query_map([table], |row| {
        let is_key = row.get::<_, i64>(3)? > 0;
        Ok(Found { name: row.get(0)?, declared: row.get(1)?, not_null: row.get(2)?, is_key })
    })?;
    rows.collect()
}

fn has_unique_index(db: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS l WHERE l.\"unique\" AND NOT l.partial
        AND (SELECT group_concat(lower(i.name)) FROM pragma_index_info(l.name) AS i) = lower(?2))";
    db.query_row(sql, (table, column), |row| row.get(0))
}

/// SQLite's affinity of a declared type, by its rules (sqlite.org/datatype3.html, 3.1).
fn affinity(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    if has(&["INT"]) {
        "INTEGER"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "TEXT"
    } else if declared.is_empty() || has(&["BLOB"]) {
        "BLOB"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "REAL"
    } else {
        "NUMERIC"
    }
}
