//! What an append table saves and costs in PostgreSQL: binary COPY of the same rows into the table with its key,
//! without one, and with indexes that it could have instead, on TimescaleDB; and what a look by key costs.
//!
//! `cargo run -p tidemark-benches --bin append [ROWS [ROUNDS]]`, default a million rows and 5 rounds, in which the ways
//! take turns; PostgreSQL does the work, so how this is built does not matter. It is set up as for the tests, with
//! fsync and synchronous_commit on.
#![allow(clippy::disallowed_methods)] // measures real time

use std::time::Instant;

use anyhow::{Context as _, Result};
use tidemark_benches::{append_schema, median, narrow_schema};
use tidemark_core::postgres::{TimePartitioning, create_all};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};

/// A way: what it is called, whether the table is an append table, and what is done to it then.
const WAYS: [(&str, bool, &str); 4] = [
    ("with its primary key", false, ""),
    ("append table", true, ""),
    ("append table, with a plain index on the key", true, "CREATE INDEX ON bench.reading (id)"),
    ("append table, with a BRIN index on the key", true, "CREATE INDEX ON bench.reading USING brin (id)"),
];
/// Keys that are looked for at once: neighbours, as in a batch that is sent again.
const LOOKED_FOR: i64 = 10_000;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let rows: i64 = args.next().map_or(Ok(1_000_000), |rows| rows.parse()).context("ROWS is a number")?;
    let rounds: usize = args.next().map_or(Ok(5), |rounds| rounds.parse()).context("ROUNDS is a number")?;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let narrow = narrow_schema();
    let append = append_schema();
    let mut ways = Vec::new();
    for (n, (name, is_append, then)) in WAYS.into_iter().enumerate() {
        let database = format!("append_{n}");
        cluster.create_database(&database)?;
        let client = cluster.admin(&database)?;
        client.batch("CREATE EXTENSION IF NOT EXISTS timescaledb")?;
        for statement in create_all(if is_append { &append } else { &narrow }, TimePartitioning::Hypertable) {
            client.batch(&statement)?;
        }
        client.batch(then)?;
        ways.push((name, client, Vec::new(), Vec::new()));
    }
    let file: String = ways[0].1.value("SELECT current_setting('data_directory') || '/rows'")?;
    ways[0].1.batch(&format!(
        "COPY (SELECT (1::bigint << 32) + n, n % 20 + 1, timestamptz '2023-11-14 22:13:20+00' + n * interval '1 minute',
                   10 + sin(n / 50.0) * 15, 60 - sin(n / 50.0) * 20, 1013.25::float8,
                   CASE WHEN n % 10 = 0 THEN 'checked by hand' END, 1
               FROM generate_series(1::bigint, {rows}) AS n) TO '{file}' (FORMAT BINARY)"
    ))?;
    for round in 0..=rounds {
        for (_, client, copies, looks) in &mut ways {
            client.batch("TRUNCATE bench.reading; CHECKPOINT")?;
            let copy = seconds(client, &format!("COPY bench.reading FROM '{file}' (FORMAT BINARY)"))?;
            client.batch("VACUUM ANALYZE bench.reading")?;
            let from = (1 << 32) + rows / 2;
            let within = format!("id BETWEEN {from} AND {}", from + LOOKED_FOR - 1);
            let look = seconds(client, &format!("SELECT count(*), max(note) FROM bench.reading WHERE {within}"))?;
            // The first round warms up.
            if round > 0 {
                copies.push(copy);
                looks.push(look);
            }
        }
    }
    println!("{rows} rows of 7 columns, {rounds} rounds, medians\n");
    println!("| table | COPY | as fast as with its key | index | look for {LOOKED_FOR} neighbouring keys |");
    println!("|---|---|---|---|---|");
    let keyed = median(&mut ways[0].2.clone());
    for (name, client, copies, looks) in &mut ways {
        let copy = median(copies);
        let bytes: i64 = client.value("SELECT index_bytes::bigint FROM hypertable_detailed_size('bench.reading')")?;
        println!(
            "| {name} | {copy:.2} s | {:.2} × | {:.1} MiB | {:.0} ms |",
            keyed / copy,
            bytes as f64 / f64::from(1 << 20),
            median(looks) * 1000.0
        );
    }
    Ok(())
}

fn seconds(client: &PgClient, sql: &str) -> Result<f64> {
    let begin = Instant::now();
    client.batch(sql)?;
    Ok(begin.elapsed().as_secs_f64())
}
