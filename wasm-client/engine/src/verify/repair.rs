//! Repair: what differs upstream is written into the log again, and goes the ordinary way. The log's chain covers it as
//! it does any change.

use std::collections::HashSet;

use tidemark_core::capture::{log_delete, log_row};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::schema::Table;

use super::report::{Difference, Kind};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::meta;
use crate::pruned::has_key;
use crate::rows::{Local, Lookup, Rows};
use crate::store::Store;

/// The number of rows that were written into the log again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Logged {
    /// Rows sent once more.
    pub(super) rewritten: u64,
    /// Rows that only upstream has, deleted there.
    pub(super) removed: u64,
    /// Rows that only upstream has, and that no station's change can name.
    pub(super) out_of_reach: u64,
    /// Rows of append tables that are upstream otherwise: nothing changes them there.
    pub(super) append_only: u64,
}

/// Logs every difference in one transaction: parents before children, deletes after all, children before parents.
pub(super) fn repair(store: &mut Store, differences: &[Difference]) -> Result<Logged> {
    let file = store.file().to_owned();
    let schema = store.schema().clone();
    store.transaction(|tx| {
        let sql = |error| Error::sqlite(&file, "log what is sent again", error);
        let catalog = Catalog::read(tx, &file)?;
        let rows = Rows::new(tx, &file, &catalog, &meta::read(tx, &file)?)?;
        let mut logged = Logged::default();
        for &index in schema.parents_first() {
            let table = &schema.tables()[index];
            if !catalog.lacking.has(table) {
                continue;
            }
            let mut write = tx.prepare(&log_row(table, &catalog.lacking.columns(table))).map_err(sql)?;
            let wanted = differences.iter().filter(|found| found.table == index && found.kind != Kind::Extra);
            let mut wanted: Vec<Identity> = wanted.map(|found| found.identity).collect();
            if table.append {
                let all = wanted.len();
                let there: HashSet<Key> = there_otherwise(differences, index).collect();
                wanted.retain(|identity| !there.contains(&identity.key));
                logged.append_only += (all - wanted.len()) as u64;
            }
            for identity in parents_before_children(&mut rows.lookup(index)?, index, table, wanted)? {
                // A row that is gone, or moved, meanwhile has a change of its own that says so.
                if let Some((key, _)) = rows.local_identity(index, &identity) {
                    logged.rewritten += write.execute([key]).map_err(sql)? as u64;
                }
            }
        }
        for &index in schema.parents_first().iter().rev() {
            let table = &schema.tables()[index];
            let mut delete = tx.prepare(&log_delete(table)).map_err(sql)?;
            let mut lookup = rows.lookup(index)?;
            for extra in differences.iter().filter(|found| found.table == index && found.kind == Kind::Extra) {
                if lookup.get(&extra.identity, |here| !matches!(here, Local::Absent))? {
                    continue;
                }
                // Pruned since it was found: upstream has the only copy.
                if has_key(tx, table, extra.identity.key).map_err(sql)? {
                    continue;
                }
                if table.append {
                    logged.append_only += 1;
                    continue;
                }
                match rows.local_identity(index, &extra.identity) {
                    Some((key, time)) => {
                        let values = [Some(key), time].into_iter().flatten();
                        logged.removed += delete.execute(rusqlite::params_from_iter(values)).map_err(sql)? as u64;
                    }
                    None => logged.out_of_reach += 1,
                }
            }
        }
        Ok(logged)
    })
}

/// The keys of one table that upstream has with other values, at another time, or alone.
fn there_otherwise(differences: &[Difference], table: usize) -> impl Iterator<Item = Key> + '_ {
    let of_table = differences.iter().filter(move |found| found.table == table && found.kind != Kind::Missing);
    of_table.map(|found| found.identity.key)
}

/// Orders rows of a table that references itself so that each comes after the one it hangs on.
fn parents_before_children(
    lookup: &mut Lookup<'_>,
    index: usize,
    table: &Table,
    mut rows: Vec<Identity>,
) -> Result<Vec<Identity>> {
    let own: Vec<usize> = (0..table.columns.len()).filter(|&at| table.columns[at].references == Some(index)).collect();
    if own.is_empty() {
        return Ok(rows);
    }
    let mut waiting: HashSet<Key> = rows.iter().map(|row| row.key).collect();
    let mut ordered = Vec::with_capacity(rows.len());
    while !rows.is_empty() {
        let (before, mut hanging) = (rows.len(), Vec::new());
        for row in rows {
            let parents = |here: Local<'_>| match here {
                Local::There(values) => own.iter().filter_map(|&at| Key::of(values[at])).collect(),
                _ => Vec::new(),
            };
            let parents: Vec<Key> = lookup.get(&row, parents)?;
            if parents.iter().any(|parent| *parent != row.key && waiting.contains(parent)) {
                hanging.push(row);
            } else {
                waiting.remove(&row.key);
                ordered.push(row);
            }
        }
        if hanging.len() == before {
            // A circle: no order is right, the server says which row it cannot take.
            ordered.append(&mut hanging);
        }
        rows = hanging;
    }
    Ok(ordered)
}
