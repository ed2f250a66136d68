//! The parts of a schema: tables, columns, bounds, defaults.

use std::fmt;

use crate::value::{ColumnType, hex};

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name, the same on both sides.
    pub name: String,
    /// Says what a row is.
    pub doc: Option<String>,
    /// The columns, in file order.
    pub columns: Vec<Column>,
    /// The place of the key column.
    pub key: usize,
    /// The place of the column that partitions the table by time upstream; `None` makes it an ordinary table.
    pub time: Option<usize>,
    /// Width of a chunk, with `time`.
    pub chunk: Option<Chunk>,
    /// Rows are only ever inserted: updates and deletes are rejected, and upstream has no unique index on the key.
    pub append: bool,
}

impl Table {
    /// The key column.
    #[must_use]
    pub fn key_column(&self) -> &Column {
        &self.columns[self.key]
    }

    /// The time column.
    #[must_use]
    pub fn time_column(&self) -> Option<&Column> {
        self.time.map(|index| &self.columns[index])
    }

    /// The number of the column of this name.
    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The columns a delete carries: the key and, with one, the time.
    pub fn identity(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        [Some(self.key), self.time].into_iter().flatten()
    }

    /// True when upstream refuses NULL in the column: required, the key, or the time.
    #[must_use]
    pub fn is_not_null(&self, column: usize) -> bool {
        self.columns[column].required || column == self.key || Some(column) == self.time
    }
}

/// Width of a hypertable's chunks, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The width in seconds.
    pub seconds: u64,
}

impl Chunk {
    /// Seven days, TimescaleDB's own default.
    pub const DEFAULT: Self = Self { seconds: 7 * 86_400 };
}

impl fmt::Display for Chunk {
    /// As a schema file and a PostgreSQL interval say it: `7 days`, `12 hours`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds.is_multiple_of(86_400) {
            write!(f, "{} days", self.seconds / 86_400)
        } else {
            write!(f, "{} hours", self.seconds / 3600)
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name, the same on both sides.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// True when NULL is refused.
    pub required: bool,
    /// The value that SQLite and PostgreSQL fill in when a statement leaves it out.
    pub default: Option<DefaultValue>,
    /// The table whose key this column holds, by index.
    pub references: Option<usize>,
    /// The unit, for people.
    pub unit: Option<String>,
    /// Smallest value allowed (integer and real).
    pub min: Option<Bound>,
    /// Largest value allowed (integer and real).
    pub max: Option<Bound>,
    /// Most bytes allowed (text, json and bytes).
    pub max_bytes: Option<u32>,
    /// The meaning, for people.
    pub doc: Option<String>,
}

/// A bound of a numeric column, in the column's own type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Of an integer column.
    Integer(i64),
    /// Of a real column; finite.
    Real(f64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(v) => v.fmt(f),
            Self::Real(v) => write!(f, "{v:?}"),
        }
    }
}

impl Bound {
    /// Its form in the fingerprint's text: reals by their bits, so that no two programs print one differently.
    pub(super) fn canonical(self) -> String {
        match self {
            Self::Integer(v) => v.to_string(),
            Self::Real(v) => format!("{:016x}", v.to_bits()),
        }
    }
}

/// A column's default.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// The time of the statement (timestamp).
    Now,
    /// A literal.
    Integer(i64),
    /// A literal; finite.
    Real(f64),
    /// A literal.
    Text(String),
    /// A literal.
    Boolean(bool),
}

impl DefaultValue {
    /// Its form in the fingerprint's text: text by its bytes' hex, reals by their bits.
    pub(super) fn canonical(&self) -> String {
        match self {
            Self::Now => "now".to_owned(),
            Self::Integer(v) => v.to_string(),
            Self::Real(v) => Bound::Real(*v).canonical(),
            Self::Text(v) => format!("text {}", hex(v.as_bytes())),
            Self::Boolean(v) => v.to_string(),
        }
    }
}
