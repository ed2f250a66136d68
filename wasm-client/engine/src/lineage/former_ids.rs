//! The tables of a file's lineage, and the rows in it that are upstream under numbers the file had before.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use tidemark_core::idmap::{self, IdMap};
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;

use crate::error::Result;
use crate::meta::{damaged, row_error};

/// `CREATE TABLE`s of what a file was before, of the largest local id of each table in the history up to the tidemark,
/// and of a rejoin that has begun.
pub(crate) const CREATE_LINEAGE: &str = "
CREATE TABLE tidemark_former (number INTEGER PRIMARY KEY, name TEXT NOT NULL, server TEXT NOT NULL, upto INTEGER NOT NULL,
    left_ms INTEGER NOT NULL);
CREATE TABLE tidemark_former_ids (tbl TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (tbl, first)) WITHOUT ROWID;
CREATE TABLE tidemark_bound (tbl TEXT PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE tidemark_rejoin (one INTEGER PRIMARY KEY CHECK (one = 1), join_digest BLOB NOT NULL, station_uuid BLOB NOT NULL,
    token BLOB NOT NULL, server TEXT NOT NULL)";

/// The rejects of former numbers: the columns of the rejects, and the number. Made by the first rejoin.
pub(crate) const FORMER_REJECTS_TABLE: &str = "tidemark_former_rejects";

/// Ranges of local ids, each with the former number that owns them, by the name of their table.
#[derive(Debug, Clone, Default)]
pub(crate) struct FormerIds(BTreeMap<String, Arc<[idmap::FormerIds]>>);

impl FormerIds {
    pub(crate) fn read(db: &Connection, file: &str) -> Result<Self> {
        let sql = |error| row_error(file, error);
        let mut query =
            db.prepare("SELECT tbl, first, last, number FROM tidemark_former_ids ORDER BY tbl, first").map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        let mut tables: BTreeMap<String, Vec<idmap::FormerIds>> = BTreeMap::new();
        while let Some(row) = rows.next().map_err(sql)? {
            let (table, first, last) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?, row.get(2).map_err(sql)?);
            let number = StationNumber::new(row.get(3).map_err(sql)?)
                .map_err(|error| damaged(file, format!("in tidemark_former_ids: {error}")))?;
            tables.entry(table).or_default().push(idmap::FormerIds { first, last, number });
        }
        // One by one: `collect` sorts first, and sorting is code that a browser would download for this alone.
        let mut former = BTreeMap::new();
        for (table, ranges) in tables {
            former.insert(table, ranges.into());
        }
        Ok(Self(former))
    }

    /// The map of a station with this number, for the tables of a schema.
    pub(crate) fn id_map(&self, schema: &Schema, number: StationNumber) -> IdMap {
        if self.0.is_empty() {
            return IdMap::new(number);
        }
        let ranges = schema.tables().iter().map(|table| self.0.get(&table.name).cloned().unwrap_or_default());
        IdMap::with_former(number, ranges)
    }
}
