//! What a station spends on a change before it is sent, in nanoseconds by stage: reading the log, converting and
//! chaining, the frame's body, its compression.
//!
//! `cargo run --release -p tidemark-benches --bin cut [-- ROWS [ROUNDS]]`, default 50,000 rows of 7 columns, 20 rounds.
//! Each stage is measured by itself and the whole as `tidemark push` does it; the quickest round is printed, since a
//! busy machine only makes a round longer.
#![allow(clippy::disallowed_methods)] // measures real time

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tidemark_benches::{narrow_schema, write_readings};
use tidemark_client::ack::{Ack, acknowledge};
use tidemark_client::outbox::{Caps, cut};
use tidemark_client::sync::{Reply, join};
use tidemark_client::{Secret, Store};
use tidemark_core::batch::Batch;
use tidemark_core::decision::Cursor;
use tidemark_core::frame::{Compression, encode};
use tidemark_core::ids::StationNumber;
use tidemark_core::joincode::JoinCode;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::JoinReply;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let rows: u32 = args.next().map_or(Ok(50_000), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(20), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let mut store = Store::init(folder.path().join("station.db"), &narrow_schema(), [7; 16])?;
    join_nobody(&mut store)?;
    let file = folder.path().join("station.db");
    write_readings(&mut rusqlite::Connection::open(file)?, u64::from(rows))?;
    let caps = Caps { rows, body_bytes: usize::MAX / 2, cells: usize::MAX / 2 };
    let mut whole = || -> Result<Option<Batch>> { Ok(cut(&mut store, &caps, 0)?.map(|cut| cut.batch)) };
    let Some(batch) = whole()? else { anyhow::bail!("the log is empty") };
    ensure!(batch.span().count == rows, "{} changes are in the batch", batch.span().count);
    let each = |stage: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..rounds {
            let begin = Instant::now();
            stage()?;
            least = least.min(begin.elapsed().as_nanos() as f64 / f64::from(rows));
        }
        Ok(least)
    };
    let cutting = each(&mut || whole().map(|batch| drop(black_box(batch))))?;
    let reading = each(&mut || read(&store))?;
    let body = each(&mut || encoded(&batch, Compression::None))?;
    let frame = each(&mut || encoded(&batch, Compression::Zstd))?;
    println!("{rows} changes, least of {rounds} rounds, ns a change:");
    println!(
        "read the log {reading:.0}; convert and chain {:.0}; body {body:.0}; compress {:.0}",
        cutting - reading,
        frame - body
    );
    println!(
        "in all {:.0}; {:.2} bytes a change",
        cutting + frame,
        encode(&batch, Compression::Zstd)?.len() as f64 / f64::from(rows)
    );
    let upto = Cursor { seq: batch.span().last_seq(), chain: batch.chain_after };
    let base = Cursor { seq: 0, chain: batch.chain_before };
    let limits = FrameLimits::DEFAULT;
    let ack = Ack { base, upto, largest_ids: &[], rejected_here: &[], rejected_by_server: &[], limits, now_ms: 0 };
    let begin = Instant::now();
    acknowledge(&mut store, &ack)?;
    println!("acknowledge and trim {:.0}, once", begin.elapsed().as_nanos() as f64 / f64::from(rows));
    Ok(())
}

fn encoded(batch: &Batch, compression: Compression) -> Result<()> {
    black_box(encode(batch, compression)?);
    Ok(())
}

/// Steps through the log and looks at each value.
fn read(store: &Store) -> Result<()> {
    let mut query = store
        .connection()
        .prepare("SELECT seq, at, tbl, op, c0, c1, c2, c3, c4, c5, c6 FROM tidemark_log ORDER BY seq")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        for n in 0..11 {
            black_box(row.get_ref(n)?);
        }
    }
    Ok(())
}

/// Makes a file a station's, of a server that is not there.
fn join_nobody(store: &mut Store) -> Result<()> {
    let code = JoinCode { url: "http://127.0.0.1:1".into(), secret: [9; 32], pin: None }.encode();
    join::ask(store, &code, None, Secret([5; 32]))?;
    let station = StationNumber::new(1).context("1 is a station number")?;
    let reply = JoinReply { station, name: "bench".into(), limits: FrameLimits::DEFAULT };
    join::hear(store, 0, &Reply { status: 200, body: serde_json::to_vec(&reply)?, ..Reply::default() })?;
    Ok(())
}
