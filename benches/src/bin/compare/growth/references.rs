//! A table whose rows refer to three others, beside the same table without references.

use anyhow::Result;
use rusqlite::Connection;
use tidemark_benches::{FIRST_US, MINUTE_US};
use tidemark_core::timestamp::format;

use super::ground::{Ground, rounds};
use super::grown::{Grown, Noted};
use crate::options::Options;

/// 7 columns, three of which refer to other tables.
const SCHEMA: &str = r#"
name = "bench"
version = 1
[tables.site.columns]
id = { type = "integer" }
name = { type = "text" }
[tables.sensor.columns]
id = { type = "integer" }
name = { type = "text" }
[tables.observer.columns]
id = { type = "integer" }
name = { type = "text" }
[tables.reading]
time = "measured_at"
[tables.reading.columns]
id = { type = "integer" }
site_id = { type = "integer", references = "site" }
sensor_id = { type = "integer", references = "sensor" }
observer_id = { type = "integer", references = "observer" }
measured_at = { type = "timestamp" }
value = { type = "real" }
note = { type = "text" }
"#;
/// The rows of each table that is referred to.
const PARENTS: u64 = 1_000;
/// The changes of a push.
const PROBE: u64 = 100_000;

/// Measures the part `references`.
///
/// # Errors
/// When ours fails or its rows differ.
pub fn run(options: &Options, grown: &mut Noted) -> Result<()> {
    for references in [0, 3] {
        let mut schema = SCHEMA.to_owned();
        if references == 0 {
            schema = ["site", "sensor", "observer"]
                .iter()
                .fold(schema, |text, table| text.replace(&format!(", references = \"{table}\""), ""));
        }
        let mut ground = Ground::new(&schema)?;
        for table in ["site", "sensor", "observer"] {
            ground.db.execute_batch(&format!(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {PARENTS}) \
                 INSERT INTO {table} (name) SELECT 'number ' || n FROM n"
            ))?;
        }
        ground.push()?;
        let micros = ground.cost(rounds(options.rounds, PROBE), PROBE, |_| Ok(()), write)?;
        grown.note(Grown { what: "references", size: references, changes: PROBE, micros, copy_micros: None });
        ground.check()?;
    }
    Ok(())
}

fn write(db: &mut Connection, rows: u64) -> Result<()> {
    let transaction = db.transaction()?;
    {
        let mut insert = transaction.prepare(
            "INSERT INTO reading (site_id, sensor_id, observer_id, measured_at, value, note) VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        for n in 0..rows {
            let parent = |step: u64| (n * step % PARENTS + 1) as i64;
            let time = format(FIRST_US + n as i64 * MINUTE_US);
            insert.execute((parent(1), parent(7), parent(13), time, n as f64, (n % 10 == 0).then_some("checked")))?;
        }
    }
    Ok(transaction.commit()?)
}
