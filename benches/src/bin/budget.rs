//! What a change costs on its whole way, and where: wall time, the processor time of station, server and PostgreSQL,
//! and the server's stages; beside the processor time that PostgreSQL takes for a binary COPY of the same rows.
//!
//! `cargo run --release -p tidemark-benches --bin budget [-- ROWS [ROUNDS]]`, default 1,000,000 inserts of 7 columns
//! into a hypertable, 5 rounds; nanoseconds a change, medians. Programs of the same profile must be built before. The
//! server's stages lie behind one another and beside the station's work, so they do not add up to the wall time. It
//! fails when a row is not upstream.
#![allow(clippy::disallowed_methods)] // measures real time

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tidemark_benches::{Processor, median, narrow_schema, parent_of, push, write_readings};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::ServerProcess;

/// The stages of a batch (docs/internals/metrics.md), and the waits beside them.
const STAGES: [&str; 7] = ["decode", "begin", "plan", "ask", "write", "ledger", "commit"];

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |or| args.next().map_or(Ok(or), |text| text.parse::<u64>().with_context(|| format!("{text:?}")));
    let (rows, rounds) = (number(1_000_000)?.max(1), number(5)?.max(1));
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let mut columns: Vec<(String, Vec<f64>)> = Vec::new();
    for round in 1..=rounds {
        for (at, (name, ns)) in measured(&cluster, round, rows)?.into_iter().enumerate() {
            match columns.get_mut(at) {
                Some((_, values)) => values.push(ns),
                None => columns.push((name, vec![ns])),
            }
        }
    }
    println!("nanoseconds a change, {rows} inserts, medians of {rounds}:");
    for (name, mut values) in columns {
        println!("{name:<34} {:>7.0}", median(&mut values));
    }
    Ok(())
}

/// One push of so many rows, then a COPY of them: nanoseconds a change, by name.
fn measured(cluster: &PostgresCluster, round: u64, rows: u64) -> Result<Vec<(String, f64)>> {
    let database = format!("budget{round}");
    let mut field = Field::new(narrow_schema().source(), Some(cluster.create_database(&database)?))?;
    field.migrate()?;
    field.serve_args = ["--metrics-listen", "127.0.0.1:0"].map(str::to_owned).into();
    let server = field.serve()?;
    let station = field.join_station("bench", &server.url())?;
    write_readings(&mut station.open()?, rows)?;
    let client = cluster.admin(&database)?;
    client.batch("CHECKPOINT")?;
    let postgres = parent_of(client.value::<i32>("SELECT pg_backend_pid()")?.cast_unsigned())?;

    let each = |seconds: f64| seconds * 1e9 / rows as f64;
    let server_before = Processor::of(server.process.pid())?;
    let postgres_before = Processor::of_family(postgres)?;
    let pushed = push(&station, &server)?;
    let server_took = Processor::of(server.process.pid())?.since(server_before);
    let postgres_took = Processor::of_family(postgres)?.since(postgres_before);
    let mut found = vec![
        ("wall".to_owned(), each(pushed.seconds)),
        ("processor: station".to_owned(), each(pushed.station_processor.seconds())),
        ("processor: server".to_owned(), each(server_took.seconds())),
        ("processor: PostgreSQL".to_owned(), each(postgres_took.seconds())),
    ];
    let scraped = scrape(&server)?;
    for stage in STAGES {
        let line = format!("tidemark_batch_stage_seconds_sum{{stage=\"{stage}\"}}");
        found.push((format!("stage: {stage}"), each(value(&scraped, &line)?)));
    }
    let turns = "tidemark_turn_wait_seconds_sum{queue=\"apply\"}";
    found.push(("wait for a turn to apply".to_owned(), each(value(&scraped, turns)?)));

    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == rows, "upstream has {} of {rows} rows", seen.rows);
    let file = cluster.folder().join("budget.copy").to_string_lossy().into_owned();
    client.batch(&format!("COPY (SELECT * FROM bench.reading ORDER BY id) TO '{file}' (FORMAT binary)"))?;
    client.batch("TRUNCATE bench.reading")?;
    client.batch("CHECKPOINT")?;
    let before = Processor::of_family(postgres)?;
    let begin = Instant::now();
    client.batch(&format!("COPY bench.reading FROM '{file}' (FORMAT binary)"))?;
    let wall = begin.elapsed().as_secs_f64();
    let took = Processor::of_family(postgres)?.since(before);
    found.push(("COPY: wall".to_owned(), each(wall)));
    found.push(("COPY: processor, PostgreSQL".to_owned(), each(took.seconds())));
    found.push(("COPY's wall ÷ ours, percent".to_owned(), wall / pushed.seconds * 100.0));
    Ok(found)
}

/// What the server measures of itself.
fn scrape(server: &ServerProcess) -> Result<String> {
    let listening = |line: &str| line.split_once("metrics: http://")?.1.strip_suffix("/metrics")?.parse().ok();
    let said = server.process.output_so_far();
    let address: SocketAddr = said.lines().find_map(listening).context("the server does not say where its metrics are")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of a series.
fn value(scraped: &str, series: &str) -> Result<f64> {
    let line = scraped.lines().find_map(|line| line.strip_prefix(series)).with_context(|| format!("no {series}"))?;
    Ok(line.trim().parse()?)
}
