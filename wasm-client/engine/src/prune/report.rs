//! What is wished of pruning, and what became of it.

use crate::sync::Stop;

/// What is wished.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Rows with a time before this one go, microseconds since 1970 UTC.
    pub before_us: i64,
    /// Only of this table.
    pub table: Option<String>,
    /// Change nothing; say what would go.
    pub dry_run: bool,
}

/// Why old rows stayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// A change of theirs waits in the log, or they changed meanwhile.
    pub pending: u64,
    /// A change of theirs was rejected and is open, or was given up.
    pub rejected: u64,
    /// Rows that stay reference them.
    pub referenced: u64,
    /// Upstream does not hold them as they are here.
    pub differing: u64,
    /// The row with the table's highest key: were it gone, SQLite could give its key again.
    pub newest: u64,
}

/// What became of a table's old rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Rows that went; in a dry run, that would.
    pub pruned: u64,
    /// Rows that stayed.
    pub kept: Kept,
    /// Why nothing of the table can be pruned, if so.
    pub refused: Option<String>,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// All tables were gone through.
    Pruned(Vec<TableReport>),
    /// The server could not be reached any more; what was pruned before is.
    Unreachable(String),
    /// It cannot go on by itself.
    Stopped(Stop),
}
