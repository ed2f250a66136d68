//! Stations against upstream, cell by cell.
//!
//! Both sides are read with plain SQL and compared as what they mean: integers as integers, reals by their bits, times
//! and texts as text. The move of keys and references into a station's id block is undone here with arithmetic of this
//! file's own, and nothing of the product's conversion, digest or chain is used: a mistake there cannot hide itself.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tidemark_core::schema::{Column, Schema, Table};
use tidemark_core::value::ColumnType;

use crate::postgres::PgClient;

/// Ids of one station lie in a block of this size.
pub(crate) const BLOCK: i64 = 4_294_967_296;
/// Differences a message shows.
const SHOWN_MAX: usize = 20;

/// One value of one row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// No value.
    Null,
    /// Integers and booleans.
    Integer(i64),
    /// A real's bits.
    Real(u64),
    /// Text, JSON, times (`YYYY-MM-DD HH:MM:SS.ffffff`) and uuids.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Cell {
    /// A real.
    #[must_use]
    pub const fn real(value: f64) -> Self {
        Self::Real(value.to_bits())
    }

    /// A text.
    #[must_use]
    pub fn text(value: impl Into<String>) -> Self {
        Self::Text(value.into())
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(v) => v.fmt(f),
            Self::Real(bits) => f64::from_bits(*bits).fmt(f),
            Self::Text(v) if v.len() > 200 => write!(f, "text of {} bytes", v.len()),
            Self::Text(v) => v.fmt(f),
            Self::Bytes(v) => write!(f, "{} bytes", v.len()),
        }
    }
}

/// The cells of one row, in the schema's column order.
pub type Cells = Vec<Cell>;

/// The upstream database.
#[allow(clippy::large_enum_variant)] // there is one in a test
pub enum Upstream {
    /// PostgreSQL.
    Postgres(PgClient),
    /// The embedded store's file.
    Sqlite(PathBuf),
}

impl Upstream {
    /// Opens what a `--database` URL names.
    ///
    /// # Errors
    /// When it is not one of the schemes, or the database cannot be reached.
    pub fn open(url: &str) -> Result<Self> {
        if url.starts_with("postgres") {
            return Ok(Self::Postgres(PgClient::connect_url(url)?));
        }
        let path = url.strip_prefix("sqlite:///").context("not a database URL")?;
        Ok(Self::Sqlite(path.into()))
    }

    /// The rows of one station in one table, sorted, with keys and references as the station has them.
    ///
    /// # Errors
    /// When the database refuses, or an id does not belong to the station.
    pub fn rows(&self, schema: &Schema, table: &Table, station: u32) -> Result<Vec<Cells>> {
        let mut rows = match self {
            Self::Postgres(client) => {
                let columns = join(table.columns.iter().map(postgres_expression));
                let sql = format!("SELECT {columns} FROM \"{}\".\"{}\" WHERE station = $1", schema.name(), table.name);
                let rows = client.query(&sql, &[&(i32::try_from(station)?)])?;
                rows.iter().map(|row| postgres_cells(table, row)).collect::<Result<Vec<_>>>()?
            }
            Self::Sqlite(path) => {
                let columns = join(table.columns.iter().map(|column| format!("\"{}\"", column.name)));
                let sql = format!("SELECT {columns} FROM \"{}\" WHERE station = {station}", table.name);
                sqlite_rows(&open_sqlite(path)?, &sql, table, |_, value| raw_cell(value))?
            }
        };
        for row in &mut rows {
            undo_shift(table, station, row).with_context(|| format!("{}, station {station}, upstream", table.name))?;
        }
        rows.sort();
        Ok(rows)
    }

