//! Rows as SQLite may hold them: any storage class in any column.

use arbitrary::Arbitrary;
use tidemark_core::schema::Schema;
use tidemark_core::value::SqliteValue;

/// The schema of the targets: every type, a reference, a uuid key, a time column, bounds. A reading needs no site, so
/// that one of any column alone is taken.
pub fn schema() -> Schema {
    let text = tidemark_testkit::schemas::GOLDEN.replace(", required = true }", " }");
    Schema::parse(&text).expect("BUG: the schema of the targets is valid")
}

/// A value of SQLite's.
#[derive(Debug, Clone, Arbitrary)]
pub enum Cell {
    Null,
    Integer(i64),
    Small(i8),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
    /// The texts that some types want.
    Likely(Likely),
}

/// Texts that come close to a type.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Likely {
    Time,
    Uuid,
    Json,
    Numeral,
}

impl Cell {
    pub fn as_sqlite(&self) -> SqliteValue<'_> {
        match self {
            Self::Null => SqliteValue::Null,
            Self::Integer(v) => SqliteValue::Integer(*v),
            Self::Small(v) => SqliteValue::Integer((*v).into()),
            // SQLite stores NaN as NULL.
            Self::Real(v) if v.is_nan() => SqliteValue::Null,
            Self::Real(v) => SqliteValue::Real(*v),
            Self::Text(v) => SqliteValue::Text(v),
            Self::Blob(v) => SqliteValue::Blob(v),
            Self::Likely(Likely::Time) => SqliteValue::Text(b"2026-02-03 04:05:06.789"),
            Self::Likely(Likely::Uuid) => SqliteValue::Text(b"0190f1a2-b3c4-7d5e-8f60-718293a4b5c6"),
            Self::Likely(Likely::Json) => SqliteValue::Text(br#"{"a": [1, "\u0041"]}"#),
            Self::Likely(Likely::Numeral) => SqliteValue::Text(b"42"),
        }
    }
}

/// A row of a log: any of the tables or none, any operation or none.
#[derive(Debug, Clone, Arbitrary)]
pub struct Row {
    pub table: u8,
    pub op: u8,
    pub at_ms: i64,
    pub cells: Vec<Cell>,
}

impl Row {
    pub const fn table(&self) -> &'static [u8] {
        match self.table % 8 {
            0..=2 => b"reading",
            3 | 4 => b"site",
            5 | 6 => b"tag",
            _ => b"\xffghost",
        }
    }

    pub const fn op(&self) -> &'static [u8] {
        match self.op % 8 {
            0..=3 => b"I",
            4 | 5 => b"U",
            6 => b"D",
            _ => b"?",
        }
    }
}
