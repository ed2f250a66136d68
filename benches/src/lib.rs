//! Rows for the benches, and what they measure with.

mod capture;
mod cpu_time;
mod plant;
mod watched;

pub use capture::{Bench, make_file};
pub use cpu_time::{CpuTime, ServerSide};
pub use plant::Plant;
pub use watched::{Watched, memory_mib, push, watched};

use anyhow::Result;
use tidemark_core::batch::{Batch, BatchBuilder, LogRow};
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;
use tidemark_core::value::SqliteValue;
use tidemark_e2e::postgres::Flavour;
use tidemark_e2e::siege::descriptors;
use tidemark_e2e::siege::site::Site;

/// A batch of `rows` inserted readings of a narrow hypertable (7 columns), the table of the figures in docs/.
///
/// # Panics
/// BUG: when the schema below is not valid.
#[must_use]
pub fn narrow_schema() -> Schema {
    Schema::parse(
        r#"
        name = "bench"
        version = 1
        [tables.reading]
        time = "measured_at"
        [tables.reading.columns]
        id = { type = "integer" }
        site_id = { type = "integer" }
        measured_at = { type = "timestamp" }
        temperature = { type = "real" }
        humidity = { type = "real" }
        pressure = { type = "real" }
        note = { type = "text" }
        "#,
    )
    .expect("BUG: the schema of the benches is valid")
}

/// The same table with one declaration more.
///
/// # Panics
/// BUG: when that is not valid.
#[must_use]
pub fn narrow_schema_with(declaration: &str) -> Schema {
    let text = narrow_schema().source().replace("[tables.reading]", &format!("[tables.reading]\n{declaration}"));
    Schema::parse(&text).expect("BUG: the schema of the benches is valid")
}

/// The same table, declared as an append table.
#[must_use]
pub fn append_schema() -> Schema {
    narrow_schema_with("append = true")
}

/// Cuts a batch of `rows` inserts out of a log made up on the spot.
///
/// # Panics
/// BUG: when 1 is no station number.
#[must_use]
pub fn narrow_batch(schema: &Schema, rows: usize) -> Batch {
    let station = StationNumber::new(1).expect("BUG: 1 is a station number");
    let mut builder = BatchBuilder::new(schema, station, 1, Chain::start([1; 16]));
    for n in 0..rows {
        let time = tidemark_core::timestamp::format(FIRST_US + n as i64 * MINUTE_US);
        let wave = (n as f64 / 50.0).sin();
        let values = [
            SqliteValue::Integer(n as i64 + 1),
            SqliteValue::Integer(n as i64 % 20 + 1),
            SqliteValue::Text(time.as_bytes()),
            SqliteValue::Real(10.0 + wave * 15.0),
            SqliteValue::Real(60.0 - wave * 20.0),
            SqliteValue::Real(1013.25),
            SqliteValue::Text(if n % 10 == 0 { b"checked by hand" } else { b"" }),
        ];
        builder.push(&LogRow {
            seq: n as u64 + 1,
            at_ms: 1_700_000_000_000,
            table: b"reading",
            op: b"I",
            values: &values,
        });
    }
    builder.finish(0)
}

/// Begin of the readings, microseconds since 1970 UTC.
pub const FIRST_US: i64 = 1_700_000_000_000_000;
/// A reading a minute, and after so many from the beginning again: none lies in the future, which a server refuses.
const MINUTES: u64 = 1_000_000;
/// A minute.
pub const MINUTE_US: i64 = 60_000_000;

/// Writes `rows` readings into a station's file, one a minute: a million rows are two years, a hundred chunks.
///
/// # Errors
/// SQLite's.
pub fn write_readings(db: &mut rusqlite::Connection, rows: u64) -> Result<()> {
    write_readings_at(db, rows, |n| FIRST_US + (n % MINUTES) as i64 * MINUTE_US)
}

/// The same with another time of each, microseconds since 1970 UTC.
///
/// # Errors
/// SQLite's.
pub fn write_readings_at(db: &mut rusqlite::Connection, rows: u64, time_us: impl Fn(u64) -> i64) -> Result<()> {
    let mut written = 0;
    while written < rows {
        let transaction = db.transaction()?;
        {
            let mut statement = transaction.prepare(
                "INSERT INTO reading (site_id, measured_at, temperature, humidity, pressure, note) VALUES (?, ?, ?, ?, ?, ?)",
            )?;
            for n in written..(written + 50_000).min(rows) {
                let time = tidemark_core::timestamp::format(time_us(n));
                let wave = (n as f64 / 50.0).sin();
                let note = (n % 10 == 0).then_some("checked by hand");
                statement.execute((n as i64 % 20 + 1, time, 10.0 + wave * 15.0, 60.0 - wave * 20.0, 1013.25, note))?;
            }
        }
        transaction.commit()?;
        written = (written + 50_000).min(rows);
    }
    Ok(())
}

/// A server on TimescaleDB to which many stations, all of them this process, keep idle connections for ten minutes; by
/// itself it closes them after 10 s. It has the descriptors that a shell gives it.
///
/// # Errors
/// When a program is missing, or fails.
pub fn patient_site() -> Result<Site> {
    let site = Site::start(Flavour::Timescale, &["--head-timeout", "600"].map(str::to_owned), false)?;
    descriptors::allow_most()?;
    Ok(site)
}

/// The one in the middle.
#[must_use]
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
