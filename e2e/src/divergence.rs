//! Plants divergences in an upstream database behind the server's back, and says which rows must be found for it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use rusqlite::Connection;
use rusqlite::types::Value;
use tidemark_core::schema::{Column, Schema, Table};
use tidemark_core::value::{ColumnType, hex};

use crate::compare::{Cell, Cells, station_rows};
use crate::field::Station;
use crate::postgres::PgClient;
use crate::world::Dice;

/// Ids of one station lie in a block of this size.
const BLOCK: i64 = 1 << 32;
/// Microseconds in a day.
const DAY_US: i64 = 86_400_000_000;

/// A row that must be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId {
    /// Its table.
    pub table: String,
    /// Its upstream key.
    pub key: String,
    /// Its time as the embedded store writes it, in a table with a time column.
    pub time: Option<String>,
}

/// In which way it must be found: the kind and, for one changed cell, its column.
pub type Found = (&'static str, Option<String>);

/// A connection that may write what it likes.
#[allow(clippy::large_enum_variant)] // there is one in a test
pub enum Vandal {
    /// Of a role that may switch foreign keys off.
    Postgres(PgClient),
    /// The embedded store's file.
    Sqlite(Connection),
}

/// What can be done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The row is deleted.
    Delete,
    /// A row that the station never wrote is added.
    Add,
    /// One cell is changed, as little as its type allows, or to or from NULL.
    Change,
    /// Two rows exchange one value.
    SwapValues,
    /// Two rows exchange their keys.
    SwapKeys,
    /// The row is moved to another month.
    Move,
}

impl Deed {
    /// Every deed.
    pub const ALL: [Self; 6] = [Self::Delete, Self::Add, Self::Change, Self::SwapValues, Self::SwapKeys, Self::Move];
}

/// Rows nobody has touched yet, and what was done to the others.
pub struct Plan<'s> {
    schema: &'s Schema,
    station: i64,
    rows: Vec<Vec<Cells>>,
    fresh: i64,
    /// How many cells were changed so far, by table: each is in the next column.
    changes: Vec<usize>,
    /// What must be found.
    pub expected: BTreeMap<RowId, Found>,
    /// How often each deed was done to each type of column (or table, for whole rows).
    pub done: BTreeMap<String, u32>,
}

impl Vandal {
    fn run(&self, sql: &str) -> Result<()> {
        match self {
            Self::Postgres(client) => client.batch(&format!("SET session_replication_role = replica; {sql}")),
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
        }
        .with_context(|| sql.to_owned())
    }

    fn name(&self, schema: &Schema, table: &Table) -> String {
        match self {
            Self::Postgres(_) => format!("\"{}\".\"{}\"", schema.name(), table.name),
            Self::Sqlite(_) => format!("\"{}\"", table.name),
        }
    }

