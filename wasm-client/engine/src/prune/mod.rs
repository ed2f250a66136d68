//! Pruning: rows of time tables that are old and durable upstream leave the station's file, and stay upstream.
//!
//! ```text
//! push ─▶ children before parents, table by table, in pieces by key:
//!         old rows, no change of theirs waiting or set aside, nothing here references them
//!         ─▶ the server says which of them it holds as they are here (digests of both sides)
//!         ─▶ short transactions: looked at again, deleted, written down as pruned
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `choose` | the rows of a piece that may go, as far as the file can say |
//! | `prove` | asks the server which of them it holds |
//! | `remove` | the transaction that removes some |
//! | `record` | what is kept of them |
//!
//! The tidemark alone would not do: rows written while capture was off are in no log, and a server put back to a backup holds less than
//! it acknowledged. So **no row goes that the server did not just show to hold**. Each transaction is whole by itself: a process that is
//! killed has pruned some rows and not the others, and the next one goes on.
//!
//! **Capture is never off.** It logs the deletes, and the transaction takes them out of the log again before it ends, together with the
//! numbers they had; no other connection ever sees them. If anything else changed in it, such as by a trigger of the program's own, it is undone.

mod choose;
mod prove;
pub(crate) mod record;
mod remove;

use rusqlite::Connection;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Fingerprint;
use tidemark_core::value::ColumnType;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::sync::Stop;
use crate::verify::{Ended, Means};

/// Rows looked at at once.
const PIECE_ROWS: usize = 20_000;
/// Rows removed in one transaction: what a writer may have to wait for.
const REMOVED_AT_ONCE: usize = 1_000;

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

/// As what the file is pruned: when any of it changes meanwhile, it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct As {
    number: StationNumber,
    fingerprint: Fingerprint,
}

/// Removes rows that are upstream.
///
/// # Errors
/// When there is no such table, or it has no time column; what the store says.
pub fn prune(store: &mut Store, means: &mut Means<'_>, wish: &Wish) -> Result<Outcome> {
    let tables = tables(store, wish)?;
    if store.meta()?.membership.is_none() {
        return Ok(Outcome::Stopped(Stop::NothingUpstream { file: store.file().to_owned() }));
    }
    // Children are looked for by us, in other programs' tables too; no delete of ours may cascade.
    let enforced = set_foreign_keys(store.connection(), false).map_err(store.sqlite("set foreign_keys"))?;
    let done = attempt(store, means, wish, &tables);
    if enforced {
        set_foreign_keys(store.connection(), true).map_err(store.sqlite("set foreign_keys"))?;
    }
    match done {
        Ok(reports) => Ok(Outcome::Pruned(reports)),
        Err(Ended::Unreachable(message)) => Ok(Outcome::Unreachable(message)),
        Err(Ended::Stopped(stop)) => Ok(Outcome::Stopped(stop)),
        Err(Ended::Store(error)) => Err(error),
    }
}

/// Sets it; returns what it was.
fn set_foreign_keys(db: &Connection, on: bool) -> rusqlite::Result<bool> {
    let was: bool = db.pragma_query_value(None, "foreign_keys", |row| row.get(0))?;
    db.pragma_update(None, "foreign_keys", on)?;
    Ok(was)
}

/// The tables to prune, children first.
fn tables(store: &Store, wish: &Wish) -> Result<Vec<usize>> {
    if let Some(name) = &wish.table {
        let table = store.table(name)?;
        if table.time.is_none() {
            return Err(Error::Schema(format!(
                "the table {name} has no time column, so none of its rows is old; only rows of tables with one are pruned"
            )));
        }
    }
    let schema = store.schema();
    let wanted = |index: &usize| {
        let table = &schema.tables()[*index];
        table.time.is_some() && store.lacking().has(table) && wish.table.as_ref().is_none_or(|name| *name == table.name)
    };
    Ok(schema.parents_first().iter().rev().copied().filter(wanted).collect())
}

fn attempt(
    store: &mut Store,
    means: &mut Means<'_>,
    wish: &Wish,
    tables: &[usize],
) -> std::result::Result<Vec<TableReport>, Ended> {
    means.agree(store)?;
    if !wish.dry_run {
        means.push(store)?;
    }
    let number = store.meta()?.membership.ok_or_else(|| Error::NotJoined { file: store.file().to_owned() })?.number;
    let as_what = As { number, fingerprint: store.schema().fingerprint() };
    let mut reports = Vec::new();
    for &index in tables {
        let table = &store.schema().tables()[index];
        let own_parent = table.columns.iter().any(|column| column.references == Some(index));
        let mut report = TableReport { table: table.name.clone(), ..TableReport::default() };
        report.refused = match table.key_column().ty {
            ColumnType::Integer => choose::obstacle(store, index)?,
            _ => Some("its keys are no integers: which rows were pruned could not be kept in little room".to_owned()),
        };
        while report.refused.is_none() {
            let before = report.pruned;
            report.kept = Kept::default();
            prune_table(store, means, wish, as_what, index, &mut report)?;
            // Rows whose last child in the same table is gone now go in another pass.
            if !own_parent || wish.dry_run || report.pruned == before {
                break;
            }
        }
        reports.push(report);
    }
    reports.reverse();
    Ok(reports)
}

fn prune_table(
    store: &mut Store,
    means: &mut Means<'_>,
    wish: &Wish,
    as_what: As,
    index: usize,
    report: &mut TableReport,
) -> std::result::Result<(), Ended> {
    let mut after = i64::MIN;
    loop {
        let piece = choose::choose(store, as_what, index, wish.before_us, after)?;
        report.kept.pending += piece.kept.pending;
        report.kept.rejected += piece.kept.rejected;
        report.kept.referenced += piece.kept.referenced;
        report.kept.newest += piece.kept.newest;
        let Some(last) = piece.last else { return Ok(()) };
        let chosen = piece.rows.len() as u64;
        let proven = prove::prove(store, means, index, piece.rows)?;
        report.kept.differing += chosen - proven.len() as u64;
        if wish.dry_run {
            report.pruned += proven.len() as u64;
        } else {
            for rows in proven.chunks(REMOVED_AT_ONCE) {
                match remove::remove(store, as_what, index, rows, piece.last_seq)? {
                    remove::Removed::Rows { gone, kept } => {
                        report.pruned += gone;
                        report.kept.pending += kept;
                    }
                    remove::Removed::Refused(why) => {
                        report.refused = Some(why);
                        return Ok(());
                    }
                }
            }
        }
        after = last;
    }
}
