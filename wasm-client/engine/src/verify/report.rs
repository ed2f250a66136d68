//! What a search found: the rows that differ, and what was seen of each table.

use tidemark_core::decision::Cursor;
use tidemark_core::identity::Identity;

/// Most differences that are gathered; at that number the search ends, so that its memory is bounded.
pub const DIFFERENCES_MAX: usize = 100_000;

/// In which way a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The station has it, upstream has not.
    Missing,
    /// Upstream has it, the station has not.
    Extra,
    /// Both have it, with other values.
    Changed,
}

impl Kind {
    /// One word, for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Changed => "changed",
        }
    }
}

/// A row that differs. A row is identified by key and time: one that stands in the wrong month upstream is missing there and extra here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of its table in the schema.
    pub table: usize,
    /// Upstream identity.
    pub identity: Identity,
    /// In which way.
    pub kind: Kind,
    /// Which cells of a changed row; empty when only rows were asked for.
    pub cells: Vec<ChangedCell>,
}

/// A cell of a changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedCell {
    /// The column's name.
    pub column: String,
    /// What the station has, shortened for people.
    pub here: String,
    /// What upstream has.
    pub upstream: String,
}

/// What was seen of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// The station's rows that can travel.
    pub rows: u64,
    /// How many ranges they lie in: months, or spans of keys.
    pub ranges: u64,
    /// Rows missing upstream.
    pub missing: u64,
    /// Rows that only upstream has.
    pub extra: u64,
    /// Rows with other values upstream.
    pub changed: u64,
    /// Rows that differ because a change of theirs was rejected: known, and kept in the rejects.
    pub known: u64,
    /// Rows that differed because a change of theirs was not upstream yet.
    pub pending: u64,
    /// The station's rows that cannot travel; the rejects have them.
    pub unsendable: u64,
    /// Rows pruned from the station, which upstream must hold.
    pub pruned: u64,
}

/// A day of which upstream does not hold exactly the rows that were pruned here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrunedDifference {
    /// Number of its table in the schema.
    pub table: usize,
    /// Its first moment, microseconds since 1970 UTC.
    pub day_us: i64,
    /// Rows pruned here.
    pub here: u64,
    /// Rows of pruned ids upstream. As many as here: their values differ.
    pub upstream: u64,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Up to which change of the log both sides have the same chain.
    pub agreed: Option<Cursor>,
    /// The tables that were compared, in the schema's order.
    pub tables: Vec<TableReport>,
    /// The rows that differ, by table and identity; at most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// The days whose pruned rows upstream does not hold as they were.
    pub pruned: Vec<PrunedDifference>,
    /// Whether everything was compared; not when there were too many differences.
    pub complete: bool,
    /// Requests made.
    pub requests: u64,
}

impl Report {
    /// How many rows, and days of pruned rows, differ.
    #[must_use]
    pub const fn found(&self) -> u64 {
        self.differences.len() as u64 + self.pruned.len() as u64
    }

    /// Whether upstream equals the station.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.complete && self.found() == 0
    }
}
