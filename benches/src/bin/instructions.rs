//! The hot paths, one at a time and as often as told, on the same input each time: for scripts/bench-check, which
//! counts their instructions.
//!
//! `instructions PATH TIMES`; without arguments it lists the paths, each with how many changes one time is about. The
//! input is made before; what it takes to make it is the same however often the path runs, so the difference between
//! two runs is the path alone.

use std::hint::black_box;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::BytesMut;
use rusqlite::Connection;
use tidemark_benches::{narrow_batch, narrow_schema};
use tidemark_core::batch::Batch;
use tidemark_core::chain::Chain;
use tidemark_core::decision::{Cursor, Decision, decide};
use tidemark_core::frame::{Compression, decode_with_prints, encode};
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;
use tidemark_core::{capture, sqlite};
use tidemark_server::ingest::check::{TimeRange, check};
use tidemark_server::ingest::plan::plan;
use tidemark_server::ingest::questions::questions;
use tidemark_server::ingest::resolve::Change;
use tidemark_server::ledger::lineage::Lineage;
use tidemark_server::stores::postgres::copy::put_row;
use tidemark_server::upstream::facts::Facts;

/// The changes of a batch.
const ROWS: usize = 5_000;
/// The decisions of one time, each of which hashes up to two changes of a batch.
const DECISIONS: usize = 1_000;

/// Prepares a path's input, then runs it so many times.
type Path = fn(usize) -> Result<()>;

const PATHS: [(&str, usize, Path); 7] = [
    ("capture", ROWS, captured),
    ("cut", ROWS, cut),
    ("encode", ROWS, encoded),
    ("decode", ROWS, decoded),
    ("decide", DECISIONS, decided),
    ("plan", ROWS, planned),
    ("copy", ROWS, copied),
];

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        PATHS.iter().for_each(|(name, changes, _)| println!("{name} {changes}"));
        return Ok(());
    };
    let times = args.next().context("how many times?")?.parse()?;
    let Some((_, _, path)) = PATHS.iter().find(|(known, _, _)| *known == name) else {
        bail!("{name:?} is none of the paths");
    };
    path(times)
}

/// A station's writer: inserts with the capture triggers, in one transaction.
fn captured(times: usize) -> Result<()> {
    let mut db = Connection::open_in_memory()?;
    let schema = narrow_schema();
    let table = &schema.tables()[0];
    db.execute_batch(&sqlite::create_table(&schema, table))?;
    db.execute_batch(&capture::create_log(&schema))?;
    db.execute_batch(&capture::create_ousted(&schema))?;
    for trigger in capture::create_triggers(table, &[], &[]) {
        db.execute_batch(&trigger)?;
    }
    for _ in 0..times {
        tidemark_benches::write_readings(&mut db, ROWS as u64)?;
    }
    let logged: i64 = db.query_row("SELECT count(*) FROM tidemark_log", [], |row| row.get(0))?;
    ensure!(logged as usize == ROWS * times, "{logged} changes are in the log");
    Ok(())
}

/// A station's push: rows of the log converted, chained and gathered in columns.
fn cut(times: usize) -> Result<()> {
    let schema = narrow_schema();
    for _ in 0..times {
        black_box(narrow_batch(&schema, black_box(ROWS)));
    }
    Ok(())
}

/// A batch into a frame, compressed as stations do.
fn encoded(times: usize) -> Result<()> {
    let batch = narrow_batch(&narrow_schema(), ROWS);
    for _ in 0..times {
        black_box(encode(black_box(&batch), Compression::Zstd)?);
    }
    Ok(())
}

/// A frame back into a batch, its chain checked.
fn decoded(times: usize) -> Result<()> {
    let schema = narrow_schema();
    let frame = encode(&narrow_batch(&schema, ROWS), Compression::Zstd)?;
    for _ in 0..times {
        black_box(decode_with_prints(black_box(&frame), &schema, &FrameLimits::DEFAULT)?);
    }
    Ok(())
}

/// What to do with a batch that overlaps what is upstream.
fn decided(times: usize) -> Result<()> {
    let schema = narrow_schema();
    let batch = narrow_batch(&schema, 2);
    let span = batch.span();
    let cursor = Cursor { seq: 1, chain: batch.chain_at(&schema, 1) };
    for _ in 0..times * DECISIONS {
        let decision = decide(black_box(&cursor), black_box(&span), |seq| batch.chain_at(&schema, seq));
        ensure!(decision == Decision::Apply { skip: 1 }, "BUG: {decision:?}");
    }
    ensure!(span.chain_before != Chain([0; 32]), "BUG: a chain begins with the station");
    Ok(())
}

/// A batch of inserts judged and planned, with nothing upstream.
fn planned(times: usize) -> Result<()> {
    let schema = narrow_schema();
    let batch = narrow_batch(&schema, ROWS);
    for _ in 0..times {
        ensure!(black_box(judged(&schema, &batch)) as usize == ROWS, "BUG: a row was refused");
    }
    Ok(())
}

/// The number of changes that are applied.
fn judged(schema: &Schema, batch: &Batch) -> u32 {
    let lineage = Lineage::new(batch.station);
    let groups = &batch.groups;
    let changes: Vec<Change> = batch.changes().map(|change| Change::of(schema, groups, &change)).collect();
    let refused = check(schema, &lineage, groups, &changes, TimeRange::ANY);
    let asked = questions(schema, &lineage, groups, &changes, &refused);
    plan(schema, &lineage, groups, &changes, &refused, &asked, Facts::default()).applied
}

/// The rows of a batch in the form of binary COPY.
fn copied(times: usize) -> Result<()> {
    let batch = narrow_batch(&narrow_schema(), ROWS);
    let columns = &batch.groups[0].columns;
    for _ in 0..times {
        let mut buffer = BytesMut::with_capacity(1 << 20);
        for row in 0..ROWS {
            put_row(&mut buffer, black_box(columns), row, 1);
        }
        black_box(buffer);
    }
    Ok(())
}
