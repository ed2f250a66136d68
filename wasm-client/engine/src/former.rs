//! What a file was before: which of its rows lie in the block of a number it had.
//!
//! When a file rejoins, the rows of the history it shares with its old number are upstream already, under that number; rows that came
//! after are the new number's. Kept are ranges of local ids, exactly those of the rows that were there where the histories parted, so
//! a program may later insert a row with any other key.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Transaction};
use tidemark_core::idmap::{FormerIds, IdMap};
use tidemark_core::ids::{LOCAL_ID_MAX, StationNumber};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::ColumnType;

use crate::capture::unique_indexes;
use crate::error::{Error, Result};
use crate::meta::{Identity, Membership, damaged, row_error};
use crate::rejects::{Reject, read_reject};
use crate::store::Store;
use crate::switch::FORMER_REJECTS_TABLE;

/// `CREATE TABLE`s of what a file was before, of the largest local id of each table in the history up to the tidemark, and of a rejoin
/// that has begun.
pub(crate) const CREATE_FORMER: &str = "
CREATE TABLE tidemark_former (number INTEGER PRIMARY KEY, name TEXT NOT NULL, server TEXT NOT NULL, upto INTEGER NOT NULL,
    left_ms INTEGER NOT NULL);
CREATE TABLE tidemark_former_ids (tbl TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (tbl, first)) WITHOUT ROWID;
CREATE TABLE tidemark_bound (tbl TEXT PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE tidemark_rejoin (one INTEGER PRIMARY KEY CHECK (one = 1), join_digest BLOB NOT NULL, station_uuid BLOB NOT NULL,
    token BLOB NOT NULL, server TEXT NOT NULL)";

/// The ranges of every table that has some, by its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct FormerTables(BTreeMap<String, Arc<[FormerIds]>>);

impl FormerTables {
    pub(crate) fn read(db: &Connection, file: &str) -> Result<Self> {
        let sql = |error| row_error(file, error);
        let mut query =
            db.prepare("SELECT tbl, first, last, number FROM tidemark_former_ids ORDER BY tbl, first").map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        let mut tables: BTreeMap<String, Vec<FormerIds>> = BTreeMap::new();
        while let Some(row) = rows.next().map_err(sql)? {
            let (table, first, last) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?, row.get(2).map_err(sql)?);
            let number = StationNumber::new(row.get(3).map_err(sql)?)
                .map_err(|error| damaged(file, format!("in tidemark_former_ids: {error}")))?;
            tables.entry(table).or_default().push(FormerIds { first, last, number });
        }
        // One by one: `collect` sorts first, and sorting is code that a browser would download for this alone.
        let mut former = BTreeMap::new();
        for (table, ranges) in tables {
            former.insert(table, ranges.into());
        }
        Ok(Self(former))
    }

    /// The map of a station with this number, for the tables of a schema.
    pub(crate) fn ids(&self, schema: &Schema, number: StationNumber) -> IdMap {
        if self.0.is_empty() {
            return IdMap::new(number);
        }
        let ranges = schema.tables().iter().map(|table| self.0.get(&table.name).cloned().unwrap_or_default());
        IdMap::with_former(number, ranges)
    }
}

/// Which rows are the old number's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Those that were there after this change of the old log; whether the new number owns them decides what an insert over one of them
    /// means.
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
pub(crate) fn keep(
    tx: &Transaction<'_>,
    file: &str,
    identity: &Identity,
    old: StationNumber,
    shared: Shared,
) -> Result<()> {
    let sql = |error| Error::sqlite(file, "keep which rows are the old number's", error);
    let ids = identity.former.ids(&identity.schema, old);
    if let Shared::At { common, .. } = shared {
        raise_bounds_to(tx, identity, common).map_err(sql)?;
    }
    tx.execute("DELETE FROM tidemark_former_ids", []).map_err(sql)?;
    for (index, table) in identity.schema.tables().iter().enumerate() {
        if table.key_column().ty != ColumnType::Integer || !identity.lacking.has(table) {
            continue;
        }
        let replaced_in_silence = table.time.is_none() && unique_indexes(tx, file, table)?.is_empty();
        let select = select_shared(identity, table, shared, replaced_in_silence);
        keep_table(tx, table, &select, |local| ids.number_of(index, local)).map_err(sql)?;
        let last = "SELECT max(last) FROM tidemark_former_ids WHERE tbl = ?1";
        let last: Option<i64> = tx.query_row(last, [&table.name], |row| row.get(0)).map_err(sql)?;
        raise_bound(tx, &table.name, last.unwrap_or(0)).map_err(sql)?;
    }
    Ok(())
}

/// Notes that a table's history up to the tidemark has a row with this local id.
pub(crate) fn raise_bound(db: &Connection, table: &str, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tidemark_bound (tbl, id) VALUES (?1, ?2) ON CONFLICT (tbl) DO UPDATE SET id = max(id, excluded.id)";
    db.execute(sql, (table, id)).map(|_| ())
}

/// Moves the bounds from the tidemark on to change `common`, which the log still holds.
fn raise_bounds_to(tx: &Transaction<'_>, identity: &Identity, common: u64) -> rusqlite::Result<()> {
    for table in integer_keyed(&identity.schema) {
        let log = logged(identity, table, 0);
        let sql = format!("SELECT max(id) FROM ({log}) WHERE seq <= ?1 AND op = 'I' AND typeof(id) = 'integer'");
        let id: Option<i64> = tx.query_row(&sql, [common as i64], |row| row.get(0))?;
        raise_bound(tx, &table.name, id.unwrap_or(0))?;
    }
    Ok(())
}