    /// The rows of all stations in one table, as they are upstream, each with its station.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn all_rows(&self, schema: &Schema, table: &Table) -> Result<Vec<(u32, Cells)>> {
        match self {
            Self::Postgres(client) => {
                let columns = join(table.columns.iter().map(postgres_expression));
                let sql = format!("SELECT {columns}, station FROM \"{}\".\"{}\"", schema.name(), table.name);
                let rows = client.query(&sql, &[])?;
                let station = |row: &tokio_postgres::Row| -> Result<u32> {
                    Ok(row.try_get::<_, i32>(table.columns.len())?.try_into()?)
                };
                rows.iter().map(|row| Ok((station(row)?, postgres_cells(table, row)?))).collect()
            }
            Self::Sqlite(path) => {
                let file = open_sqlite(path)?;
                let select = |station: u32| {
                    let columns = join(table.columns.iter().map(|column| format!("\"{}\"", column.name)));
                    let sql = format!("SELECT {columns} FROM \"{}\" WHERE station = {station}", table.name);
                    let rows = sqlite_rows(&file, &sql, table, |_, value| raw_cell(value))?;
                    anyhow::Ok(rows.into_iter().map(move |row| (station, row)))
                };
                let sql = format!("SELECT DISTINCT station FROM \"{}\"", table.name);
                let mut stations = file.prepare(&sql)?;
                let stations = stations.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<u32>>>()?;
                Ok(stations.into_iter().map(select).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            }
        }
    }

    /// How many rows a table holds, of all stations.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count(&self, schema: &Schema, table: &Table) -> Result<u64> {
        let count: i64 = match self {
            Self::Postgres(client) => {
                client.value(&format!("SELECT count(*) FROM \"{}\".\"{}\"", schema.name(), table.name))?
            }
            Self::Sqlite(path) => {
                let sql = format!("SELECT count(*) FROM \"{}\"", table.name);
                open_sqlite(path)?.query_row(&sql, [], |row| row.get(0))?
            }
        };
        Ok(u64::try_from(count)?)
    }
}

/// The rows of one table of a station's file, sorted.
///
/// # Errors
/// When the file cannot be read, or holds a value that cannot travel.
pub fn station_rows(file: &Path, table: &Table) -> Result<Vec<Cells>> {
    let db = open_sqlite(file)?;
    let mut there = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let there: Vec<String> = there.query_map([&table.name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if there.is_empty() {
        return Ok(Vec::new());
    }
    // What an attached file lacks is NULL upstream; a quoted name that is no column would be a text.
    let name =
        |column: &Column| if there.contains(&column.name) { format!("\"{}\"", column.name) } else { "NULL".to_owned() };
    let columns = join(table.columns.iter().map(name));
    let sql = format!("SELECT {columns} FROM \"{}\"", table.name);
    let mut rows = sqlite_rows(&db, &sql, table, station_cell)?;
    rows.sort();
    Ok(rows)
}

/// What a comparison saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Rows compared.
    pub rows: u64,
    /// Cells compared.
    pub cells: u64,
}

/// Checks that upstream holds exactly the rows of these stations (their numbers and files), each once and with equal
/// cells.
///
/// # Errors
/// The first differences, with table, station and row.
pub fn assert_upstream_equals(upstream: &Upstream, schema: &Schema, stations: &[(u32, &Path)]) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut differences = Vec::new();
    for table in schema.tables() {
        let mut expected = 0;
        for &(number, file) in stations {
            let there = upstream.rows(schema, table, number)?;
            let here = station_rows(file, table)?;
            expected += here.len() as u64;
            seen.cells += (here.len() * table.columns.len()) as u64;
            differ(table, number, &here, "upstream", &there, &mut differences);
        }
        let count = upstream.count(schema, table)?;
        if count != expected {
            differences.push(format!("{}: {count} rows upstream, {expected} on all stations together", table.name));
        }
        seen.rows += expected;
    }
    if differences.is_empty() {
        return Ok(seen);
    }
    let more = differences.len().saturating_sub(SHOWN_MAX);
    differences.truncate(SHOWN_MAX);
    bail!("upstream differs from what the stations wrote ({more} more):\n{}", differences.join("\n"))
}

/// Checks that a station's log is drained and returns the seq it ended at.
///
/// # Errors
/// When changes are waiting, or the file cannot be read.
pub fn assert_log_drained(file: &Path) -> Result<u64> {
    let station = open_sqlite(file)?;
    let waiting: i64 = station.query_row("SELECT count(*) FROM tidemark_log", [], |row| row.get(0))?;
    if waiting != 0 {
        bail!("{}: {waiting} changes are still in the log", file.display());
    }
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'tidemark_log'";
    Ok(station.query_row(sql, [], |row| row.get::<_, i64>(0))?.try_into()?)
}

