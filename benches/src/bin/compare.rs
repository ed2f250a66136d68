//! The whole way of a row beside COPY of the same rows, on the same PostgreSQL with TimescaleDB, in one run.
//!
//! `cargo run --release -p tidemark-benches --bin compare [-- ROWS [ROUNDS]]`, default 1,000,000 rows, 3 rounds.
//! It prints rows/s from `tidemark push` started to ended, COPY's rows/s (binary, from a file on the server, one
//! transaction), their ratio, and the most memory that station and server held. Medians of the rounds.
#![allow(clippy::disallowed_methods)] // measures real time

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidemark_benches::{median, memory_kib, write_readings};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let rows: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(3), |text| text.parse())?;
    let schema = tidemark_benches::narrow_schema();
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let mut pushes = Vec::new();
    let mut copies = Vec::new();
    println!("{rows} rows of 7 columns into a hypertable, {rounds} rounds");
    for round in 1..=rounds {
        let database = format!("round{round}");
        let field = Field::new(schema.source(), Some(cluster.create_database(&database)?))?;
        field.migrate()?;
        let server = field.serve()?;
        let station = field.join_station("bench", &server.url())?;
        write_readings(&mut station.open()?, rows)?;

        let begin = Instant::now();
        let mut push = station.start(&["push"])?;
        let (mut station_kib, mut server_kib) = (0, 0);
        while !push.has_ended()? {
            station_kib = memory_kib(push.pid(), "VmHWM").unwrap_or(station_kib);
            server_kib = memory_kib(server.process.pid(), "VmHWM").unwrap_or(server_kib);
            std::thread::sleep(Duration::from_millis(5));
        }
        let pushed = begin.elapsed();
        push.wait()?.success()?;

        // As the superuser: COPY to and from a file of the server.
        let client = cluster.admin(&database)?;
        let count: i64 = client.value("SELECT count(*) FROM bench.reading")?;
        ensure!(count as u64 == rows, "upstream has {count} of {rows} rows");
        let file = client.value::<String>("SELECT current_setting('data_directory') || '/bench.copy'")?;
        client.batch(&format!("COPY (SELECT * FROM bench.reading ORDER BY id) TO '{file}' (FORMAT binary)"))?;
        client.batch("TRUNCATE bench.reading")?;
        let begin = Instant::now();
        client.batch(&format!("COPY bench.reading FROM '{file}' (FORMAT binary)"))?;
        let copied = begin.elapsed();

        let per_second = |elapsed: Duration| rows as f64 / elapsed.as_secs_f64();
        println!(
            "round {round}: push {:.0} rows/s, COPY {:.0} rows/s, ratio {:.2}; peak RSS station {:.0} MiB, server {:.0} MiB",
            per_second(pushed),
            per_second(copied),
            copied.as_secs_f64() / pushed.as_secs_f64(),
            station_kib as f64 / 1024.0,
            server_kib as f64 / 1024.0,
        );
        pushes.push(per_second(pushed));
        copies.push(per_second(copied));
    }
    let (push, copy) = (median(&mut pushes), median(&mut copies));
    println!("median: push {push:.0} rows/s, COPY {copy:.0} rows/s, ratio {:.2}", push / copy);
    Ok(())
}
