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
//! | `report` | what is wished, and what became of it |
//!
//! The tidemark alone would not do: rows written while capture was off are in no log, and a server put back to a backup
//! holds less than it acknowledged. So **no row goes that the server did not just show to hold**. Each transaction is
//! whole by itself: a process that is killed has pruned some rows and not the others, and the next one goes on.
//!
//! **Capture is never off.** It logs the deletes, and the transaction takes them out of the log again before it ends,
//! together with the numbers they had; no other connection ever sees them. If anything else changed in it, such as by a
//! trigger of the program's own, it is undone.

mod choose;
mod prove;
mod remove;
mod report;

use rusqlite::Connection;
use tidemark_core::value::ColumnType;

use self::choose::PrunedAs;
pub use self::report::{Kept, Outcome, TableReport, Wish};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::sync::Stop;
use crate::verify::{Ended, Means};

/// Rows removed in one transaction: what a writer may have to wait for.
const REMOVED_AT_ONCE: usize = 1_000;

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
    let pruned_as = PrunedAs { number, fingerprint: store.schema().fingerprint() };
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
            prune_table(store, means, wish, pruned_as, index, &mut report)?;
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
    pruned_as: PrunedAs,
    index: usize,
    report: &mut TableReport,
) -> std::result::Result<(), Ended> {
    let mut after = i64::MIN;
    loop {
        let piece = choose::choose(store, pruned_as, index, wish.before_us, after)?;
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
                match remove::remove(store, pruned_as, index, rows, piece.last_seq)? {
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