/// Walks two sorted lists of a station's rows and notes what only one has; `place` says in the notes where `there` is.
pub fn differ(table: &Table, number: u32, here: &[Cells], place: &str, there: &[Cells], differences: &mut Vec<String>) {
    let name = &table.name;
    let (mut h, mut t) = (0, 0);
    while h < here.len() || t < there.len() {
        match (here.get(h), there.get(t)) {
            (Some(a), Some(b)) if a == b => (h, t) = (h + 1, t + 1),
            (Some(a), Some(b)) if a[table.key] == b[table.key] => {
                for (column, (a, b)) in table.columns.iter().zip(a.iter().zip(b)).filter(|(_, (a, b))| a != b) {
                    let row = &here[h][table.key];
                    let column = &column.name;
                    differences
                        .push(format!("{name}.{column}, station {number}, row {row:?}: {a:?} here, {b:?} there"));
                }
                (h, t) = (h + 1, t + 1);
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => {
                differences.push(format!("{name}, station {number}, row {:?}: missing {place}", a[table.key]));
                h += 1;
            }
            (_, Some(b)) => {
                differences.push(format!("{name}, station {number}, row {:?}: {place} only", b[table.key]));
                t += 1;
            }
            _ => break,
        }
    }
}

/// Turns the ids of a block back to local ones.
fn undo_shift(table: &Table, station: u32, row: &mut Cells) -> Result<()> {
    let block = i64::from(station) * BLOCK;
    for (index, (column, cell)) in table.columns.iter().zip(row).enumerate() {
        let shifted = column.ty == ColumnType::Integer && (index == table.key || column.references.is_some());
        if let Cell::Integer(id) = cell
            && shifted
        {
            let local = *id - block;
            if !(1..BLOCK).contains(&local) {
                bail!("{} = {id} is outside the station's block", column.name);
            }
            *id = local;
        }
    }
    Ok(())
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn postgres_expression(column: &Column) -> String {
    let name = format!("\"{}\"", column.name);
    match column.ty {
        ColumnType::Timestamp => format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
        ColumnType::Json | ColumnType::Uuid => format!("{name}::text"),
        _ => name,
    }
}

fn postgres_cells(table: &Table, row: &tokio_postgres::Row) -> Result<Cells> {
    let cells = table.columns.iter().enumerate().map(|(at, column)| {
        let cell = match column.ty {
            ColumnType::Integer => row.try_get::<_, Option<i64>>(at)?.map(Cell::Integer),
            ColumnType::Real => row.try_get::<_, Option<f64>>(at)?.map(Cell::real),
            ColumnType::Boolean => row.try_get::<_, Option<bool>>(at)?.map(|v| Cell::Integer(v.into())),
            ColumnType::Bytes => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Cell::Bytes),
            ColumnType::Text | ColumnType::Timestamp | ColumnType::Json | ColumnType::Uuid => {
                row.try_get::<_, Option<String>>(at)?.map(Cell::Text)
            }
        };
        Ok(cell.unwrap_or(Cell::Null))
    });
    cells.collect()
}

/// Opens a SQLite file that nobody means to change.
pub(crate) fn open_sqlite(path: &Path) -> Result<Connection> {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| path.display().to_string())?;
    file.busy_timeout(std::time::Duration::from_secs(20))?;
    Ok(file)
}

fn sqlite_rows(
    file: &Connection,
    sql: &str,
    table: &Table,
    cell: impl Fn(&Column, ValueRef<'_>) -> Result<Cell>,
) -> Result<Vec<Cells>> {
    let mut statement = file.prepare(sql).with_context(|| sql.to_owned())?;
    let mut rows = statement.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let cells = table.columns.iter().enumerate().map(|(at, column)| {
            cell(column, row.get_ref(at)?).with_context(|| format!("{}.{}", table.name, column.name))
        });
        out.push(cells.collect::<Result<Cells>>()?);
    }
    Ok(out)
}

/// A value as SQLite holds it.
pub(crate) fn raw_cell(value: ValueRef<'_>) -> Result<Cell> {
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(v) => Cell::Integer(v),
        ValueRef::Real(v) => Cell::real(v),
        ValueRef::Text(v) => Cell::Text(std::str::from_utf8(v)?.to_owned()),
        ValueRef::Blob(v) => Cell::Bytes(v.to_vec()),
    })
}