    /// A value as a literal, but for SQLite's reals, which it does not read to the last bit.
    fn literal(&self, column: &Column, cell: &Cell) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match (self, cell) {
            (_, Cell::Null) => "NULL".to_owned(),
            (Self::Postgres(_), Cell::Integer(v)) if column.ty == ColumnType::Boolean => (*v != 0).to_string(),
            (_, Cell::Integer(v)) => format!("({v})"),
            (_, Cell::Real(bits)) => format!("'{:?}'::float8", f64::from_bits(*bits)),
            (Self::Postgres(_), Cell::Bytes(v)) => format!("'\\x{}'::bytea", hex(v)),
            (Self::Sqlite(_), Cell::Bytes(v)) => format!("x'{}'", hex(v)),
            (Self::Postgres(_), Cell::Text(v)) => match column.ty {
                ColumnType::Timestamp => format!("'{v}+00'::timestamptz"),
                ColumnType::Json => format!("{}::json", quoted(v)),
                ColumnType::Uuid => format!("{}::uuid", quoted(v)),
                _ => quoted(v),
            },
            (Self::Sqlite(_), Cell::Text(v)) => quoted(v),
        }
    }

    fn place(&self, table: &Table, id: &RowId) -> String {
        let key = self.literal(table.key_column(), &key_cell(table, &id.key));
        let mut place = format!("\"{}\" = {key}", table.key_column().name);
        if let (Some(time), Some(at)) = (table.time_column(), &id.time) {
            place += &format!(" AND \"{}\" = {}", time.name, self.literal(time, &Cell::text(at)));
        }
        place
    }

    fn set(&self, schema: &Schema, table: &Table, id: &RowId, column: &Column, cell: &Cell) -> Result<()> {
        let (name, place) = (self.name(schema, table), self.place(table, id));
        if let (Self::Sqlite(connection), Cell::Real(bits)) = (self, cell) {
            let sql = format!("UPDATE {name} SET \"{}\" = ?1 WHERE {place}", column.name);
            connection.execute(&sql, [Value::Real(f64::from_bits(*bits))])?;
            return Ok(());
        }
        self.run(&format!("UPDATE {name} SET \"{}\" = {} WHERE {place}", column.name, self.literal(column, cell)))
    }

    fn delete(&self, schema: &Schema, table: &Table, id: &RowId) -> Result<()> {
        self.run(&format!("DELETE FROM {} WHERE {}", self.name(schema, table), self.place(table, id)))
    }

    /// Adds a copy of a row under another identity.
    fn copy(&self, schema: &Schema, table: &Table, from: &RowId, to: &RowId) -> Result<()> {
        let name = self.name(schema, table);
        let mut names: Vec<String> = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        names.push("\"station\"".to_owned());
        let mut values = names.clone();
        values[table.key] = self.literal(table.key_column(), &key_cell(table, &to.key));
        if let (Some(at), Some(time), Some(text)) = (table.time, table.time_column(), &to.time) {
            values[at] = self.literal(time, &Cell::text(text));
        }
        let (names, values) = (names.join(", "), values.join(", "));
        self.run(&format!("INSERT INTO {name} ({names}) SELECT {values} FROM {name} WHERE {}", self.place(table, from)))
    }

    /// Gives a row another time.
    fn move_to(&self, schema: &Schema, table: &Table, from: &RowId, to: &RowId) -> Result<()> {
        if let (Self::Sqlite(_), Some(column), Some(time)) = (self, table.time_column(), &to.time) {
            return self.set(schema, table, from, column, &Cell::text(time));
        }
        // A hypertable's row cannot go to another chunk.
        self.copy(schema, table, from, to)?;
        self.delete(schema, table, from)
    }
}

fn key_cell(table: &Table, key: &str) -> Cell {
    match (table.key_column().ty, key.parse()) {
        (ColumnType::Integer, Ok(id)) => Cell::Integer(id),
        _ => Cell::text(key),
    }
}

