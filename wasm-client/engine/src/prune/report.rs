//! The wish that a prune is started with, and its outcome.

use crate::sync::Stop;

/// The rows that somebody wishes to prune.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Rows with a time before this one go, microseconds since 1970 UTC.
    pub before_us: i64,
    /// Only of this table.
    pub table: Option<String>,
    /// Change nothing; say what would go.
    pub dry_run: bool,
}

/// The old rows that stayed, counted by reason.
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

/// The old rows of one table: those that went, and those that stayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Rows that went; in a dry run, that would.
    pub pruned: u64,
    /// Rows that stayed.
    pub kept: Kept,
    /// The reason why nothing of the table can be pruned, if there is one.
    pub refused: Option<String>,
}

/// The end of a prune.
#[derive(Debug)]
pub enum Outcome {
    /// All tables were gone through.
    Pruned(Vec<TableReport>),
    /// The server could not be reached any more; what was pruned before is.
    Unreachable(String),
    /// It cannot go on by itself.
    Stopped(Stop),
}
