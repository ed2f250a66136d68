//! The catalog of a file: the schemas it follows and followed, and what its rows need to be read as upstream has them.
//!
//! It changes rarely, so an open [`Store`](crate::Store) keeps it in memory, and reads it anew when another process
//! changed it.

use rusqlite::Connection;
use tidemark_core::idmap::IdMap;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::{Fingerprint, Schema, Table};

use crate::error::{Error, Result};
use crate::lacking::Lacking;
use crate::lineage::FormerIds;
use crate::meta::{parse_schema, read_schema, row_error};

/// The catalog of an open file.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    /// The station's uuid.
    pub(crate) uuid: [u8; 16],
    /// The schema the file follows now.
    pub(crate) schema: Schema,
    /// The schemas it followed before, each with the last seq captured under it; in order.
    older: Vec<(u64, Schema)>,
    /// The rows that are upstream under numbers the file had before.
    pub(crate) former_ids: FormerIds,
    /// The tables and columns of the schema that the file has not.
    pub(crate) lacking: Lacking,
}

impl Catalog {
    /// Reads it from the file.
    pub(crate) fn read(db: &Connection, file: &str) -> Result<Self> {
        let sql = |error| row_error(file, error);
        let uuid: Vec<u8> =
            db.query_row("SELECT station_uuid FROM tidemark_station", [], |row| row.get(0)).map_err(sql)?;
        let uuid = uuid
            .try_into()
            .map_err(|_| Error::StationRow { file: file.to_owned(), detail: "station_uuid is not 16 bytes".into() })?;
        let mut query = db.prepare("SELECT upto, toml, fingerprint FROM tidemark_schema ORDER BY upto").map_err(sql)?;
        let older = query
            .query_map([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, row.get(2)?)))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<(u64, String, String)>>>)
            .map_err(sql)?
            .into_iter()
            .map(|(upto, toml, fingerprint)| Ok((upto, parse_schema(file, &toml, &fingerprint)?)))
            .collect::<Result<_>>()?;
        let (former_ids, lacking) = (FormerIds::read(db, file)?, Lacking::read(db, file)?);
        Ok(Self { uuid, schema: read_schema(db, file)?, older, former_ids, lacking })
    }

    /// Tells whether it is still what the file says.
    pub(crate) fn is_current(&self, db: &Connection, file: &str) -> Result<bool> {
        crate::format::check(db, file)?;
        let (uuid, fingerprint): (Vec<u8>, String) = db
            .query_row("SELECT station_uuid, fingerprint FROM tidemark_station", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .map_err(|error| row_error(file, error))?;
        if uuid != self.uuid || Fingerprint::from_hex(&fingerprint) != Some(self.schema.fingerprint()) {
            return Ok(false);
        }
        // It only ever lacks less, but for an upgrade, which changes the fingerprint.
        Ok(self.lacking.is_empty() || self.lacking == Lacking::read(db, file)?)
    }

    /// The schema that change `seq` was captured under, and the last seq of which that is true if it is not the current
    /// one.
    pub(crate) fn schema_of(&self, seq: u64) -> (&Schema, Option<u64>) {
        let older = self.older.iter().find(|(upto, _)| seq <= *upto);
        older.map_or((&self.schema, None), |(upto, schema)| (schema, Some(*upto)))
    }

    /// The layouts of the log's changes after a seq: each from after which seq, up to which, of which schema.
    pub(crate) fn layouts(&self, after: u64) -> impl Iterator<Item = (u64, u64, &Schema)> {
        let older = self.older.iter().map(|(upto, schema)| (*upto, schema));
        let layouts = older.chain([(i64::MAX as u64, &self.schema)]).filter(move |(upto, _)| *upto > after);
        layouts.scan(after, |from, (upto, schema)| Some((std::mem::replace(from, upto), upto, schema)))
    }

    /// `SELECT seq, op, id` of a table's changes in the log after a seq, each by the layout it was captured in. Empty
    /// when no schema of theirs has the table.
    pub(crate) fn select_changes(&self, table: &Table, after: u64) -> String {
        let parts = self.layouts(after).filter_map(|(after, upto, schema)| {
            let key = schema.table(&table.name)?.key;
            Some(format!(
                "SELECT seq, op, c{key} AS id FROM tidemark_log WHERE tbl = '{}' AND seq > {after} AND seq <= {upto}",
                table.name
            ))
        });
        let parts: Vec<String> = parts.collect();
        parts.join(" UNION ALL ")
    }

    /// The map from local ids to those upstream, of a station with this number, for the tables of a schema.
    pub(crate) fn id_map(&self, schema: &Schema, number: StationNumber) -> IdMap {
        self.former_ids.id_map(schema, number)
    }
}
