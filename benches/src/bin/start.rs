//! How long the server takes from its start until it listens, and what memory it holds: idle, and after rows came in.
//!
//! `cargo run --release -p tidemark-benches --bin start [-- ROUNDS [ROWS]]`, default 21 starts, 100,000 rows. Once with
//! the embedded SQLite and once with PostgreSQL, which are migrated before. It prints medians of the starts, and the
//! memory (RSS) of the last one: two seconds after its start, and two seconds after the push.
#![allow(clippy::disallowed_methods)] // measures real time

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tidemark_benches::{median, memory_mib, narrow_schema, write_readings};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::program;

/// What is done at the start is done by then.
const SETTLED: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let rounds: usize = args.next().map_or(Ok(21), |text| text.parse())?;
    let rows: u64 = args.next().map_or(Ok(100_000), |text| text.parse())?;
    ensure!(rounds > 0, "how many starts? one at least");
    // Built before it is measured.
    program("tidemark-server")?;
    measure("embedded SQLite", None, rounds, rows)?;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    measure("TimescaleDB", Some(cluster.create_database("start")?), rounds, rows)
}

fn measure(name: &str, database: Option<String>, rounds: usize, rows: u64) -> Result<()> {
    let field = Field::new(narrow_schema().source(), database)?;
    field.migrate()?;
    let mut starts = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        starts.push(start_ms(&field)?);
    }
    let server = field.serve()?;
    std::thread::sleep(SETTLED);
    let idle = memory_mib(server.process.pid(), "VmRSS")?;
    let station = field.join_station("bench", &server.url())?;
    write_readings(&mut station.open()?, rows)?;
    station.run(&["push"])?.success()?;
    std::thread::sleep(SETTLED);
    println!(
        "{name}: listens after {:.0} ms (median of {rounds}); RSS idle {idle:.1} MiB, after {rows} rows {:.1} MiB, at most {:.1} MiB",
        median(&mut starts),
        memory_mib(server.process.pid(), "VmRSS")?,
        memory_mib(server.process.pid(), "VmHWM")?,
    );
    Ok(())
}

/// The milliseconds until the server says that it listens, which it does once its database is open.
fn start_ms(field: &Field) -> Result<f64> {
    let mut command = Command::new(program("tidemark-server")?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--schema", "schema.toml", "--database", &field.database]);
    command.current_dir(field.folder()).stdout(Stdio::piped()).stderr(Stdio::null());
    let begin = Instant::now();
    let mut server = command.spawn()?;
    let mut said = BufReader::new(server.stdout.take().context("its output is piped")?).lines();
    let listens = said.any(|line| line.is_ok_and(|line| line.contains("listening on http")));
    let elapsed = begin.elapsed();
    server.kill()?;
    server.wait()?;
    ensure!(listens, "the server ended before it listened");
    Ok(elapsed.as_secs_f64() * 1e3)
}
