//! Makes the tables and triggers of Tidemark's own in a file.

use rusqlite::Connection;
use tidemark_core::capture::{create_log, create_ousted};
use tidemark_core::schema::Schema;

use crate::error::{Error, Result};
use crate::lineage::CREATE_LINEAGE;
use crate::meta::{self, CREATE_STATION};
use crate::rejects::create_rejects;
use crate::{capture, format};

/// Makes what every station's file has beside the schema's tables: our tables, the triggers, the station's row.
pub(crate) fn make_ours(db: &Connection, file: &str, schema: &Schema, station_uuid: [u8; 16]) -> Result<()> {
    let sql = |error| Error::sqlite(file, "make the tables", error);
    let log = [create_log(schema), create_ousted(schema), create_rejects(schema)];
    for statement in
        [CREATE_STATION, format::CREATE_SCHEMAS, CREATE_LINEAGE].into_iter().chain(log.iter().map(String::as_str))
    {
        db.execute_batch(statement).map_err(sql)?;
    }
    for table in schema.tables() {
        for trigger in capture::derived(db, file, table)? {
            db.execute_batch(&trigger).map_err(sql)?;
        }
    }
    meta::write::insert(db, format::FORMAT, schema, station_uuid).map_err(sql)
}

/// Checks that a file can be made a station's: it is none yet, and no table in it has a name of ours or the schema's.
///
/// # Errors
/// [`Error::AlreadyTidemark`], [`Error::TablesExist`], SQLite's.
pub(crate) fn check_init(db: &Connection, file: &str, schema: &Schema) -> Result<()> {
    if format::check(db, file)?.is_some() {
        let there = meta::read_schema(db, file)?;
        return Err(Error::AlreadyTidemark {
            file: file.to_owned(),
            schema: there.name().to_owned(),
            version: there.version(),
        });
    }
    let sql = |error| Error::sqlite(file, "read the names of the tables", error);
    let mut query =
        db.prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name").map_err(sql)?;
    let names = query
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)
        .map_err(sql)?;
    let clash = |name: &String| {
        name.to_ascii_lowercase().starts_with("tidemark_")
            || schema.tables().iter().any(|table| table.name.eq_ignore_ascii_case(name))
    };
    let clashing: Vec<String> = names.into_iter().filter(clash).collect();
    if clashing.is_empty() {
        Ok(())
    } else {
        Err(Error::TablesExist { file: file.to_owned(), tables: clashing.join(", ") })
    }
}
