//! Writes down what was pruned, in the transaction that removes it; and the triggers that keep its ids from being given
//! again.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::digest::{RowDigest, RowHash};
use tidemark_core::identity::Identity;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::{Fingerprint, Table};
use tidemark_core::sqlite::quote;

use super::{day_of, is_there, parse_digest};
use crate::error::Result;
use crate::format::PRUNED_FORMAT;
use crate::meta::{row_error, write};

/// `CREATE TABLE`s of a file that was pruned. `fingerprint`: of the schema whose columns the digest is over.
const CREATE_PRUNED: &str = "
CREATE TABLE tidemark_pruned (tbl TEXT NOT NULL, day INTEGER NOT NULL, fingerprint TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (tbl, day, fingerprint)) WITHOUT ROWID;
CREATE TABLE tidemark_pruned_ids (tbl TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (tbl, first)) WITHOUT ROWID";

/// Tells whether rows of a table were pruned.
pub(crate) fn has_rows_of(db: &Connection, table: &Table) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM tidemark_pruned_ids WHERE tbl = ?1)";
    Ok(is_there(db)? && db.query_row(sql, [&table.name], |row| row.get(0))?)
}

/// The names of the triggers of [`guards`].
pub(crate) fn guard_names(table: &Table) -> [String; 2] {
    ["insert", "update"].map(|when| format!("tidemark_{}_pruned_{when}", table.name))
}

/// Triggers that refuse a row with the id of one that was pruned: upstream they would be one row.
pub(crate) fn guards(table: &Table) -> [String; 2] {
    let (name, key) = (quote(&table.name), quote(&table.key_column().name));
    let is_pruned = format!(
        "NEW.{key} <= (SELECT last FROM tidemark_pruned_ids WHERE tbl = '{}' AND first <= NEW.{key} ORDER BY first DESC LIMIT 1)",
        table.name
    );
    let body = format!(
        "BEGIN\n    SELECT RAISE(ABORT, '{}: the row with this {} was pruned from this file and is upstream; give the new row another one');\nEND",
        table.name,
        table.key_column().name
    );
    let [insert, update] = guard_names(table);
    [
        format!("CREATE TRIGGER {} AFTER INSERT ON {name}\nWHEN {is_pruned}\n{body}", quote(&insert)),
        format!(
            "CREATE TRIGGER {} AFTER UPDATE OF {key} ON {name}\nWHEN NEW.{key} IS NOT OLD.{key} AND {is_pruned}\n{body}",
            quote(&update)
        ),
    ]
}

/// A row that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrunedRow {
    /// Its key here.
    pub(crate) id: i64,
    /// Its identity upstream.
    pub(crate) identity: Identity,
    /// Its hash upstream.
    pub(crate) hash: RowHash,
}

/// Notes rows of a table, in the order of their ids, as pruned. To be called in the transaction that removes them.
pub(crate) fn note(
    tx: &Connection,
    file: &str,
    table: &Table,
    (fingerprint, number): (Fingerprint, StationNumber),
    rows: &[PrunedRow],
) -> Result<()> {
    let sql = |error| row_error(file, error);
    if !is_there(tx).map_err(sql)? {
        tx.execute_batch(CREATE_PRUNED).map_err(sql)?;
        write::raise_format(tx, PRUNED_FORMAT).map_err(sql)?;
    }
    if !has_rows_of(tx, table).map_err(sql)? {
        for trigger in guards(table) {
            tx.execute_batch(&trigger).map_err(sql)?;
        }
    }
    let mut days: BTreeMap<i64, RowDigest> = BTreeMap::new();
    for row in rows {
        days.entry(day_of(row.identity.time_us)).or_default().add(&row.hash);
    }
    let fingerprint = fingerprint.to_hex();
    for (day, mut digest) in days {
        let kept = "SELECT digest FROM tidemark_pruned WHERE tbl = ?1 AND day = ?2 AND fingerprint = ?3";
        let kept: Option<String> =
            tx.query_row(kept, (&table.name, day, &fingerprint), |row| row.get(0)).optional().map_err(sql)?;
        if let Some(kept) = kept {
            digest.join(&parse_digest(file, &kept)?);
        }
        let json = serde_json::to_string(&digest).expect("BUG: a number and a hash serialise");
        let keep = "INSERT OR REPLACE INTO tidemark_pruned (tbl, day, fingerprint, digest) VALUES (?1, ?2, ?3, ?4)";
        tx.execute(keep, (&table.name, day, &fingerprint, json)).map_err(sql)?;
    }
    for run in rows.chunk_by(|a, b| a.id + 1 == b.id) {
        if let [first, ..] = run {
            let last = first.id + run.len() as i64 - 1;
            note_ids(tx, table, number, first.id, last).map_err(sql)?;
        }
    }
    Ok(())
}

/// Keeps a range of ids, joined with those next to it.
fn note_ids(
    tx: &Connection,
    table: &Table,
    number: StationNumber,
    mut first: i64,
    mut last: i64,
) -> rusqlite::Result<()> {
    let mut next_to = tx.prepare_cached(
        "DELETE FROM tidemark_pruned_ids WHERE tbl = ?1 AND number = ?2 AND first =
             (SELECT first FROM tidemark_pruned_ids WHERE tbl = ?1 AND first <= ?3 ORDER BY first DESC LIMIT 1)
             AND (first = ?3 OR last = ?3) RETURNING first, last",
    )?;
    for beside in [first - 1, last + 1] {
        let joined = next_to.query_row((&table.name, number.get(), beside), |row| Ok((row.get(0)?, row.get(1)?)));
        if let Some((from, to)) = joined.optional()? {
            (first, last) = (first.min(from), last.max(to));
        }
    }
    let keep = "INSERT INTO tidemark_pruned_ids (tbl, first, last, number) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(keep, (&table.name, first, last, number.get())).map(|_| ())
}

/// The file becomes another station: what was pruned stays the old numbers', so references to it go there; its digests
/// are theirs to prove.
pub(crate) fn leave_to_old_numbers(tx: &Connection) -> rusqlite::Result<()> {
    if !is_there(tx)? {
        return Ok(());
    }
    tx.execute_batch(
        "DELETE FROM tidemark_pruned;
         INSERT OR IGNORE INTO tidemark_former_ids (tbl, first, last, number) SELECT tbl, first, last, number FROM tidemark_pruned_ids",
    )
}
