//! The log: the images it holds, read; and its last seq.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, types::Type};
use tidemark_core::capture::LOG_TABLE;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::{ColumnType, SqliteValue, hex};

/// A captured change, as the log has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRow {
    /// Its number in the log.
    pub seq: u64,
    /// The time of its capture by the writer's clock, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The table.
    pub table: String,
    /// `I`, `U` or `D`.
    pub op: String,
    /// The row: column name and value. For a table the schema does not have, the names are c0, c1, ….
    pub values: Vec<(String, Value)>,
}

/// A value as SQLite hands it out.
pub(crate) const fn sqlite_value(value: ValueRef<'_>) -> SqliteValue<'_> {
    match value {
        ValueRef::Null => SqliteValue::Null,
        ValueRef::Integer(v) => SqliteValue::Integer(v),
        ValueRef::Real(v) => SqliteValue::Real(v),
        ValueRef::Text(v) => SqliteValue::Text(v),
        ValueRef::Blob(v) => SqliteValue::Blob(v),
    }
}

/// JSON texts that are numbers, which SQLite keeps as numbers: a column declared JSON has numeric affinity. Here they
/// are texts again.
pub(crate) struct JsonNumbers(Vec<(usize, String)>);

impl JsonNumbers {
    pub(crate) fn of(table: &Table, raw: &[SqliteValue<'_>]) -> Self {
        if !table.columns.iter().any(|column| column.ty == ColumnType::Json) {
            return Self(Vec::new());
        }
        let columns = table.columns.iter().zip(raw).enumerate();
        let numbers = columns.filter(|(_, (column, _))| column.ty == ColumnType::Json).filter_map(
            |(at, (_, value))| match value {
                SqliteValue::Integer(v) => Some((at, v.to_string())),
                SqliteValue::Real(v) => Some((at, format!("{v:?}"))),
                _ => None,
            },
        );
        Self(numbers.collect())
    }

    /// Puts the texts in their places.
    pub(crate) fn put<'v>(&'v self, raw: &mut [SqliteValue<'v>]) {
        for (at, text) in &self.0 {
            raw[*at] = SqliteValue::Text(text.as_bytes());
        }
    }
}

/// Text of a cell, whatever SQLite holds there.
fn lossy(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(v) => String::from_utf8_lossy(v).into_owned(),
        other => sqlite_value(other).to_string(),
    }
}

/// The milliseconds of an `at` cell; a program that edits the log may have put anything there.
pub(crate) fn at_ms(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Integer(ms) => ms,
        _ => 0,
    }
}

/// Reads seq, at, tbl, op and c0 … of a row of the log or the rejects; `schema_of` gives the schema that a change was
/// captured under. Text that is not UTF-8 becomes a blob.
pub(crate) fn read_image<'s>(schema_of: impl Fn(u64) -> &'s Schema, row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    let seq = row.get::<_, i64>("seq")?.unsigned_abs();
    let schema = schema_of(seq);
    let table_name = lossy(row.get_ref("tbl")?);
    let table = schema.table(&table_name);
    let count = table.map_or(schema.columns_max(), |table| table.columns.len());
    let mut values = Vec::with_capacity(count);
    for n in 0..count {
        let name = table.map_or_else(|| format!("c{n}"), |table| table.columns[n].name.clone());
        let value = match row.get_ref(format!("c{n}").as_str())? {
            ValueRef::Text(v) => match std::str::from_utf8(v) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => Value::Blob(v.to_vec()),
            },
            other => other
                .try_into()
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(n, Type::Null, Box::new(error)))?,
        };
        values.push((name, value));
    }
    Ok(ImageRow { seq, at_ms: at_ms(row.get_ref("at")?), table: table_name, op: lossy(row.get_ref("op")?), values })
}

/// A value as a person reads it: text quoted and shortened, bytes as hex.
#[must_use]
pub fn show_value(value: &Value) -> String {
    const SHOWN: usize = 60;
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(v) => v.to_string(),
        Value::Real(v) => format!("{v:?}"),
        Value::Text(v) => {
            let head: String = v.chars().take(SHOWN).collect();
            let more = if head.len() < v.len() { format!("… ({} bytes)", v.len()) } else { String::new() };
            format!("{head:?}{more}")
        }
        Value::Blob(v) => {
            let more = if v.len() > SHOWN / 2 { format!("… ({} bytes)", v.len()) } else { String::new() };
            format!("x'{}'{more}", hex(&v[..v.len().min(SHOWN / 2)]))
        }
    }
}

/// The last `limit` changes of the log, in seq order.
pub(crate) fn read_last<'s>(
    db: &Connection,
    schema_of: impl Fn(u64) -> &'s Schema,
    limit: u64,
) -> rusqlite::Result<Vec<ImageRow>> {
    let mut query = db.prepare("SELECT * FROM (SELECT * FROM tidemark_log ORDER BY seq DESC LIMIT ?1) ORDER BY seq")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    query.query_and_then([limit], |row| read_image(&schema_of, row))?.collect()
}

/// The highest seq ever given: SQLite keeps it in `sqlite_sequence`, also when the log is trimmed to nothing.
pub(crate) fn last_seq(db: &Connection) -> rusqlite::Result<u64> {
    let seq: i64 = db.query_row(
        "SELECT max(coalesce((SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = 'tidemark_log'), 0), \
         coalesce((SELECT max(seq) FROM tidemark_log), 0))",
        [],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(seq).unwrap_or(0))
}

/// Lets the log go on after seq `last`.
pub(crate) fn set_last_seq(db: &Connection, last: i64) -> rusqlite::Result<()> {
    if db.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = ?2", (last, LOG_TABLE))? == 0 {
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (LOG_TABLE, last))?;
    }
    Ok(())
}
