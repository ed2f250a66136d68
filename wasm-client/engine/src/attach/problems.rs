//! Finds the rows of a file that cannot go upstream as they are, before anything is pushed.

use std::collections::{HashMap, HashSet};
use std::fmt;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement};
use tidemark_core::capture::column_list;
use tidemark_core::convert::convert_row;
use tidemark_core::idmap::IdMap;
use tidemark_core::ids::StationNumber;
use tidemark_core::reject::RejectCode;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::{SqliteValue, ValueRef};

use crate::error::{Error, Result};
use crate::lacking::{absent_of, columns_of};
use crate::log::{JsonNumbers, show_value, sqlite_value};

/// The most that a row's time may lie ahead, in milliseconds: servers allow as much unless they are told otherwise.
const AHEAD_MS: i64 = 7 * 24 * 3_600_000;

/// A row that cannot go upstream as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its table.
    pub table: String,
    /// Its key.
    pub key: String,
    /// The code with which it would be rejected.
    pub code: RejectCode,
    /// Why, with the column.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {} ({})", self.table, self.key, self.reason, self.code.as_str())
    }
}

/// A reference of a table's: the column, the parent, and how to look for a row of it; `None` when the file has no such
/// table.
struct Reference<'a> {
    column: usize,
    parent: usize,
    look: Option<Statement<'a>>,
}

/// Visits every row that cannot go, parents first; returns how many there are.
pub(super) fn find<E: From<Error>>(
    db: &Connection,
    file: &str,
    schema: &Schema,
    now_ms: i64,
    visit: &mut dyn FnMut(&Problem) -> std::result::Result<(), E>,
) -> std::result::Result<u64, E> {
    // Which number does not matter: none makes a key travel that another would not.
    let ids = IdMap::new(StationNumber::new(1).map_err(|error| Error::Schema(error.to_string()))?);
    let mut stay: HashMap<usize, HashSet<i64>> = HashMap::new();
    let mut count = 0;
    for &index in schema.parents_first() {
        let table = &schema.tables()[index];
        let Some(absent) = absent(db, file, table)? else { continue };
        let sql = |error| Error::sqlite(file, "read the rows", error);
        let mut references = references(db, file, schema, table)?;
        let select = format!(
            "SELECT {} FROM {} ORDER BY {}",
            column_list(table, "", &absent),
            quote(&table.name),
            quote(&table.key_column().name)
        );
        let mut query = db.prepare(&select).map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let (mut values, mut raw) = (Vec::new(), Vec::new());
            for at in 0..table.columns.len() {
                raw.push(sqlite_value(row.get_ref(at).map_err(sql)?));
            }
            let numbers = JsonNumbers::of(table, &raw);
            numbers.put(&mut raw);
            let found = match convert_row(schema, index, &ids, &raw, 0..raw.len(), &mut values) {
                Err(rejection) => Some((rejection.code, rejection.message)),
                Ok(()) => match clock(table, &values, now_ms) {
                    Some(found) => Some(found),
                    None => orphan(schema, table, &raw, &mut references, &stay).map_err(sql)?,
                },
            };
            let Some((code, reason)) = found else { continue };
            if let SqliteValue::Integer(key) = raw[table.key] {
                stay.entry(index).or_default().insert(key);
            }
            count += 1;
            visit(&Problem { table: table.name.clone(), key: show(raw[table.key]), code, reason })?;
        }
    }
    Ok(count)
}

fn show(value: SqliteValue<'_>) -> String {
    show_value(&match value {
        SqliteValue::Null => Value::Null,
        SqliteValue::Integer(v) => Value::Integer(v),
        SqliteValue::Real(v) => Value::Real(v),
        SqliteValue::Text(v) => Value::Text(String::from_utf8_lossy(v).into_owned()),
        SqliteValue::Blob(v) => Value::Blob(v.to_vec()),
    })
}

/// The places of a table's columns that the file has not; `None` when it has not the table.
fn absent(db: &Connection, file: &str, table: &Table) -> Result<Option<Vec<usize>>> {
    let there = columns_of(db, &table.name).map_err(|error| Error::sqlite(file, "read the tables' columns", error))?;
    Ok(there.map(|there| absent_of(table, &there)))
}

fn references<'a>(db: &'a Connection, file: &str, schema: &Schema, table: &Table) -> Result<Vec<Reference<'a>>> {
    let sql = |error| Error::sqlite(file, "read the rows", error);
    let mut all = Vec::new();
    for (column, parent) in table.columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.references?))) {
        let to = &schema.tables()[parent];
        let look = format!("SELECT 1 FROM {} WHERE {} = ?1", quote(&to.name), quote(&to.key_column().name));
        let is_there = columns_of(db, &to.name).map_err(sql)?.is_some();
        let look = if is_there { Some(db.prepare(&look).map_err(sql)?) } else { None };
        all.push(Reference { column, parent, look });
    }
    Ok(all)
}

fn clock(table: &Table, values: &[ValueRef<'_>], now_ms: i64) -> Option<(RejectCode, String)> {
    let at = table.time?;
    let Some(ValueRef::Timestamp(us)) = values.get(at) else { return None };
    if (0..=(now_ms + AHEAD_MS).saturating_mul(1000)).contains(us) {
        return None;
    }
    let (column, time) = (&table.columns[at].name, tidemark_core::timestamp::format(*us));
    Some((
        RejectCode::Clock,
        format!("{}.{column}: {time} is before 1970 or more than 7 days ahead of this clock", table.name),
    ))
}

/// The first reference to a row that is not there, or does not go either.
fn orphan(
    schema: &Schema,
    table: &Table,
    raw: &[SqliteValue<'_>],
    references: &mut [Reference<'_>],
    stay: &HashMap<usize, HashSet<i64>>,
) -> rusqlite::Result<Option<(RejectCode, String)>> {
    for reference in references {
        let (parent, column) = (&schema.tables()[reference.parent].name, &table.columns[reference.column].name);
        let (is_there, goes) = match raw[reference.column] {
            SqliteValue::Integer(key) => (
                reference.look.as_mut().map_or(Ok(false), |look| look.exists([key]))?,
                !stay.get(&reference.parent).is_some_and(|stay| stay.contains(&key)),
            ),
            SqliteValue::Text(text) => {
                let key = std::str::from_utf8(text).unwrap_or_default();
                (reference.look.as_mut().map_or(Ok(false), |look| look.exists([key]))?, true)
            }
            _ => continue,
        };
        let key = show(raw[reference.column]);
        if !is_there {
            return Ok(Some((RejectCode::Reference, format!("{}.{column}: there is no {parent} {key}", table.name))));
        }
        if !goes {
            return Ok(Some((
                RejectCode::Reference,
                format!("{}.{column}: {parent} {key} cannot go either", table.name),
            )));
        }
    }
    Ok(None)
}
