//! What stands in a table of readings: how many rows, and a checksum of their content.

use anyhow::Result;
use tidemark_e2e::postgres::PgClient;

/// The columns, in the order of the checksum and of the file that peers read.
pub const COLUMNS: &str = "id, station, site_id, measured_at, temperature, humidity, pressure, note";

/// The sum over the rows of the first six bytes of SHA-256 of: id, station, site, microseconds since 1970, the three
/// reals' bits in hexadecimal, the note or `\N`, with commas between. It does not depend on the order of the rows, and
/// a row that is missing, doubled or different changes it. benches/peers/rows.mjs computes the same.
const ROW: &str = r"('x' || encode(substr(sha256(convert_to(concat_ws(',', id, station, site_id,
    (extract(epoch FROM measured_at) * 1000000)::bigint, encode(float8send(temperature), 'hex'),
    encode(float8send(humidity), 'hex'), encode(float8send(pressure), 'hex'), coalesce(note, '\N')), 'UTF8')), 1, 6), 'hex'))
    ::bit(48)::bigint";

/// Rows and their checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// How many.
    pub rows: u64,
    /// The checksum.
    pub sum: String,
}

/// The content of `bench.reading`: of the `limit` rows with the smallest ids.
///
/// # Errors
/// The database's.
pub fn of_table(client: &PgClient, limit: u64) -> Result<Content> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT count(*), coalesce(sum({ROW}), 0)::text FROM (SELECT * FROM bench.reading ORDER BY id LIMIT {limit}) r"
    );
    let rows = client.query(&sql, &[])?;
    let row = rows.first().ok_or_else(|| anyhow::anyhow!("BUG: an aggregate has a row"))?;
    Ok(Content { rows: row.try_get::<_, i64>(0)? as u64, sum: row.try_get(1)? })
}