impl<'s> Plan<'s> {
    /// Reads the rows of a station whose log is drained.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn new(schema: &'s Schema, station: &Station, dice: &mut Dice) -> Result<Self> {
        let mut rows = Vec::new();
        for table in schema.tables() {
            let mut all = station_rows(&station.file, table)?;
            for at in (1..all.len()).rev() {
                let other = dice.below(at as u64 + 1) as usize;
                all.swap(at, other);
            }
            rows.push(all);
        }
        let number = i64::from(station.number()?);
        Ok(Self {
            schema,
            station: number,
            rows,
            fresh: 3_000_000_000,
            changes: vec![0; schema.tables().len()],
            expected: BTreeMap::new(),
            done: BTreeMap::new(),
        })
    }

    fn id(&self, table: &Table, row: &Cells) -> Result<RowId> {
        let key = match &row[table.key] {
            Cell::Integer(id) => (self.station * BLOCK + id).to_string(),
            Cell::Text(uuid) => uuid.clone(),
            other => bail!("{other:?} is no key"),
        };
        let time = match table.time.map(|at| &row[at]) {
            Some(Cell::Text(time)) => Some(time.clone()),
            Some(other) => bail!("{other:?} is no time"),
            None => None,
        };
        Ok(RowId { table: table.name.clone(), key, time })
    }

    /// The value that upstream has for a station's value.
    fn upstream(&self, column: &Column, cell: &Cell) -> Cell {
        match cell {
            Cell::Integer(id) if column.references.is_some() => Cell::Integer(self.station * BLOCK + id),
            cell => cell.clone(),
        }
    }

    fn take(&mut self, table: usize) -> Result<Cells> {
        let name = &self.schema.tables()[table].name;
        self.rows[table].pop().with_context(|| format!("{name} has no row left that was not touched"))
    }

    /// Takes a row with other values than `row`.
    fn take_unlike(&mut self, table: usize, row: &Cells) -> Result<Cells> {
        let columns = &self.schema.tables()[table];
        let unlike = |other: &Cells| {
            (0..row.len()).any(|at| at != columns.key && Some(at) != columns.time && row[at] != other[at])
        };
        let found = self.rows[table].iter().rposition(unlike).context("no row has other values")?;
        Ok(self.rows[table].swap_remove(found))
    }

    fn expect(&mut self, id: RowId, kind: &'static str, column: Option<&str>) {
        self.expected.insert(id, (kind, column.map(str::to_owned)));
    }

    fn note(&mut self, deed: Deed, what: &str) {
        *self.done.entry(format!("{deed:?} {what}")).or_default() += 1;
    }

    /// Does one deed to a table; does nothing where it makes no sense.
    ///
    /// # Errors
    /// When the database refuses, or no untouched row is left.
    pub fn plant(&mut self, vandal: &Vandal, dice: &mut Dice, index: usize, deed: Deed) -> Result<bool> {
        let schema = self.schema;
        let table = &schema.tables()[index];
        if deed == Deed::Move && table.time.is_none() {
            return Ok(false);
        }
        if deed == Deed::Change {
            return self.change(vandal, dice, index).map(|()| true);
        }
        let row = self.take(index)?;
        let id = self.id(table, &row)?;
        match deed {
            Deed::Delete => {
                vandal.delete(schema, table, &id)?;
                self.expect(id, "missing", None);
            }
            Deed::Add => {
                self.fresh += 1 + dice.below(1000) as i64;
                let key = match table.key_column().ty {
                    ColumnType::Integer => (self.station * BLOCK + self.fresh).to_string(),
                    _ => uuid(dice),
                };
                let time = id.time.as_ref().map(|time| shifted(time, dice.below(900) as i64 - 450)).transpose()?;
                let to = RowId { key, time, ..id.clone() };
                vandal.copy(schema, table, &id, &to)?;
                self.expect(to, "extra", None);
            }
            Deed::Change => unreachable!("BUG: done above"),
            Deed::SwapValues => {
                let other = self.take_unlike(index, &row)?;
                let differ = (0..table.columns.len())
                    .filter(|&at| at != table.key && Some(at) != table.time && row[at] != other[at]);
                let differ: Vec<usize> = differ.collect();
                let at = *differ.get(dice.below(differ.len().max(1) as u64) as usize).context("two rows are equal")?;
                let column = &table.columns[at];
                if column.required && (row[at] == Cell::Null || other[at] == Cell::Null) {
                    bail!("{} is NULL", column.name);
                }
                let other_id = self.id(table, &other)?;
                vandal.set(schema, table, &id, column, &self.upstream(column, &other[at]))?;
                vandal.set(schema, table, &other_id, column, &self.upstream(column, &row[at]))?;
                self.note(deed, column.ty.as_str());
                self.expect(id, "changed", Some(&column.name));
                self.expect(other_id, "changed", Some(&column.name));
                return Ok(true);
            }
            Deed::SwapKeys => {
                let other = self.take_unlike(index, &row)?;
                let other_id = self.id(table, &other)?;
                // Copies under the exchanged keys; the first goes through a key of its own.
                self.fresh += 1;
                let key = match table.key_column().ty {
                    ColumnType::Integer => (self.station * BLOCK + self.fresh).to_string(),
                    _ => uuid(dice),
                };
                let aside = RowId { key, ..id.clone() };
                let (first, second) = (
                    RowId { key: other_id.key.clone(), ..id.clone() },
                    RowId { key: id.key.clone(), ..other_id.clone() },
                );
                vandal.copy(schema, table, &id, &aside)?;
                vandal.delete(schema, table, &id)?;
                vandal.copy(schema, table, &other_id, &second)?;
                vandal.delete(schema, table, &other_id)?;
                vandal.copy(schema, table, &aside, &first)?;
                vandal.delete(schema, table, &aside)?;
                if id.time == other_id.time {
                    self.expect(id, "changed", None);
                    self.expect(other_id, "changed", None);
                } else {
                    self.expect(id, "missing", None);
                    self.expect(other_id, "missing", None);
                    self.expect(first, "extra", None);
                    self.expect(second, "extra", None);
                }
            }
            Deed::Move => {
                let time = id.time.as_ref().map(|time| shifted(time, 31 + dice.below(60) as i64)).transpose()?;
                let to = RowId { time, ..id.clone() };
                vandal.move_to(schema, table, &id, &to)?;
                self.expect(id, "missing", None);
                self.expect(to, "extra", None);
            }
        }
        self.note(deed, &table.name);
        Ok(true)
    }
}