/// Sets the bounds of a file that never kept them: the rows that are no pending inserts.
pub(crate) fn first_bounds(tx: &Transaction<'_>, schema: &Schema) -> rusqlite::Result<()> {
    for table in integer_keyed(schema) {
        let (name, key) = (quote(&table.name), quote(&table.key_column().name));
        let sql = format!(
            "SELECT max({key}) FROM {name} WHERE {key} NOT IN
                 (SELECT c{} FROM tidemark_log WHERE tbl = '{}' AND op = 'I' AND c{0} IS NOT NULL)",
            table.key, table.name
        );
        let id: Option<i64> = tx.query_row(&sql, [], |row| row.get(0))?;
        raise_bound(tx, &table.name, id.unwrap_or(0))?;
    }
    Ok(())
}

/// The tables whose local ids are not those upstream.
fn integer_keyed(schema: &Schema) -> impl Iterator<Item = &Table> {
    schema.tables().iter().filter(|table| table.key_column().ty == ColumnType::Integer)
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
fn select_shared(identity: &Identity, table: &Table, shared: Shared, replaced_in_silence: bool) -> String {
    let (name, key) = (quote(&table.name), quote(&table.key_column().name));
    let valid = format!("typeof(id) = 'integer' AND id BETWEEN 1 AND {LOCAL_ID_MAX}");
    match shared {
        Shared::All => {
            let log = logged(identity, table, 0);
            format!(
                "SELECT id FROM (SELECT {key} AS id FROM {name} UNION SELECT id FROM ({log}) WHERE op = 'D') WHERE {valid} ORDER BY id"
            )
        }
        Shared::At { common, owned } => {
            // Of each row touched since, the first change tells whether it was there: an insert says no, an update or delete yes.
            let log = logged(identity, table, common);
            let there = format!(
                "SELECT {key} AS id FROM {name} WHERE {key} NOT IN (SELECT id FROM touched WHERE id IS NOT NULL)
                 UNION SELECT id FROM touched WHERE op <> 'I'"
            );
            // Where INSERT OR REPLACE logs nothing but the insert, one over a row that was there looks like a new row. Ids that SQLite
            // gives lie above all earlier ones; one that does not may be either. To who owns the old rows it is the old row, so that
            // none is there twice; else a new one, so that nothing is refused that could be kept.
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

/// `SELECT seq, op, id` of a table's changes after a seq, each by the layout it was captured in.
pub(crate) fn logged(identity: &Identity, table: &Table, after: u64) -> String {
    let parts = identity.layouts(after).filter_map(|(after, upto, schema)| {
        let key = schema.table(&table.name)?.key;
        Some(format!(
            "SELECT seq, op, c{key} AS id FROM tidemark_log WHERE tbl = '{}' AND seq > {after} AND seq <= {upto}",
            table.name
        ))
    });
    let parts: Vec<String> = parts.collect();
    parts.join(" UNION ALL ")
}

/// A station that a file was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerStation {
    /// Its number and name.
    pub membership: Membership,
    /// Its server's URL.
    pub server: String,
    /// Last change of its log that the file shares with it.
    pub upto: u64,
    /// When the file went on under another number, milliseconds since 1970 UTC.
    pub left_ms: i64,
}

impl Store {
    /// The stations this file was before, the last one last.
    ///
    /// # Errors
    /// SQLite's.
    pub fn former(&self) -> Result<Vec<FormerStation>> {
        let sql = |error| row_error(self.file(), error);
        let mut query = self
            .connection()
            .prepare("SELECT number, name, server, upto, left_ms FROM tidemark_former ORDER BY left_ms, number")
            .map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        let mut former = Vec::new();
        while let Some(row) = rows.next().map_err(sql)? {
            let number = StationNumber::new(row.get(0).map_err(sql)?)
                .map_err(|error| damaged(self.file(), format!("in tidemark_former: {error}")))?;
            former.push(FormerStation {
                membership: Membership { number, name: row.get(1).map_err(sql)? },
                server: row.get(2).map_err(sql)?,
                upto: row.get::<_, i64>(3).map_err(sql)?.unsigned_abs(),
                left_ms: row.get(4).map_err(sql)?,
            });
        }
        Ok(former)
    }

    /// Visits the changes that were rejected while the file was another station, with that station's number; seqs are of its log.
    ///
    /// # Errors
    /// SQLite's, and what `visit` returns.
    pub fn former_rejects<E: From<Error>>(
        &self,
        mut visit: impl FnMut(u32, Reject) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let sql = self.sqlite("read the former rejects");
        let there = self.connection().table_exists(None, FORMER_REJECTS_TABLE).map_err(&sql)?;
        if !there {
            return Ok(());
        }
        let select = format!("SELECT * FROM {FORMER_REJECTS_TABLE} ORDER BY number, seq");
        let mut query = self.connection().prepare(&select).map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        while let Some(row) = rows.next().map_err(&sql)? {
            visit(row.get("number").map_err(&sql)?, read_reject(self, row).map_err(&sql)?)?;
        }
        Ok(())
    }
}
