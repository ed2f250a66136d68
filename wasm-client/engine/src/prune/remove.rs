//! The transaction that removes rows: they are looked at again, deleted, written down as pruned, and the log is as if
//! nothing had happened.

use std::collections::HashSet;

use rusqlite::Connection;
use tidemark_core::sqlite::quote;

use super::choose::{PrunedAs, check_same, newest, pending, referenced, references, rejected};
use crate::error::{Error, Result};
use crate::log::last_seq;
use crate::meta;
use crate::pruned::record::{PrunedRow, note};
use crate::rows::{Local, Rows};
use crate::store::Store;

/// The outcome of a transaction that removes rows.
pub(super) enum Removed {
    /// So many rows are gone, and so many stayed since something changed meanwhile.
    Rows {
        /// Gone.
        gone: u64,
        /// Stayed.
        kept: u64,
    },
    /// Deleting rows of the table does more than that; nothing was changed.
    Refused(String),
}

/// Removes those of the rows, in the order of their keys, of which all is still true that was when the log ended at
/// `last_seq_then`.
pub(super) fn remove(
    store: &mut Store,
    pruned_as: PrunedAs,
    index: usize,
    rows: &[PrunedRow],
    last_seq_then: u64,
) -> Result<Removed> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Removed::Rows { gone: 0, kept: 0 }) };
    let span = (first.id, last.id);
    let (tx, file, catalog) = store.write()?;
    let sql = |error| Error::sqlite(file, "remove rows that are upstream", error);
    let meta = meta::read(&tx, file)?;
    check_same(file, catalog, &meta, pruned_as)?;
    let table = &catalog.schema.tables()[index];
    let log_end = last_seq(&tx).map_err(sql)?;
    let mut stay: HashSet<i64> = rejected(&tx, table, span).map_err(sql)?;
    stay.extend(newest(&tx, table).map_err(sql)?);
    stay.extend(pending(&tx, catalog, table, 0, span).map_err(sql)?);
    // Only what was written since can reference them: tables beyond the schema are in no log, and always looked at.
    let mut children = references(&tx, &catalog.schema, &catalog.lacking, index).map_err(sql)?;
    if log_end == last_seq_then {
        children.retain(|child| !child.is_captured(&catalog.schema));
    }
    stay.extend(referenced(&tx, &children, span).map_err(sql)?);
    let mut gone: Vec<PrunedRow> = rows.iter().filter(|row| !stay.contains(&row.id)).copied().collect();
    {
        let all = Rows::new(&tx, file, catalog, &meta)?;
        let mut lookup = all.lookup(index)?;
        let mut same = Vec::with_capacity(gone.len());
        for row in gone {
            let hash = |here: Local<'_>| here.hash(table);
            if lookup.get(&row.identity, hash)? == Some(row.hash) {
                same.push(row);
            }
        }
        gone = same;
    }
    let kept = (rows.len() - gone.len()) as u64;
    // Stale notes; deleting a row would forget one.
    tx.execute("DELETE FROM tidemark_ousted", []).map_err(sql)?;
    let before = total_changes(&tx).map_err(sql)?;
    {
        let delete = format!("DELETE FROM {} WHERE {} = ?1", quote(&table.name), quote(&table.key_column().name));
        let mut delete = tx.prepare_cached(&delete).map_err(sql)?;
        for row in &gone {
            delete.execute([row.id]).map_err(sql)?;
        }
    }
    // Each row: its delete, and the delete's place in the log.
    let changed = total_changes(&tx).map_err(sql)? - before;
    let count = "SELECT count(*), count(*) FILTER (WHERE tbl = ?2 AND op = 'D') FROM tidemark_log WHERE seq > ?1";
    let counted = tx.query_row(count, (log_end as i64, &table.name), |row| Ok((row.get(0)?, row.get(1)?)));
    let logged: (i64, i64) = counted.map_err(sql)?;
    let expected = gone.len() as i64;
    if changed != 2 * expected || logged != (expected, expected) {
        return Ok(Removed::Refused(
            "deleting its rows changes other rows too, by a trigger of the program's own, or capture is not in place; nothing was removed".to_owned(),
        ));
    }
    tx.execute("DELETE FROM tidemark_log WHERE seq > ?1", [log_end as i64]).map_err(sql)?;
    tx.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'tidemark_log'", [log_end as i64]).map_err(sql)?;
    if !gone.is_empty() {
        note(&tx, file, table, (pruned_as.fingerprint, pruned_as.number), &gone)?;
    }
    tx.commit().map_err(sql)?;
    Ok(Removed::Rows { gone: gone.len() as u64, kept })
}

fn total_changes(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT total_changes()", [], |row| row.get(0))
}
