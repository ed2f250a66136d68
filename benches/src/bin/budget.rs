//! What a change costs on its whole way, and where: wall time, the processor time of station, server and PostgreSQL,
//! and the server's stages; beside what a binary COPY of the same rows takes.
//!
//! `cargo run --release -p tidemark-benches --bin budget [-- inserts|mixed [CHANGES [ROUNDS]]]`, default 1,000,000
//! inserts of 7 columns into a hypertable, or 100,000 changes over the 18 tables of the shrinkage schema (with the
//! Python of scripts/setup-python in TIDEMARK_TEST_PYTHON), 5 rounds; nanoseconds a change, medians. Programs of the
//! same profile must be built before. The stages of one batch lie behind one another, and those of the next beside
//! them, so they do not add up to the wall time. It fails when a row is not upstream.
#![allow(clippy::disallowed_methods)] // measures real time

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_benches::{Plant, ServerSide, median, narrow_schema, push, write_readings};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::process::ServerProcess;

/// The stages of a batch (docs/internals/metrics.md).
const STAGES: [&str; 7] = ["decode", "begin", "plan", "ask", "write", "ledger", "commit"];

/// Nanoseconds a change, by name.
type Costs = Vec<(String, f64)>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let part = args.next().unwrap_or_else(|| "inserts".to_owned());
    let mut number = |or| args.next().map_or(Ok(or), |text| text.parse::<u64>().with_context(|| format!("{text:?}")));
    let is_mixed = match part.as_str() {
        "inserts" => false,
        "mixed" => true,
        _ => bail!("say `inserts` or `mixed`"),
    };
    let changes = number(if is_mixed { 100_000 } else { 1_000_000 })?.max(1);
    let rounds = number(5)?.max(1);
    let python = || std::env::var_os("TIDEMARK_TEST_PYTHON").map(PathBuf::from);
    let made = || Plant::make(&python().context("TIDEMARK_TEST_PYTHON is not set")?, changes);
    let plant = is_mixed.then(made).transpose()?;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let mut columns: Vec<(String, Vec<f64>)> = Vec::new();
    for round in 1..=rounds {
        let costs = match &plant {
            None => inserts(&cluster, round, changes)?,
            Some(plant) => mixed(&cluster, round, plant)?,
        };
        for (at, (name, ns)) in costs.into_iter().enumerate() {
            match columns.get_mut(at) {
                Some((_, values)) => values.push(ns),
                None => columns.push((name, vec![ns])),
            }
        }
    }
    println!("nanoseconds a change, {changes} changes, {part}, medians of {rounds}:");
    for (name, mut values) in columns {
        println!("{name:<34} {:>7.0}", median(&mut values));
    }
    Ok(())
}

/// One push of so many inserts, then a COPY of the rows.
fn inserts(cluster: &PostgresCluster, round: u64, rows: u64) -> Result<Costs> {
    let (field, client, server) = served(cluster, round, |database| Field::new(narrow_schema().source(), database))?;
    let station = field.join_station("bench", &server.url())?;
    write_readings(&mut station.open()?, rows)?;
    let mut costs = pushed(&client, &server, &station)?;
    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == rows, "upstream has {} of {rows} rows", seen.rows);

    let file = cluster.folder().join("budget.copy").to_string_lossy().into_owned();
    client.batch(&format!("COPY (SELECT * FROM bench.reading ORDER BY id) TO '{file}' (FORMAT binary)"))?;
    client.batch("TRUNCATE bench.reading")?;
    client.batch("CHECKPOINT")?;
    let upstream = ServerSide::of(server.process.pid(), &client)?;
    let (before, begin) = (upstream.taken()?, Instant::now());
    client.batch(&format!("COPY bench.reading FROM '{file}' (FORMAT binary)"))?;
    let each = |seconds: f64| seconds * 1e9 / rows as f64;
    costs.push(("COPY: wall".to_owned(), each(begin.elapsed().as_secs_f64())));
    costs.push(("COPY: processor, PostgreSQL".to_owned(), each(upstream.since(before)?[1].seconds())));
    Ok(costs)
}

/// One push of a mix of inserts, updates and deletes.
fn mixed(cluster: &PostgresCluster, round: u64, plant: &Plant) -> Result<Costs> {
    let (field, client, server) = served(cluster, round, Field::shrinkage)?;
    let station = plant.station(&field, &server)?;
    let costs = pushed(&client, &server, &station)?;
    field.assert_upstream_equals(&[&station])?;
    Ok(costs)
}

/// A field of its own, a connection to its database, and a server that tells its metrics.
fn served(
    cluster: &PostgresCluster,
    round: u64,
    field: impl FnOnce(Option<String>) -> Result<Field>,
) -> Result<(Field, PgClient, ServerProcess)> {
    let database = format!("budget{round}");
    let mut field = field(Some(cluster.create_database(&database)?))?;
    field.migrate()?;
    field.serve_args = ["--metrics-listen", "127.0.0.1:0"].map(str::to_owned).into();
    let server = field.serve()?;
    Ok((field, cluster.admin(&database)?, server))
}

/// Pushes all that is pending.
fn pushed(client: &PgClient, server: &ServerProcess, station: &Station) -> Result<Costs> {
    client.batch("CHECKPOINT")?;
    let changes = station.waiting()?;
    let each = |seconds: f64| seconds * 1e9 / changes as f64;
    let upstream = ServerSide::of(server.process.pid(), client)?;
    let (scraped, taken) = (scrape(server)?, upstream.taken()?);
    let pushed = push(station, server)?;
    let [of_server, of_postgres] = upstream.since(taken)?;
    let now = scrape(server)?;
    let since = |series: &str| anyhow::Ok(each(value(&now, series)? - value(&scraped, series)?));
    let mut costs = vec![
        ("wall".to_owned(), each(pushed.seconds)),
        ("processor: station".to_owned(), each(pushed.station_processor.seconds())),
        ("processor: server".to_owned(), each(of_server.seconds())),
        ("processor: PostgreSQL".to_owned(), each(of_postgres.seconds())),
    ];
    for stage in STAGES {
        let series = format!("tidemark_batch_stage_seconds_sum{{stage=\"{stage}\"}}");
        costs.push((format!("stage: {stage}"), since(&series)?));
    }
    costs.push(("wait for a turn to apply".to_owned(), since("tidemark_turn_wait_seconds_sum{queue=\"apply\"}")?));
    Ok(costs)
}

/// What the server measures of itself. It makes the text anew after a fifth of a second.
fn scrape(server: &ServerProcess) -> Result<String> {
    std::thread::sleep(Duration::from_millis(300));
    let address = server.metrics().context("the server does not say where its metrics are")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of a series; 0 where nothing was counted yet.
fn value(scraped: &str, series: &str) -> Result<f64> {
    let line = scraped.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(Ok(0.0), |value| Ok(value.trim().parse()?))
}
