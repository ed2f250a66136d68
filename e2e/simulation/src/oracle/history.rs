//! What a station wrote, read from its log at the moment it was written.

use std::collections::BTreeMap;
use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tidemark_core::schema::{Schema, Table};

/// A value as SQLite holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Raw {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL, by its bits.
    Real(u64),
    /// TEXT, which need not be UTF-8.
    Text(Vec<u8>),
    /// BLOB.
    Blob(Vec<u8>),
}

impl From<ValueRef<'_>> for Raw {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(v) => Self::Integer(v),
            ValueRef::Real(v) => Self::Real(v.to_bits()),
            ValueRef::Text(v) => Self::Text(v.to_vec()),
            ValueRef::Blob(v) => Self::Blob(v.to_vec()),
        }
    }
}

/// One change of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub seq: u64,
    /// When it was captured, by the station's clock.
    pub at_ms: i64,
    /// The table's name.
    pub table: String,
    /// `I`, `U` or `D`.
    pub op: String,
    /// c0 … cN.
    pub values: Vec<Raw>,
}

/// Reads the changes after `after` from a log or from the rejects of a station.
#[must_use]
pub fn read(db: &Connection, schema: &Schema, from: &str, after: u64) -> Vec<Rc<Change>> {
    let columns = schema.columns_max();
    let names: Vec<String> = (0..columns).map(|n| format!("c{n}")).collect();
    let sql = format!("SELECT seq, at, tbl, op, {} FROM {from} WHERE seq > ?1 ORDER BY seq", names.join(", "));
    let mut query = db.prepare_cached(&sql).expect("BUG: the station has its tables");
    let read = query.query_map([after as i64], |row| {
        Ok(Rc::new(Change {
            seq: row.get::<_, i64>(0)? as u64,
            at_ms: row.get(1)?,
            table: row.get(2)?,
            op: row.get(3)?,
            values: (0..columns).map(|n| row.get_ref(4 + n).map(Raw::from)).collect::<rusqlite::Result<_>>()?,
        }))
    });
    read.and_then(Iterator::collect).expect("BUG: the simulation's logs are well formed")
}

/// A station's history: every change it ever made, 1, 2, 3 …
pub type History = Vec<Rc<Change>>;

/// How many changes two histories have in common.
#[must_use]
pub fn common(a: &History, b: &History) -> u64 {
    a.iter().zip(b).take_while(|(a, b)| Rc::ptr_eq(a, b) || a == b).count() as u64
}

/// What the tables must hold if the history is true: the rows in the order of their keys.
fn replayed(table: &Table, history: &History) -> Vec<Vec<Raw>> {
    let mut rows: BTreeMap<&Raw, &[Raw]> = BTreeMap::new();
    for change in history.iter().filter(|change| change.table == table.name) {
        let key = &change.values[table.key];
        if change.op == "D" {
            rows.remove(key);
        } else {
            rows.insert(key, &change.values[..table.columns.len()]);
        }
    }
    rows.into_values().map(<[Raw]>::to_vec).collect()
}

/// Compares the tables of a station with its history, cell by cell; says which table differs.
///
/// # Errors
/// What differs.
pub fn check_tables(db: &Connection, schema: &Schema, history: &History) -> Result<(), String> {
    for table in schema.tables() {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let sql = format!("SELECT {} FROM {}", names.join(", "), table.name);
        let mut query = db.prepare_cached(&sql).expect("BUG: the station has its tables");
        let rows = query.query_map([], |row| {
            (0..names.len()).map(|n| row.get_ref(n).map(Raw::from)).collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut there: Vec<Vec<Raw>> = rows.and_then(Iterator::collect).expect("BUG: the station's tables can be read");
        there.sort_by(|a, b| a[table.key].cmp(&b[table.key]));
        let expected = replayed(table, history);
        if there != expected {
            return Err(format!("the log does not tell the table {}: {expected:?}, there is {there:?}", table.name));
        }
    }
    Ok(())
}
