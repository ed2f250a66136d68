//! Rows for the benches: inventory records of the shrinkage schema, as a plant writes them.

use tidemark_core::batch::{Batch, BatchBuilder, LogRow};
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;
use tidemark_core::value::SqliteValue;

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

/// Cuts a batch of `rows` inserts out of a log made up on the spot.
///
/// # Panics
/// BUG: when 1 is no station number.
#[must_use]
pub fn narrow_batch(schema: &Schema, rows: usize) -> Batch {
    let station = StationNumber::new(1).expect("BUG: 1 is a station number");
    let mut builder = BatchBuilder::new(schema, station, 1, Chain::start([1; 16]));
    for n in 0..rows {
        let time = tidemark_core::timestamp::format(1_700_000_000_000_000 + n as i64 * 60_000_000);
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