fn station_cell(column: &Column, value: ValueRef<'_>) -> Result<Cell> {
    as_upstream(column, raw_cell(value)?)
}

/// A station's value as it should be upstream; a value that its column's type cannot hold stays as it is.
pub(crate) fn as_upstream(column: &Column, cell: Cell) -> Result<Cell> {
    match (column.ty, cell) {
        (ColumnType::Real, Cell::Integer(v)) => Ok(Cell::real(v as f64)),
        (ColumnType::Timestamp, Cell::Text(text)) => Ok(Cell::Text(microseconds(&text)?)),
        // SQLite keeps a JSON text that is a number as a number.
        (ColumnType::Json, Cell::Integer(v)) => Ok(Cell::Text(v.to_string())),
        (ColumnType::Json, Cell::Real(bits)) => Ok(Cell::Text(format!("{:?}", f64::from_bits(bits)))),
        (_, cell) => Ok(cell),
    }
}

/// A time in UTC with six digits of fraction, from the forms that these tests write.
fn microseconds(text: &str) -> Result<String> {
    let utc = text.trim_end_matches('Z').replace('T', " ");
    let utc = if utc.len() == 10 { format!("{utc} 00:00:00") } else { utc };
    let (seconds, fraction) = utc.split_once('.').unwrap_or((&utc, ""));
    if seconds.len() != 19 || fraction.len() > 6 {
        bail!("{text:?} is a time in another form than these tests write");
    }
    Ok(format!("{seconds}.{fraction:0<6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Result<Schema> {
        Ok(Schema::parse(
            "name = 'w'\nversion = 1\n[tables.p.columns]\nid = { type = 'integer' }\nparent = { type = 'integer', references = 'p' }\n\
             x = { type = 'real' }\nat = { type = 'timestamp' }",
        )?)
    }

    #[test]
    fn every_kind_of_difference_is_found() -> Result<()> {
        let (schema, folder) = (schema()?, tempfile::tempdir()?);
        let (here, there) = (folder.path().join("here.db"), folder.path().join("there.db"));
        let station = Connection::open(&here)?;
        station.execute_batch(
            "CREATE TABLE p (id, parent, x REAL, at); INSERT INTO p VALUES (1, NULL, 0.5, '2026-01-02 03:04:05'), (2, 1, 1, NULL);",
        )?;
        let upstream = Connection::open(&there)?;
        let rows = "CREATE TABLE p (id, parent, x REAL, at, station);
            INSERT INTO p VALUES (12884901889, NULL, 0.5, '2026-01-02 03:04:05.000000', 3), (12884901890, 12884901889, 1.0, NULL, 3);";
        upstream.execute_batch(rows)?;
        let compare = || {
            assert_upstream_equals(&Upstream::Sqlite(there.clone()), &schema, &[(3, &here)]).map_err(|e| e.to_string())
        };
        assert_eq!(compare(), Ok(Seen { rows: 2, cells: 8 }));
        for (change, says) in [
            ("UPDATE p SET x = 0.5000000001 WHERE x = 0.5", "p.x, station 3, row 1: 0.5 here, 0.5000000001 there"),
            ("UPDATE p SET parent = NULL", "p.parent, station 3, row 2: 1 here, NULL there"),
            ("UPDATE p SET at = NULL", "p.at, station 3, row 1"),
            ("DELETE FROM p WHERE x = 0.5", "row 1: missing upstream"),
            ("INSERT INTO p VALUES (12884901891, NULL, NULL, NULL, 3)", "row 3: upstream only"),
            ("INSERT INTO p SELECT * FROM p", "4 rows upstream, 2 on all stations together"),
            ("INSERT INTO p VALUES (7, NULL, NULL, NULL, 9)", "3 rows upstream, 2 on all"),
            ("UPDATE p SET id = 12 WHERE x = 0.5", "p, station 3, upstream"),
        ] {
            upstream.execute_batch(&format!("DROP TABLE p; {rows} {change}"))?;
            let Err(message) = compare() else { bail!("{change} went unseen") };
            assert!(message.contains(says), "{change}: {message}");
        }
        Ok(())
    }
}
