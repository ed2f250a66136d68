//! What small batches cost: many stations that push a few rows at a time, beside one station that pushes as many rows
//! in one batch, through a server process to PostgreSQL with TimescaleDB, fsync on.
//!
//! `cargo run --release -p tidemark-benches --bin small [-- STATIONS ROWS SECONDS ROUNDS]`, default 150 stations, 100
//! rows, 10 seconds, 5 rounds; the server's program must be built in the same profile before. Connections are kept
//! alive. It prints each round and the medians: pushes a second, how long a push takes, and the rows a second divided
//! by those of the one station; and of each round what processor time a push took. It fails when a row is not upstream
//! once at the end.
#![allow(clippy::disallowed_methods)] // measures real time

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tidemark_benches::{CpuTime, ServerSide, median};
use tidemark_e2e::postgres::{Flavour, PgClient};
use tidemark_e2e::siege::good::quantile;
use tidemark_e2e::siege::log::{Log, Table};
use tidemark_e2e::siege::site::Site;
use tidemark_e2e::siege::station::Station;
use tokio::task::JoinSet;

/// What stations delivered for a while.
#[derive(Default)]
struct Run {
    rows: u64,
    /// How long each push took, from request to answer; sorted.
    took: Vec<Duration>,
    lasted: Duration,
    /// Requests beyond one for each push.
    repeated: u64,
    /// The processor time that server and PostgreSQL took.
    upstream: [CpuTime; 2],
    /// And this program, which is the stations.
    stations: CpuTime,
}

impl Run {
    fn rows_per_s(&self) -> f64 {
        self.rows as f64 / self.lasted.as_secs_f64()
    }

    fn pushes_per_s(&self) -> f64 {
        self.took.len() as f64 / self.lasted.as_secs_f64()
    }

    /// Microseconds a push of the processor time of stations, server and PostgreSQL.
    fn processor_us(&self) -> [f64; 3] {
        let [server, postgres] = self.upstream;
        [self.stations, server, postgres].map(|taken| taken.seconds() * 1e6 / self.took.len() as f64)
    }

    fn ms(&self, share: f64) -> f64 {
        quantile(&self.took, share).as_secs_f64() * 1000.0
    }
}

/// Lets stations push batches of so many rows, each its own one after the other, for so long.
async fn run(upstream: ServerSide, stations: Vec<Station>, rows: u64, lasts: Duration) -> Result<(Vec<Station>, Run)> {
    let (taken, own) = (upstream.taken()?, CpuTime::of(std::process::id())?);
    let began = Instant::now();
    let mut pushing = JoinSet::new();
    for mut station in stations {
        pushing.spawn(async move {
            let mut deliveries = Vec::new();
            while began.elapsed() < lasts {
                deliveries.push(station.push(rows).await?);
            }
            anyhow::Ok((station, deliveries))
        });
    }
    let mut stations = Vec::new();
    let mut done = Run::default();
    while let Some(pushed) = pushing.join_next().await {
        let (station, deliveries) = pushed??;
        stations.push(station);
        for delivery in deliveries {
            done.rows += delivery.rows;
            done.took.push(delivery.took);
            done.repeated += u64::from(delivery.requests) - 1;
        }
    }
    done.lasted = began.elapsed();
    done.upstream = upstream.since(taken)?;
    done.stations = CpuTime::of(std::process::id())?.since(own);
    done.took.sort_unstable();
    Ok((stations, done))
}

/// A setting of the command line, by its place.
fn setting(place: usize, or: u64) -> Result<u64> {
    std::env::args().nth(place).map_or(Ok(or), |text| text.parse().with_context(|| format!("{text:?} is no number")))
}

async fn measured(
    site: &Site,
    upstream: ServerSide,
    count: u64,
    rows: u64,
    lasts: Duration,
    rounds: u64,
) -> Result<Vec<Log>> {
    let members = site.join("small", usize::try_from(count)? + 1).await?;
    let stations =
        members.iter().map(|member| Station::new(member, site.schema(), site.door().clone(), Table::Reading));
    let mut many = stations.collect::<Result<Vec<Station>>>()?;
    let mut one = many.split_off(many.len() - 1);
    let mut columns: [Vec<f64>; 5] = Default::default();
    println!("{count} stations, {rows} rows a push; beside one station, {} rows a push; {lasts:?} each", count * rows);
    // The first round makes chunks and warms caches; it does not count.
    for round in 0..=rounds {
        let (small, large);
        (many, small) = run(upstream, many, rows, lasts).await?;
        (one, large) = run(upstream, one, count * rows, lasts).await?;
        if round == 0 {
            continue;
        }
        let ratio = small.rows_per_s() / large.rows_per_s();
        let figures = [small.pushes_per_s(), small.ms(0.5), small.ms(0.99), small.rows_per_s(), ratio];
        print_line(&format!("round {round}"), figures);
        println!("          one station {:.0} rows/s; {} requests repeated", large.rows_per_s(), small.repeated);
        let [stations, server, postgres] = small.processor_us();
        println!(
            "          processor time a push: stations {stations:.0} µs, server {server:.0}, PostgreSQL {postgres:.0}"
        );
        columns.iter_mut().zip(figures).for_each(|(column, figure)| column.push(figure));
    }
    print_line("medians", columns.each_mut().map(|column| median(column)));
    Ok(many.into_iter().chain(one).map(|station| station.log).collect())
}

fn print_line(name: &str, [pushes, p50, p99, rows, ratio]: [f64; 5]) {
    println!(
        "{name:<9} {pushes:>6.0} pushes/s   p50 {p50:>6.1} ms   p99 {p99:>6.1} ms   {rows:>7.0} rows/s   ÷ one station {ratio:.2}"
    );
}

fn main() -> Result<()> {
    let (count, rows) = (setting(1, 150)?.max(1), setting(2, 100)?.max(1));
    let (lasts, rounds) = (Duration::from_secs(setting(3, 10)?), setting(4, 5)?.max(1));
    let site = Site::start(Flavour::Timescale, &[], false)?;
    let upstream = ServerSide::of(site.pid(), &PgClient::connect_url(site.database())?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let logs = runtime.block_on(measured(&site, upstream, count, rows, lasts, rounds))?;
    drop(runtime);
    println!("{} rows are upstream, each once", site.check(logs.iter())?);
    site.end()
}
