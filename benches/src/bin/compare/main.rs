//! What is beside us: the whole way of a row, and others with the same rows, in one table.
//!
//! Started by `scripts/compare`, which sets the peers up; `cargo run --release -p tidemark-benches --bin compare [--
//! ROWS [ROUNDS]]` alone measures Tidemark beside COPY and psql.
//!
//! The rows are readings of 7 columns, pending in a station's log, into a TimescaleDB hypertable whose PostgreSQL has
//! fsync and synchronous_commit on. Each round gives every contender the same rows once, one after the other; what
//! stands in its table afterwards is compared with what stood there after our push, which itself is compared with the
//! station's file, cell by cell. The program fails when ours differs, and only then: a peer that fails is shown so.
#![allow(clippy::disallowed_methods)] // measures real time

mod append;
mod checksum;
mod contenders;
mod copying;
mod drivers;
mod growth;
mod mixed;
mod options;
mod replication;
mod report;
mod rounds;
mod standings;

use anyhow::Result;
use options::Options;
use standings::Standings;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut standings = Standings::default();
    if options.wants("inserts") || options.wants("upserts") {
        rounds::run(&options, &mut standings)?;
    }
    if options.wants("append") {
        append::run(&options, &mut standings)?;
    }
    if options.wants("mixed") {
        mixed::run(&options, &mut standings)?;
    }
    let grown = growth::run(&options)?;
    report::print(&standings, &grown);
    if let Some(out) = &options.out {
        std::fs::write(out, report::json(&options, &standings, &grown)?)?;
        println!("\nwritten: {}", out.display());
    }
    Ok(())
}
