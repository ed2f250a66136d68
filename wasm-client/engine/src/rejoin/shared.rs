//! The rows that stay the old number's when a file goes on under another one.
//!
//! When a file rejoins, the rows of the history it shares with its old number are upstream already, under that number;
//! rows that came after are the new number's. Kept are ranges of local ids, exactly those of the rows that were there
//! where the histories parted, so a program may later insert a row with any other key.

use rusqlite::Transaction;
use tidemark_core::ids::{LOCAL_ID_MAX, StationNumber};
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tidemark_core::value::ColumnType;

use crate::capture::unique_indexes;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lineage::{integer_keyed, raise_bound};

/// The rule by which rows are the old number's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// Those that were there after this change of the old log; whether the new number owns them decides what an insert
    /// over one of them means.
    At {
        /// Last seq in common.
        common: u64,
        /// The new number replaces the old one.
        owned: bool,
    },
    /// All there are, and all whose delete is in the log.
    All,
}

/// Keeps which rows are the old number's, or older ones'.
pub(super) fn keep_former_ids(
    tx: &Transaction<'_>,
    file: &str,
    catalog: &Catalog,
    old: StationNumber,
    shared: Shared,
) -> Result<()> {
    let sql = |error| Error::sqlite(file, "keep which rows are the old number's", error);
    let ids = catalog.id_map(&catalog.schema, old);
    if let Shared::At { common, .. } = shared {
        raise_bounds_to(tx, catalog, common).map_err(sql)?;
    }
    tx.execute("DELETE FROM tidemark_former_ids", []).map_err(sql)?;
    for (index, table) in catalog.schema.tables().iter().enumerate() {
        if table.key_column().ty != ColumnType::Integer || !catalog.lacking.has(table) {
            continue;
        }
        let replaced_in_silence = table.time.is_none() && unique_indexes(tx, file, table)?.is_empty();
        let select = select_shared(catalog, table, shared, replaced_in_silence);
        keep_table(tx, table, &select, |local| ids.number_of(index, local)).map_err(sql)?;
        let last = "SELECT max(last) FROM tidemark_former_ids WHERE tbl = ?1";
        let last: Option<i64> = tx.query_row(last, [&table.name], |row| row.get(0)).map_err(sql)?;
        raise_bound(tx, &table.name, last.unwrap_or(0)).map_err(sql)?;
    }
    Ok(())
}

/// Moves the bounds from the tidemark on to change `common`, which the log still holds.
fn raise_bounds_to(tx: &Transaction<'_>, catalog: &Catalog, common: u64) -> rusqlite::Result<()> {
    for table in integer_keyed(&catalog.schema) {
        let log = catalog.select_changes(table, 0);
        let sql = format!("SELECT max(id) FROM ({log}) WHERE seq <= ?1 AND op = 'I' AND typeof(id) = 'integer'");
        let id: Option<i64> = tx.query_row(&sql, [common as i64], |row| row.get(0))?;
        raise_bound(tx, &table.name, id.unwrap_or(0))?;
    }
    Ok(())
}

/// Folds ids in ascending order into ranges and stores those.
fn keep_table(
    tx: &Transaction<'_>,
    table: &Table,
    select: &str,
    number_of: impl Fn(i64) -> StationNumber,
) -> rusqlite::Result<()> {
    let mut insert =
        tx.prepare("INSERT INTO tidemark_former_ids (tbl, first, last, number) VALUES (?1, ?2, ?3, ?4)")?;
    let mut query = tx.prepare(select)?;
    let mut rows = query.query([])?;
    let mut open: Option<(i64, i64, StationNumber)> = None;
    loop {
        let next = rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()?;
        let next = next.map(|id| (id, number_of(id)));
        match (&mut open, next) {
            (Some((_, last, number)), Some((id, of))) if id == *last + 1 && of == *number => *last = id,
            (_, next) => {
                if let Some((first, last, number)) = open {
                    insert.execute((&table.name, first, last, number.get()))?;
                }
                let Some((id, of)) = next else { return Ok(()) };
                open = Some((id, id, of));
            }
        }
    }
}

/// `SELECT` of the old number's local ids in one table, ascending.
fn select_shared(catalog: &Catalog, table: &Table, shared: Shared, replaced_in_silence: bool) -> String {
    let (name, key) = (quote(&table.name), quote(&table.key_column().name));
    let valid = format!("typeof(id) = 'integer' AND id BETWEEN 1 AND {LOCAL_ID_MAX}");
    match shared {
        Shared::All => {
            let log = catalog.select_changes(table, 0);
            format!(
                "SELECT id FROM (SELECT {key} AS id FROM {name} UNION SELECT id FROM ({log}) WHERE op = 'D') WHERE {valid} ORDER BY id"
            )
        }
        Shared::At { common, owned } => {
            // Of each row touched since, the first change tells whether it was there: an insert says no, an update or
            // delete yes.
            let log = catalog.select_changes(table, common);
            let there = format!(
                "SELECT {key} AS id FROM {name} WHERE {key} NOT IN (SELECT id FROM touched WHERE id IS NOT NULL)
                 UNION SELECT id FROM touched WHERE op <> 'I'"
            );
            // Where INSERT OR REPLACE logs nothing but the insert, one over a row that was there looks like a new row.
            // Ids that SQLite gives lie above all earlier ones; one that does not may be either. To who owns the old
            // rows it is the old row, so that none is there twice; else a new one, so that nothing is refused that
            // could be kept.
            let doubtful = if replaced_in_silence && owned {
                format!(
                    " UNION SELECT id FROM touched WHERE op = 'I' AND id <= (SELECT id FROM tidemark_bound WHERE tbl = '{}')",
                    table.name
                )
            } else {
                String::new()
            };
            format!(
                "WITH touched AS MATERIALIZED (SELECT id, op, min(seq) FROM ({log}) GROUP BY id), there AS MATERIALIZED ({there})
                 SELECT id FROM (SELECT id FROM there{doubtful}) WHERE {valid} ORDER BY id"
            )
        }
    }
}
