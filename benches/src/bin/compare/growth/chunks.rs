//! More and more chunks: of the table, and touched by one push.

use anyhow::Result;
use tidemark_benches::{FIRST_US, narrow_schema_with, write_readings_at};

use super::ground::{Ground, rounds};
use super::grown::{Grown, Noted};
use crate::copying::copy;
use crate::options::Options;

/// The changes of a push.
const PROBE: u64 = 10_000;
/// The chunks that there are at most, and how far apart they lie.
const CHUNKS: [u64; 4] = [1, 10, 100, 1_000];
const DAY_US: i64 = 86_400_000_000;

/// Measures the part `chunks`.
///
/// # Errors
/// When ours fails or its rows differ.
pub fn run(options: &Options, grown: &mut Noted) -> Result<()> {
    let mut ground = Ground::new(narrow_schema_with("chunk = \"1 days\"").source())?;
    // The one before the first is there for the push of one change, which shall make no chunk.
    let (mut there, rounds) = (0, rounds(options.rounds, PROBE));
    for chunks in CHUNKS {
        write_readings_at(&mut ground.db, chunks - there, |n| FIRST_US + (there + n) as i64 * DAY_US)?;
        there = chunks;
        ground.push()?;
        let last = FIRST_US + (chunks - 1) as i64 * DAY_US;
        let micros = ground.cost(rounds, PROBE, |_| Ok(()), |db, rows| write_readings_at(db, rows, |_| last))?;
        grown.note(Grown { what: "chunks, one touched", size: chunks, changes: PROBE, micros, copy_micros: None });
    }
    for chunks in CHUNKS {
        // In the order of time, as a station writes them.
        let spread = |n: u64| FIRST_US + (n * chunks / PROBE) as i64 * DAY_US;
        let write = |db: &mut _, rows| write_readings_at(db, rows, spread);
        // Fewer rounds: a push that touches 1,000 chunks takes seconds.
        let micros = ground.cost(options.rounds, PROBE, |_| Ok(()), write)?;
        let copy_micros = Some(copied(&ground, options.rounds)?);
        grown.note(Grown { what: "chunks touched, of 1,000", size: chunks, changes: PROBE, micros, copy_micros });
    }
    ground.check()
}

/// What COPY of the last push takes, microseconds a row, into the table without them.
fn copied(ground: &Ground, rounds: usize) -> Result<f64> {
    let client = &ground.client;
    let file: String = client.value("SELECT current_setting('data_directory') || '/spread'")?;
    let last = format!("id > (SELECT max(id) - {PROBE} FROM bench.reading)");
    client
        .batch(&format!("COPY (SELECT * FROM bench.reading WHERE {last} ORDER BY id) TO '{file}' (FORMAT binary)"))?;
    let mut costs = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        client.batch(&format!("DELETE FROM bench.reading WHERE {last}"))?;
        // Else the index keeps what was deleted, and each key would be looked for among those before it.
        client.batch("VACUUM bench.reading")?;
        client.batch("CHECKPOINT")?;
        costs.push(copy(client, &file, PROBE)?.seconds / PROBE as f64 * 1e6);
    }
    Ok(tidemark_benches::median(&mut costs))
}
