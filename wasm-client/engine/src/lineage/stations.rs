//! The stations that a file was before, and the changes that were rejected under their numbers.

use rusqlite::Connection;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;

use super::former_ids::FORMER_REJECTS_TABLE;
use crate::error::{Error, Result};
use crate::meta::{Membership, damaged, row_error};
use crate::rejects::{Reject, read_reject};

/// A station that a file was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerStation {
    /// Its number and name.
    pub membership: Membership,
    /// Its server's URL.
    pub server: String,
    /// Last change of its log that the file shares with it.
    pub upto: u64,
    /// The time at which the file went on under another number, milliseconds since 1970 UTC.
    pub left_ms: i64,
}

/// Reads them, the last one last.
pub(crate) fn read_stations(db: &Connection, file: &str) -> Result<Vec<FormerStation>> {
    let sql = |error| row_error(file, error);
    let mut query = db
        .prepare("SELECT number, name, server, upto, left_ms FROM tidemark_former ORDER BY left_ms, number")
        .map_err(sql)?;
    let mut rows = query.query([]).map_err(sql)?;
    let mut former = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let number = StationNumber::new(row.get(0).map_err(sql)?)
            .map_err(|error| damaged(file, format!("in tidemark_former: {error}")))?;
        former.push(FormerStation {
            membership: Membership { number, name: row.get(1).map_err(sql)? },
            server: row.get(2).map_err(sql)?,
            upto: row.get::<_, i64>(3).map_err(sql)?.unsigned_abs(),
            left_ms: row.get(4).map_err(sql)?,
        });
    }
    Ok(former)
}

/// Visits the changes that were rejected under former numbers, with the number; seqs are of its log.
pub(crate) fn visit_rejects<'s, E: From<Error>>(
    db: &Connection,
    file: &str,
    schema_of: impl Fn(u64) -> &'s Schema,
    mut visit: impl FnMut(u32, Reject) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let sql = |error| Error::sqlite(file, "read the former rejects", error);
    if !db.table_exists(None, FORMER_REJECTS_TABLE).map_err(sql)? {
        return Ok(());
    }
    let select = format!("SELECT * FROM {FORMER_REJECTS_TABLE} ORDER BY number, seq");
    let mut query = db.prepare(&select).map_err(sql)?;
    let mut rows = query.query([]).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        visit(row.get("number").map_err(sql)?, read_reject(&schema_of, row).map_err(sql)?)?;
    }
    Ok(())
}
