//! The one row of `tidemark_station`: what the file knows about itself and its server. It is read here; `write` has
//! the named writers.

pub(crate) mod write;

use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::Remedy;
use tidemark_core::schema::{Fingerprint, Schema};

use crate::error::{Error, Result, Secret};
use crate::halt::Halt;
use crate::noted;

/// The table's name.
pub const STATION_TABLE: &str = "tidemark_station";

/// `CREATE TABLE` of the station's row.
pub(crate) const CREATE_STATION: &str = "CREATE TABLE tidemark_station (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    format INTEGER NOT NULL,
    station_uuid BLOB NOT NULL,
    schema TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    number INTEGER,
    name TEXT,
    server TEXT,
    token BLOB,
    join_digest BLOB,
    tidemark INTEGER NOT NULL DEFAULT 0,
    chain BLOB NOT NULL,
    sent_seq INTEGER NOT NULL DEFAULT 0,
    limits TEXT,
    forked TEXT,
    last_contact_ms INTEGER,
    last_error TEXT,
    last_error_ms INTEGER
)";

/// The number and name of a station that has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its number.
    pub number: StationNumber,
    /// The name the server's operator gave it.
    pub name: String,
}

/// The station's row without what never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Number and name; `None` before the station joined.
    pub membership: Option<Membership>,
    /// The server's URL, since the first attempt to join.
    pub server: Option<String>,
    /// The token, since the first attempt to join.
    pub token: Option<Secret>,
    /// Digest of the join code that the token was made for: blake3 of the code's secret.
    pub join_digest: Option<[u8; 32]>,
    /// Last seq durable upstream, and the chain there.
    pub tidemark: Cursor,
    /// Highest seq that was ever sent.
    pub sent_seq: u64,
    /// The bounds of a frame the server told last.
    pub limits: Option<FrameLimits>,
    /// The reason why nothing may be sent from the file; `None` while there is none.
    pub forked: Option<Halt>,
    /// The time of the server's last answer, milliseconds since 1970 UTC.
    pub last_contact_ms: Option<i64>,
    /// The last failure in words, if nothing succeeded since.
    pub last_error: Option<String>,
    /// The remedy that the server named for it.
    pub last_remedy: Option<Remedy>,
    /// The time of that failure, milliseconds since 1970 UTC.
    pub last_error_ms: Option<i64>,
}

/// Reads the format number; `None` when there is no such table.
pub(crate) fn read_format(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let there: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'tidemark_station')",
        [],
        |row| row.get(0),
    )?;
    if !there {
        return Ok(None);
    }
    db.query_row("SELECT CAST(format AS INTEGER) FROM tidemark_station", [], |row| row.get(0)).optional()
}

/// The schema the file follows now.
pub(crate) fn read_schema(db: &Connection, file: &str) -> Result<Schema> {
    let (toml, fingerprint): (String, String) = db
        .query_row("SELECT schema, fingerprint FROM tidemark_station", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| row_error(file, error))?;
    parse_schema(file, &toml, &fingerprint)
}

/// Parses a schema as the file keeps it, and compares its fingerprint with the one that stands beside it.
pub(crate) fn parse_schema(file: &str, toml: &str, fingerprint: &str) -> Result<Schema> {
    let schema = Schema::parse(toml).map_err(|error| damaged(file, format!("its schema does not parse: {error}")))?;
    if Fingerprint::from_hex(fingerprint) != Some(schema.fingerprint()) {
        return Err(damaged(file, "its schema does not have the fingerprint that stands beside it"));
    }
    Ok(schema)
}

/// Something in Tidemark's own tables is not what Tidemark wrote.
pub(crate) fn damaged(file: &str, detail: impl Into<String>) -> Error {
    Error::StationRow { file: file.to_owned(), detail: detail.into() }
}

/// A value of another type than the column's is damage; the rest are SQLite's own errors.
pub(crate) fn row_error(file: &str, error: rusqlite::Error) -> Error {
    use rusqlite::Error as E;
    match error {
        E::InvalidColumnType(..) | E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) => {
            Error::StationRow { file: file.to_owned(), detail: error.to_string() }
        }
        E::QueryReturnedNoRows => Error::StationRow { file: file.to_owned(), detail: "its row is missing".into() },
        E::Utf8Error(..) => Error::StationRow { file: file.to_owned(), detail: error.to_string() },
        other => Error::sqlite(file, "read the station's row", other),
    }
}

pub(crate) fn read(db: &Connection, file: &str) -> Result<Meta> {
    struct Raw {
        number: Option<i64>,
        name: Option<String>,
        server: Option<String>,
        token: Option<Vec<u8>>,
        join_digest: Option<Vec<u8>>,
        tidemark: i64,
        chain: Vec<u8>,
        sent_seq: i64,
        limits: Option<String>,
        forked: Option<String>,
        last_contact_ms: Option<i64>,
        last_error: Option<String>,
        last_error_ms: Option<i64>,
    }
    let damaged = |detail: &str| damaged(file, detail);
    let raw = db
        .query_row(
            "SELECT number, name, server, token, join_digest, tidemark, chain, sent_seq, limits, forked, last_contact_ms, \
             last_error, last_error_ms FROM tidemark_station",
            [],
            |row| {
                Ok(Raw {
                    number: row.get(0)?,
                    name: row.get(1)?,
                    server: row.get(2)?,
                    token: row.get(3)?,
                    join_digest: row.get(4)?,
                    tidemark: row.get(5)?,
                    chain: row.get(6)?,
                    sent_seq: row.get(7)?,
                    limits: row.get(8)?,
                    forked: row.get(9)?,
                    last_contact_ms: row.get(10)?,
                    last_error: row.get(11)?,
                    last_error_ms: row.get(12)?,
                })
            },
        )
        .map_err(|error| row_error(file, error))?;
    let bytes_32 = |bytes: Option<Vec<u8>>, what: &str| {
        bytes.map(|bytes| <[u8; 32]>::try_from(bytes).map_err(|_| damaged(what))).transpose()
    };
    let membership = match raw.number {
        None => None,
        Some(number) => {
            let number = u32::try_from(number).ok().and_then(|number| StationNumber::new(number).ok());
            Some(Membership {
                number: number.ok_or_else(|| damaged("number is not a station number"))?,
                name: raw.name.unwrap_or_default(),
            })
        }
    };
    let name = membership.as_ref().map_or_else(String::new, |membership: &Membership| membership.name.clone());
    let (last_error, last_remedy) = raw.last_error.as_deref().map(noted::read).unzip();
    let last_remedy = last_remedy.flatten();
    Ok(Meta {
        membership,
        server: raw.server,
        token: bytes_32(raw.token, "token is not 32 bytes")?.map(Secret),
        join_digest: bytes_32(raw.join_digest, "join_digest is not 32 bytes")?,
        tidemark: Cursor {
            seq: u64::try_from(raw.tidemark).map_err(|_| damaged("tidemark is negative"))?,
            chain: Chain(raw.chain.try_into().map_err(|_| damaged("chain is not 32 bytes"))?),
        },
        sent_seq: u64::try_from(raw.sent_seq).map_err(|_| damaged("sent_seq is negative"))?,
        // Only a hint for the size of the next frame: what does not parse is as good as none.
        limits: raw.limits.and_then(|limits| serde_json::from_slice(limits.as_bytes()).ok()),
        forked: raw.forked.as_deref().map(|kept| Halt::read(kept).of(&name)),
        last_contact_ms: raw.last_contact_ms,
        last_error,
        last_remedy,
        last_error_ms: raw.last_error_ms,
    })
}
