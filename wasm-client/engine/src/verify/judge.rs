//! Judges whether a suspect differs: one reply of the server against one snapshot of the station.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use tidemark_core::decision::Cursor;
use tidemark_core::digest::{CellHash, RowHash};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::schema::Table;
use tidemark_core::survey::FoundRow;
use tidemark_core::value::ValueRef;

use super::report::{ChangedCell, Kind};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::log::sqlite_value;
use crate::meta::{self, Meta};
use crate::outbox::{Agreement, compare_in};
use crate::rows::{Local, Rows};
use crate::store::Store;

/// The standing of a reply's cursor to a snapshot of the station that was taken after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The log up to there is the same on both sides, and all that came after it is still in the log.
    Agrees,
    /// Another process pushed meanwhile: what came after the cursor is not in the log any more.
    Stale,
    /// Another history.
    Differs,
}

/// The judgement of a suspect.
#[derive(Debug)]
pub(super) enum Judgement {
    /// Both sides have the same.
    Equal,
    /// A change of it is on its way.
    Pending,
    /// A change of it was rejected, or it cannot travel.
    Known,
    /// It differs.
    Differs(Kind, Vec<ChangedCell>),
}

fn standing(db: &Connection, file: &str, catalog: &Catalog, meta: &Meta, server: Cursor) -> Result<Standing> {
    Ok(match compare_in(db, file, catalog, meta, server)? {
        Agreement::Same => Standing::Agrees,
        Agreement::Behind | Agreement::Moved => Standing::Stale,
        Agreement::Differs(_) | Agreement::Beyond { .. } => Standing::Differs,
    })
}

/// Compares the cursor of a reply with the file as it is now.
pub(crate) fn stands(store: &mut Store, server: Cursor) -> Result<Standing> {
    let (tx, file, catalog) = store.read()?;
    let meta = meta::read(&tx, file)?;
    standing(&tx, file, catalog, &meta, server)
}

/// Judges suspects of one table: what the server found of them at `server`, against the file as it is now.
pub(super) fn judge(
    store: &mut Store,
    table: usize,
    suspects: &[Identity],
    server: Cursor,
    found: &[FoundRow],
) -> Result<(Standing, Vec<Judgement>)> {
    let (tx, file, catalog) = store.read()?;
    let meta = meta::read(&tx, file)?;
    let standing = standing(&tx, file, catalog, &meta, server)?;
    if standing != Standing::Agrees {
        return Ok((standing, Vec::new()));
    }
    let rows = Rows::new(&tx, file, catalog, &meta)?;
    let keys: HashSet<Key> = suspects.iter().map(|suspect| suspect.key).collect();
    let pending =
        keys_of(&tx, &rows, table, &format!("FROM tidemark_log WHERE seq > {} AND tbl = ?1", server.seq), &keys)?;
    // That upstream keeps a row of an append table as it was is known even when nobody wants to be told of it again.
    let kept =
        "FROM tidemark_rejects WHERE tbl = ?1 AND (state = 'open' OR state = 'discarded' AND code = 'append-only')";
    let rejected = keys_of(&tx, &rows, table, kept, &keys)?;
    let upstream: HashMap<Identity, &FoundRow> = found.iter().map(|row| (row.id, row)).collect();
    let mut lookup = rows.lookup(table)?;
    let mut judgements = Vec::with_capacity(suspects.len());
    for suspect in suspects {
        let there = upstream.get(suspect).copied();
        let judged = lookup.get(suspect, |here| compare_row(rows.table(table), here, there))?;
        judgements.push(match judged {
            Judgement::Differs(..) if pending.contains(&suspect.key) => Judgement::Pending,
            Judgement::Differs(..) if rejected.contains(&suspect.key) => Judgement::Known,
            judged => judged,
        });
    }
    Ok((standing, judgements))
}

fn compare_row(table: &Table, here: Local<'_>, there: Option<&FoundRow>) -> Judgement {
    match (here, there) {
        (Local::Absent | Local::Unsendable, None) => Judgement::Equal,
        (Local::Unsendable, Some(_)) => Judgement::Known,
        (Local::Absent, Some(_)) => Judgement::Differs(Kind::Extra, Vec::new()),
        (Local::There(_), None) => Judgement::Differs(Kind::Missing, Vec::new()),
        (Local::There(values), Some(row)) => {
            let mut scratch = Vec::new();
            if RowHash::of(&mut scratch, &table.name, values.iter().copied()) == row.hash {
                return Judgement::Equal;
            }
            Judgement::Differs(Kind::Changed, changed_cells(table, values, row))
        }
    }
}

fn changed_cells(table: &Table, values: &[ValueRef<'_>], row: &FoundRow) -> Vec<ChangedCell> {
    let mut scratch = Vec::new();
    let cells = table.columns.iter().zip(values).zip(&row.cells);
    cells
        .filter(|((_, value), cell)| CellHash::of(&mut scratch, **value) != cell.hash)
        .map(|((column, value), cell)| ChangedCell {
            column: column.name.clone(),
            here: value.to_string(),
            upstream: crate::error::printable(&cell.shown),
        })
        .collect()
}

/// Finds which of these keys have an image in the log or among the rejects.
fn keys_of(db: &Connection, rows: &Rows<'_>, index: usize, from: &str, wanted: &HashSet<Key>) -> Result<HashSet<Key>> {
    let (table, sql) = (rows.table(index), rows.sql());
    let mut query = db.prepare(&format!("SELECT c{} {from}", table.key)).map_err(&sql)?;
    let mut images = query.query([&table.name]).map_err(&sql)?;
    let mut keys = HashSet::new();
    while let Some(image) = images.next().map_err(&sql)? {
        let key = rows.upstream_key(index, sqlite_value(image.get_ref(0).map_err(&sql)?));
        keys.extend(key.filter(|key| wanted.contains(key)));
    }
    Ok(keys)
}
