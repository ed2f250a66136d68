//! The record of pruned rows, which are upstream and not in the file any more.
//!
//! Kept are, of every table and UTC day, the digest of the rows that went (so upstream can still be proved to hold
//! exactly those), and the ranges of their ids (so no new row takes an id that upstream has). Both are small where rows
//! go in the order they came.
//!
//! Here it is read; `record` writes it.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod record;

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::digest::RowDigest;
use tidemark_core::identity::Key;
use tidemark_core::ids::LOCAL_ID_MAX;
use tidemark_core::schema::{Fingerprint, Table};
use tidemark_core::timestamp::DAY_US;

use crate::error::Result;
use crate::meta::{damaged, row_error};

/// The UTC day of a time, counted from 1970.
pub(crate) const fn day_of(time_us: i64) -> i64 {
    time_us.div_euclid(DAY_US)
}

/// The first microsecond of a day.
pub(crate) const fn day_start_us(day: i64) -> i64 {
    day.saturating_mul(DAY_US)
}

/// Tells whether the file was ever pruned.
pub(crate) fn is_there(db: &Connection) -> rusqlite::Result<bool> {
    // Asked as a query: what SQLite remembers of the schema may be from before another process pruned.
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'tidemark_pruned_ids')";
    db.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// The rows that were pruned of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PrunedDay {
    /// The rows.
    pub(crate) digest: RowDigest,
    /// Some were pruned under an older schema, with fewer columns: their number can be compared, their digest not.
    pub(crate) older: bool,
}

/// The rows that were pruned of one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pruned {
    /// By UTC day.
    pub(crate) days: BTreeMap<i64, PrunedDay>,
}

impl Pruned {
    /// Reads it; `fingerprint` is of the schema that is followed now.
    pub(crate) fn read(db: &Connection, file: &str, table: &Table, fingerprint: Fingerprint) -> Result<Self> {
        let sql = |error| row_error(file, error);
        let mut days: BTreeMap<i64, PrunedDay> = BTreeMap::new();
        if !is_there(db).map_err(sql)? {
            return Ok(Self { days });
        }
        let current = fingerprint.to_hex();
        let mut query =
            db.prepare("SELECT day, fingerprint, digest FROM tidemark_pruned WHERE tbl = ?1").map_err(sql)?;
        let mut rows = query.query([&table.name]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let (fingerprint, digest): (String, String) = (row.get(1).map_err(sql)?, row.get(2).map_err(sql)?);
            let day = days.entry(row.get(0).map_err(sql)?).or_default();
            day.digest.join(&parse_digest(file, &digest)?);
            day.older |= fingerprint != current;
        }
        Ok(Self { days })
    }

    /// The days in a span of times that have pruned rows.
    pub(crate) fn between(&self, from_us: i64, to_us: i64) -> impl Iterator<Item = (i64, &PrunedDay)> {
        let days = self.days.range(day_of(from_us)..=day_of(to_us));
        days.filter(move |(day, _)| day_start_us(**day) < to_us).map(|(day, pruned)| (*day, pruned))
    }
}

pub(crate) fn parse_digest(file: &str, json: &str) -> Result<RowDigest> {
    serde_json::from_slice(json.as_bytes()).map_err(|_| damaged(file, "a digest in tidemark_pruned is none"))
}

/// Tells whether a row with this local id was pruned.
pub(crate) fn has_id(db: &Connection, table: &Table, id: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT last >= ?2 FROM tidemark_pruned_ids WHERE tbl = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
    Ok(db.prepare_cached(sql)?.query_row((&table.name, id), |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Tells whether the row with this upstream key was pruned.
pub(crate) fn has_key(db: &Connection, table: &Table, key: Key) -> rusqlite::Result<bool> {
    match key {
        Key::Integer(id) if is_there(db)? => has_id(db, table, id & LOCAL_ID_MAX),
        _ => Ok(false),
    }
}

/// The number of rows that were ever pruned.
pub(crate) fn count(db: &Connection) -> rusqlite::Result<u64> {
    if !is_there(db)? {
        return Ok(0);
    }
    let sql = "SELECT coalesce(sum(last - first + 1), 0) FROM tidemark_pruned_ids";
    db.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}
