//! The writers of the station's row, one for each thing that happens to a station.
//!
//! Each is one statement on the connection or transaction it is given; nothing else in this crate updates the row.
//! Times are the station's clock, milliseconds since 1970 UTC.

use rusqlite::{Connection, Result, params};
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;

use super::Membership;
use crate::error::Secret;

/// Writes the row of a new file, which no server knows.
pub(crate) fn insert(db: &Connection, format: i64, schema: &Schema, uuid: [u8; 16]) -> Result<()> {
    db.execute(
        "INSERT INTO tidemark_station (one, format, station_uuid, schema, fingerprint, chain) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        params![format, uuid, schema.source(), schema.fingerprint().to_hex(), Chain::start(uuid).0],
    )
    .map(drop)
}

/// The file has this format now, or a later one that it had already.
pub(crate) fn raise_format(db: &Connection, format: i64) -> Result<()> {
    db.execute("UPDATE tidemark_station SET format = max(format, ?1)", [format]).map(drop)
}

/// The file follows another schema.
pub(crate) fn follow(db: &Connection, schema: &Schema) -> Result<()> {
    let sql = "UPDATE tidemark_station SET schema = ?1, fingerprint = ?2";
    db.execute(sql, (schema.source(), schema.fingerprint().to_hex())).map(drop)
}

/// A join begins: keeps the token to ask with, for the code of this digest. The token that an earlier attempt with the
/// same code kept stays; a file that has a number keeps nothing.
pub(crate) fn begin_join(db: &Connection, code_digest: [u8; 32], fresh_token: &Secret, server: &str) -> Result<()> {
    db.execute(
        "UPDATE tidemark_station SET token = CASE WHEN join_digest IS ?1 AND token IS NOT NULL THEN token ELSE ?2 END, join_digest = ?1, \
         server = ?3 WHERE number IS NULL",
        params![code_digest, fresh_token.0, server],
    )
    .map(drop)
}

/// Forgets which code the token was made for. Only a planted bug does that.
pub(crate) fn forget_join_code(db: &Connection) -> Result<()> {
    db.execute("UPDATE tidemark_station SET join_digest = NULL", []).map(drop)
}

/// The server took the file for a station.
pub(crate) fn joined(db: &Connection, membership: &Membership, limits: &FrameLimits, now_ms: i64) -> Result<()> {
    db.execute(
        "UPDATE tidemark_station SET number = ?1, name = ?2, limits = ?3, last_contact_ms = ?4, last_error = NULL, last_error_ms = NULL",
        params![membership.number.get(), membership.name, json(limits), now_ms],
    )
    .map(drop)
}

/// The server is at another URL.
pub(crate) fn move_server(db: &Connection, server: &str) -> Result<()> {
    db.execute("UPDATE tidemark_station SET server = ?1", [server]).map(drop)
}

/// The server answered, and the histories agree: a fork that was seen is over.
pub(crate) fn agreed(db: &Connection, now_ms: i64) -> Result<()> {
    let sql =
        "UPDATE tidemark_station SET forked = NULL, last_contact_ms = ?1, last_error = NULL, last_error_ms = NULL";
    db.execute(sql, [now_ms]).map(drop)
}

/// Nothing may be sent from the file any more; `kept` is a [`Halt`](crate::halt::Halt) as it is kept. `heard_ms`: the
/// server has just said so.
pub(crate) fn halted(db: &Connection, kept: &str, heard_ms: Option<i64>) -> Result<()> {
    let sql = "UPDATE tidemark_station SET forked = ?1, last_contact_ms = coalesce(?2, last_contact_ms)";
    db.execute(sql, (kept, heard_ms)).map(drop)
}

/// Something went wrong; `noted` is what [`crate::noted`] makes of it.
pub(crate) fn failed(db: &Connection, now_ms: i64, noted: &str) -> Result<()> {
    db.execute("UPDATE tidemark_station SET last_error = ?1, last_error_ms = ?2", (noted, now_ms)).map(drop)
}

/// Changes up to `seq` leave the file by hand, under whatever number it has.
pub(crate) fn carried(db: &Connection, seq: u64) -> Result<()> {
    db.execute("UPDATE tidemark_station SET sent_seq = max(sent_seq, ?1)", [seq as i64]).map(drop)
}

/// Changes up to `seq` are sent as station `number`. Returns `false`, and notes nothing, when the file has another
/// number by now.
pub(crate) fn sent(db: &Connection, number: StationNumber, seq: u64) -> Result<bool> {
    let sql = "UPDATE tidemark_station SET sent_seq = max(sent_seq, ?1) WHERE number = ?2";
    Ok(db.execute(sql, (seq as i64, number.get()))? == 1)
}

/// The server acknowledged changes up to a new tidemark.
pub(crate) fn acknowledged(db: &Connection, tidemark: Cursor, limits: &FrameLimits, now_ms: i64) -> Result<()> {
    db.execute(
        "UPDATE tidemark_station SET tidemark = ?1, chain = ?2, limits = ?3, last_contact_ms = ?4, last_error = NULL, \
         last_error_ms = NULL",
        params![tidemark.seq as i64, tidemark.chain.0, json(limits), now_ms],
    )
    .map(drop)
}

/// The station that a file becomes when it rejoins.
#[derive(Debug)]
pub(crate) struct NewStation<'a> {
    /// Its uuid.
    pub(crate) uuid: [u8; 16],
    /// Its number.
    pub(crate) number: StationNumber,
    /// Its name.
    pub(crate) name: &'a str,
    /// The URL of its server.
    pub(crate) server: &'a str,
    /// Its token.
    pub(crate) token: &'a Secret,
    /// Digest of the join code that the token was made for.
    pub(crate) join_digest: [u8; 32],
    /// The bounds of a frame the server told.
    pub(crate) limits: &'a FrameLimits,
}

/// The file becomes another station, of whose log nothing is upstream.
pub(crate) fn become_station(db: &Connection, new: &NewStation<'_>, now_ms: i64) -> Result<()> {
    db.execute(
        "UPDATE tidemark_station SET station_uuid = ?1, number = ?2, name = ?3, server = ?4, token = ?5, join_digest = ?6, tidemark = 0, \
         chain = ?7, sent_seq = 0, limits = ?8, forked = NULL, last_contact_ms = ?9, last_error = NULL, last_error_ms = NULL",
        params![
            new.uuid,
            new.number.get(),
            new.name,
            new.server,
            new.token.0,
            new.join_digest,
            Chain::start(new.uuid).0,
            json(new.limits),
            now_ms
        ],
    )
    .map(drop)
}

/// The token that the file asked for beside the one it has is in force: it replaces that, with its code and server.
pub(crate) fn take_kept_token(db: &Connection, name: &str, limits: &FrameLimits, now_ms: i64) -> Result<()> {
    let sql = "UPDATE tidemark_station SET token = r.token, join_digest = r.join_digest, server = r.server, name = ?1, limits = ?2,
             last_contact_ms = ?3, last_error = NULL, last_error_ms = NULL
         FROM tidemark_rejoin AS r WHERE r.station_uuid = tidemark_station.station_uuid";
    db.execute(sql, params![name, json(limits), now_ms])?;
    let sql = "DELETE FROM tidemark_rejoin WHERE station_uuid = (SELECT station_uuid FROM tidemark_station)";
    db.execute(sql, []).map(drop)
}

fn json(limits: &FrameLimits) -> String {
    serde_json::to_string(limits).expect("BUG: four numbers serialise")
}
