//! The report of a search: the rows that differ, and the counts of each table.

use tidemark_core::decision::Cursor;
use tidemark_core::identity::Identity;

/// Most differences that are gathered; at that number the search ends, so that its memory is bounded.
pub const DIFFERENCES_MAX: usize = 100_000;

/// The way in which a row differs.
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

/// A row that differs. A row is identified by key and time: one that stands in the wrong month upstream is missing
/// there and extra here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of its table in the schema.
    pub table: usize,
    /// Upstream identity.
    pub identity: Identity,
    /// The way in which it differs.
    pub kind: Kind,
    /// The cells of a changed row that differ; empty when only rows were asked for.
    pub cells: Vec<ChangedCell>,
}

/// A cell of a changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedCell {
    /// The column's name.
    pub column: String,
    /// The station's value, shortened for people.
    pub here: String,
    /// The value upstream.
    pub upstream: String,
}

/// The counts of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// The station's rows that can travel.
    pub rows: u64,
    /// The number of ranges they lie in: months, or spans of keys.
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

/// The report of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The last change of the log at which both sides had the same chain.
    pub agreed: Option<Cursor>,
    /// The tables that were compared, in the schema's order.
    pub tables: Vec<TableReport>,
    /// The rows that differ, by table and identity; at most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// The days whose pruned rows upstream does not hold as they were.
    pub pruned: Vec<PrunedDifference>,
    /// Set when everything was compared; not set when there were too many differences.
    pub complete: bool,
    /// Requests made.
    pub requests: u64,
}

impl Report {
    /// The number of rows, and days of pruned rows, that differ.
    #[must_use]
    pub const fn found(&self) -> u64 {
        self.differences.len() as u64 + self.pruned.len() as u64
    }

    /// Tells whether upstream equals the station.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.complete && self.found() == 0
    }
}
