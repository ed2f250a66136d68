//! What both sides have written down about a station beside its rows: cursor, chain, log, rejects. Read with plain SQL.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::Connection;
use tidemark_core::schema::{Schema, Table};

use crate::compare::{Cell, Cells, Upstream, as_upstream, open_sqlite, raw_cell};

/// How far a station's log is durable upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The last change.
    pub seq: u64,
    /// The chain there.
    pub chain: Vec<u8>,
}

/// A rejected change, as either side keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<I> {
    /// The table.
    pub table: String,
    /// Why, in one word.
    pub code: String,
    /// Who refused it.
    pub origin: String,
    /// The row.
    pub image: I,
}

/// The books of a station's file.
#[derive(Debug)]
pub struct StationBooks {
    /// Where it believes upstream to be.
    pub cursor: Cursor,
    /// The number of the last change that was ever logged.
    pub last_seq: u64,
    /// How many changes are in the log.
    pub waiting: u64,
    /// Its rejects by number, their rows in the schema's columns.
    pub rejects: BTreeMap<u64, Kept<Cells>>,
    /// What `PRAGMA integrity_check` says; `ok` alone when nothing is wrong.
    pub integrity: String,
}

impl StationBooks {
    /// Reads them.
    ///
    /// # Errors
    /// SQLite's; or when a reject is of no table of the schema.
    pub fn read(file: &Path, schema: &Schema) -> Result<Self> {
        let db = open_sqlite(file)?;
        let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).with_context(|| sql.to_owned());
        let seq = number("SELECT tidemark FROM tidemark_station")?;
        let chain = db.query_row("SELECT chain FROM tidemark_station", [], |row| row.get(0))?;
        let last_seq = number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'tidemark_log'")?;
        let mut check = db.prepare("PRAGMA integrity_check(5)")?;
        let integrity = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(Self {
            cursor: Cursor { seq: seq.try_into()?, chain },
            last_seq: last_seq.try_into()?,
            waiting: number("SELECT count(*) FROM tidemark_log")?.try_into()?,
            rejects: station_rejects(&db, schema)?,
            integrity: integrity.join("; "),
        })
    }
}

fn station_rejects(db: &Connection, schema: &Schema) -> Result<BTreeMap<u64, Kept<Cells>>> {
    let mut query = db.prepare("SELECT * FROM tidemark_rejects")?;
    let mut rows = query.query([])?;
    let mut rejects = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let table: String = row.get("tbl")?;
        let columns = &schema.table(&table).with_context(|| format!("a reject of the table {table:?}"))?.columns;
        let image = columns
            .iter()
            .enumerate()
            .map(|(n, column)| as_upstream(column, raw_cell(row.get_ref(format!("c{n}").as_str())?)?));
        let image = image.collect::<Result<_>>()?;
        let kept = Kept { table, code: row.get("code")?, origin: row.get("origin")?, image };
        rejects.insert(row.get::<_, i64>("seq")?.try_into()?, kept);
    }
    Ok(rejects)
}

/// Where upstream is with a station; `None` when it has no cursor of it.
///
/// # Errors
/// The database's.
pub fn upstream_cursor(upstream: &Upstream, station: u32) -> Result<Option<Cursor>> {
    let cursor: Option<(i64, Vec<u8>)> = match upstream {
        Upstream::Postgres(client) => {
            let rows = client
                .query("SELECT seq, chain FROM tidemark.cursor WHERE station = $1", &[&i32::try_from(station)?])?;
            rows.first().map(|row| anyhow::Ok((row.try_get(0)?, row.try_get(1)?))).transpose()?
        }
        Upstream::Sqlite(path) => {
            let db = open_sqlite(path)?;
            let mut query = db.prepare("SELECT seq, chain FROM tidemark_cursor WHERE station = ?1")?;
            query.query_map([station], |row| Ok((row.get(0)?, row.get(1)?)))?.next().transpose()?
        }
    };
    cursor.map(|(seq, chain)| Ok(Cursor { seq: seq.try_into()?, chain })).transpose()
}

/// The rejects upstream keeps of a station, by number. The row is JSON text; none where the station refused the change
/// and has it.
///
/// # Errors
/// The database's.
pub fn upstream_rejects(upstream: &Upstream, station: u32) -> Result<BTreeMap<u64, Kept<Option<String>>>> {
    const COLUMNS: &str = "seq, tbl, code, origin, CAST(image AS text)";
    type Row = (i64, Kept<Option<String>>);
    let rows: Vec<Row> = match upstream {
        Upstream::Postgres(client) => {
            let sql = format!("SELECT {COLUMNS} FROM tidemark.rejects WHERE station = $1");
            let rows = client.query(&sql, &[&i32::try_from(station)?])?;
            let kept = |row: &tokio_postgres::Row| -> Result<Row> {
                let image = row.try_get(4)?;
                let (table, code, origin) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
                Ok((row.try_get(0)?, Kept { table, code, origin, image }))
            };
            rows.iter().map(kept).collect::<Result<_>>()?
        }
        Upstream::Sqlite(path) => {
            let db = open_sqlite(path)?;
            let mut query = db.prepare(&format!("SELECT {COLUMNS} FROM tidemark_rejects WHERE station = ?1"))?;
            let rows = query.query_map([station], |row| {
                let kept = Kept { table: row.get(1)?, code: row.get(2)?, origin: row.get(3)?, image: row.get(4)? };
                Ok((row.get(0)?, kept))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        }
    };
    rows.into_iter().map(|(seq, kept)| Ok((seq.try_into()?, kept))).collect()
}

/// How many rows of a table reference, by one of its columns, a row that is not upstream.
///
/// # Errors
/// The database's.
pub fn orphans(upstream: &Upstream, schema: &Schema, table: &Table, column: usize, parent: &Table) -> Result<u64> {
    let name = |table: &Table| match upstream {
        Upstream::Postgres(_) => format!("\"{}\".\"{}\"", schema.name(), table.name),
        Upstream::Sqlite(_) => format!("\"{}\"", table.name),
    };
    let sql = format!(
        "SELECT count(*) FROM {} c WHERE c.\"{column}\" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {} p WHERE p.\"{key}\" = c.\"{column}\")",
        name(table),
        name(parent),
        column = table.columns[column].name,
        key = parent.key_column().name,
    );
    let count: i64 = match upstream {
        Upstream::Postgres(client) => client.value(&sql)?,
        Upstream::Sqlite(path) => open_sqlite(path)?.query_row(&sql, [], |row| row.get(0))?,
    };
    Ok(count.try_into()?)
}

/// The value that upstream wrote into a reject's JSON, in the form of [`Cell`]; `None` when JSON has no such value.
#[must_use]
pub fn json_cell(value: &serde_json::Value) -> Option<Cell> {
    use serde_json::Value;
    Some(match value {
        Value::Null => Cell::Null,
        Value::Bool(v) => Cell::Integer((*v).into()),
        Value::Number(v) => v.as_i64().map(Cell::Integer).or_else(|| v.as_f64().map(Cell::real))?,
        Value::String(v) => Cell::text(v),
        Value::Array(_) | Value::Object(_) => return None,
    })
}