impl Plan<'_> {
    /// Changes one cell: column by column, in each in turn from NULL to a value, to NULL, and to another value.
    fn change(&mut self, vandal: &Vandal, dice: &mut Dice, index: usize) -> Result<()> {
        let table = &self.schema.tables()[index];
        let columns: Vec<usize> =
            (0..table.columns.len()).filter(|&at| at != table.key && Some(at) != table.time).collect();
        let turn = self.changes[index];
        self.changes[index] += 1;
        let at = columns[turn % columns.len()];
        let column = &table.columns[at];
        let turn = if column.required { 2 } else { turn / columns.len() % 3 };
        let suits = |row: &Cells| (row[at] == Cell::Null) == (turn == 0);
        let found = self.rows[index].iter().rposition(suits).with_context(|| format!("no row for {}", column.name))?;
        let row = self.rows[index].swap_remove(found);
        let id = self.id(table, &row)?;
        let old = self.upstream(column, &row[at]);
        let new = if turn == 1 { Cell::Null } else { other_value(column, &old, dice) };
        vandal.set(self.schema, table, &id, column, &new)?;
        self.note(Deed::Change, &format!("{} {}", column.ty.as_str(), turn_of(&old, &new)));
        self.expect(id, "changed", Some(&column.name));
        Ok(())
    }
}

fn turn_of(old: &Cell, new: &Cell) -> &'static str {
    match (old, new) {
        (Cell::Null, _) => "NULL to value",
        (_, Cell::Null) => "value to NULL",
        _ => "to another",
    }
}

/// A value that differs as little as can be.
fn other_value(column: &Column, old: &Cell, dice: &mut Dice) -> Cell {
    match (column.ty, old) {
        (ColumnType::Integer, Cell::Integer(v)) => Cell::Integer(v ^ 1),
        (ColumnType::Integer, _) => Cell::Integer(0),
        (ColumnType::Boolean, Cell::Integer(v)) => Cell::Integer(1 - v),
        (ColumnType::Boolean, _) => Cell::Integer(0),
        // The last bit; and -0.0 for 0.0.
        (ColumnType::Real, Cell::Real(bits)) if *bits == 0 => Cell::Real(1 << 63),
        (ColumnType::Real, Cell::Real(bits)) => Cell::Real(bits ^ 1),
        (ColumnType::Real, _) => Cell::real(0.0),
        (ColumnType::Timestamp, Cell::Text(time)) => Cell::Text(later(time, 1).unwrap_or_default()),
        (ColumnType::Timestamp, _) => Cell::text("2026-01-01 00:00:00.000000"),
        (ColumnType::Bytes, Cell::Bytes(v)) => Cell::Bytes([v.as_slice(), &[0]].concat()),
        (ColumnType::Bytes, _) => Cell::Bytes(Vec::new()),
        (ColumnType::Uuid, _) => Cell::Text(uuid(dice)),
        // The same document, another text.
        (ColumnType::Json, Cell::Text(text)) => Cell::Text(format!("{text} ")),
        (ColumnType::Json, _) => Cell::text("null"),
        (_, Cell::Text(text)) => Cell::Text(format!("{text} ")),
        _ => Cell::text(""),
    }
}

fn uuid(dice: &mut Dice) -> String {
    let (a, b) = (dice.next(), dice.next());
    tidemark_core::value::format_uuid(((u128::from(a) << 64) | u128::from(b)).to_be_bytes())
}

fn later(time: &str, us: i64) -> Result<String> {
    let at = tidemark_core::timestamp::parse(time.as_bytes())?;
    Ok(tidemark_core::timestamp::format(at + us))
}

fn shifted(time: &str, days: i64) -> Result<String> {
    later(time, days * DAY_US)
}
