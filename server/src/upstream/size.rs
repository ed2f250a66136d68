//! The database as operators see it: what it is, how large, and whether it takes writes. Nothing is
//! counted row by row: what is asked here is asked while stations push.

use serde::Serialize;

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DatabaseFacts {
    /// `postgresql`, `sqlite` or `memory`.
    pub kind: &'static str,
    /// Its version.
    pub version: String,
    /// Its size on disk, in bytes.
    pub size_bytes: u64,
    /// The version of TimescaleDB, where it is created.
    pub timescale: Option<String>,
    /// Its hypertables.
    pub hypertables: Vec<HypertableFacts>,
    /// The tables of the schema and Tidemark's own, where the database can tell of them.
    pub tables: Vec<TableFacts>,
    /// Whether it takes no writes now.
    pub read_only: bool,
}

/// A hypertable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HypertableFacts {
    /// Its name.
    pub table: String,
    /// Its chunks.
    pub chunks: u64,
    /// Its size with indexes and chunks, in bytes.
    pub size_bytes: u64,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableFacts {
    /// Its name.
    pub table: String,
    /// About how many rows it has, where the database can tell without counting.
    pub rows: Option<u64>,
    /// Its size with indexes, in bytes, where the database can tell.
    pub size_bytes: Option<u64>,
}
