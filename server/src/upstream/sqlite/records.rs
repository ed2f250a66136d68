//! Rows of Tidemark's own tables in the embedded upstream: stations, cursors, rejects.

use rusqlite::{Connection, OptionalExtension as _, Row};
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use super::failed;
use super::values::ms_of;
use crate::stations::StationRecord;
use crate::upstream::{Reject, RejectState, StoreError};

pub(super) const STATION_COLUMNS: &str =
    "name, number, station_uuid, token_hash, code_expires_at, joined_at, revoked_at,
    (SELECT e.ended_at FROM tidemark_ended_token AS e WHERE e.token_hash = tidemark_station.token_hash)";

pub(super) fn station_of(row: &Row<'_>) -> rusqlite::Result<StationRecord> {
    let ms = |at: usize| row.get::<_, Option<String>>(at).map(|text| text.map(|text| ms_of(&text)));
    Ok(StationRecord {
        name: row.get(0)?,
        number: row.get::<_, Option<u32>>(1)?.and_then(|number| StationNumber::new(number).ok()),
        uuid: row.get(2)?,
        token_hash: row.get(3)?,
        token_ended_at_ms: ms(7)?,
        code_expires_at_ms: ms(4)?.unwrap_or(0),
        joined_at_ms: ms(5)?,
        revoked_at_ms: ms(6)?,
    })
}

pub(super) fn station_where(
    connection: &Connection,
    column: &str,
    value: impl rusqlite::ToSql,
) -> Result<Option<StationRecord>, StoreError> {
    let sql = format!("SELECT {STATION_COLUMNS} FROM tidemark_station WHERE {column} = ?1");
    let mut select = connection.prepare_cached(&sql).map_err(failed)?;
    select.query_row([value], station_of).optional().map_err(failed)
}

/// The station whose token has, or had before it ended, this hash.
pub(super) fn station_by_token(
    connection: &Connection,
    token_hash: &[u8; 32],
) -> Result<Option<StationRecord>, StoreError> {
    let sql = format!(
        "SELECT {STATION_COLUMNS} FROM tidemark_station WHERE token_hash = ?1
             OR number = (SELECT station FROM tidemark_ended_token AS ended WHERE ended.token_hash = ?1)"
    );
    let mut select = connection.prepare_cached(&sql).map_err(failed)?;
    select.query_row([token_hash], station_of).optional().map_err(failed)
}

pub(super) fn cursor_of(connection: &Connection, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT seq, chain FROM tidemark_cursor WHERE station = ?1").map_err(failed)?;
    let cursor = select.query_row([station.get()], |row| {
        Ok(Cursor { seq: row.get::<_, i64>(0)?.unsigned_abs(), chain: Chain(row.get(1)?) })
    });
    cursor.optional().map_err(failed)
}

pub(super) const REJECT_COLUMNS: &str =
    "station, seq, at, received_at, tbl, op, code, message, image, origin, state, resolved_at, key, parent";

pub(super) fn reject_of(row: &Row<'_>) -> rusqlite::Result<Option<Reject>> {
    let Ok(station) = StationNumber::new(row.get(0)?) else { return Ok(None) };
    Ok(Some(Reject {
        station,
        seq: row.get::<_, i64>(1)?.unsigned_abs(),
        at_ms: ms_of(&row.get::<_, String>(2)?),
        received_at_ms: ms_of(&row.get::<_, String>(3)?),
        table: row.get(4)?,
        op: row.get(5)?,
        code: row.get(6)?,
        message: row.get(7)?,
        image: row.get(8)?,
        origin: row.get(9)?,
        state: RejectState::from_text(&row.get::<_, String>(10)?).unwrap_or(RejectState::Open),
        resolved_at_ms: row.get::<_, Option<String>>(11)?.map(|text| ms_of(&text)),
        key: row.get(12)?,
        parent: row.get::<_, Option<i64>>(13)?.map(i64::unsigned_abs),
    }))
}
