//! How long one change takes from its commit at a station to its row upstream, while `tidemark run` watches the file:
//! a real station and a real server on TimescaleDB, beside a commit of one such row by a client of PostgreSQL itself.
//!
//! `cargo run --release -p tidemark-benches --bin latency [-- CHANGES [ROUNDS]]`, default 200 changes, 5 rounds.
//! Another connection to the station's file commits one row, 20 to 50 ms after the last one; the time runs from COMMIT
//! returned to a query of another connection upstream that sees the row. That query is asked over and over: what this
//! adds, on average half the time between two answers, is printed. Medians of the rounds.
#![allow(clippy::disallowed_methods)] // measures real time

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tidemark_benches::median;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::world::Dice;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Between two questions whether the row is there.
const PAUSE: Duration = Duration::from_micros(200);
/// Longer than any change should take.
const PATIENCE: Duration = Duration::from_secs(30);
/// 2020-01-01, in microseconds since 1970; a row a minute from there.
const FIRST_US: i64 = 1_577_836_800_000_000;
const MINUTE_US: i64 = 60_000_000;

/// Times in milliseconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    /// p50, p90 and p99.
    fn quantiles(&mut self) -> [f64; 3] {
        self.0.sort_by(f64::total_cmp);
        [50, 90, 99].map(|percent| self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)])
    }
}

/// Times of one round.
#[derive(Default)]
struct Round {
    /// From COMMIT returned at the station to the row seen upstream.
    durable: Times,
    /// The commit at the station.
    local: Times,
    /// From one answer to the next whether the row is there.
    asked: Times,
    /// A commit of one row by a client of PostgreSQL.
    direct: Times,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let changes: usize = args.next().map_or(Ok(200), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    let schema = tidemark_benches::narrow_schema();
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    println!("{changes} commits of one row of 7 columns, {rounds} rounds; p50, p90, p99 in ms");
    let mut medians: [[Vec<f64>; 3]; 2] = Default::default();
    for number in 1..=rounds {
        let url = cluster.create_database(&format!("round{number}"))?;
        let field = Field::new(schema.source(), Some(url.clone()))?;
        field.migrate()?;
        let server = field.serve()?;
        let station = field.join_station("bench", &server.url())?;
        let running = station.start(&["run"])?;
        let round = measure(&station, &url, changes, number as u64);
        let mut round = round.with_context(|| running.output_so_far())?;
        running.terminate()?.success()?;
        field.assert_upstream_equals(&[&station])?;
        let (durable, direct) = (round.durable.quantiles(), round.direct.quantiles());
        let adds = round.asked.quantiles()[0] / 2.0;
        println!(
            "round {number}: durable upstream {}; commit at the station {}; asking adds {adds:.2}; PostgreSQL alone {}",
            line(durable),
            line(round.local.quantiles()),
            line(direct),
        );
        for (of, values) in medians.iter_mut().zip([durable, direct]) {
            of.iter_mut().zip(values).for_each(|(of, value)| of.push(value));
        }
    }
    let [durable, direct] = medians.map(|mut of| [0, 1, 2].map(|n| median(&mut of[n])));
    println!("median: durable upstream {}; PostgreSQL alone {}", line(durable), line(direct));
    Ok(())
}

fn line([p50, p90, p99]: [f64; 3]) -> String {
    format!("{p50:.2} {p90:.2} {p99:.2}")
}

fn measure(station: &Station, url: &str, changes: usize, seed: u64) -> Result<Round> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let upstream = connect(&runtime, url)?;
    let is_there = runtime.block_on(upstream.prepare("SELECT EXISTS (SELECT FROM bench.reading WHERE id = $1)"))?;
    let first_id = i64::from(station.number()?) << 32 | 1;
    let there = |n: usize| -> Result<bool> {
        Ok(runtime.block_on(upstream.query_one(&is_there, &[&(first_id + n as i64)]))?.try_get(0)?)
    };
    let alone = connect(&runtime, url)?;
    let columns =
        "site_id bigint, measured_at timestamptz, temperature float8, humidity float8, pressure float8, note text";
    runtime
        .block_on(alone.batch_execute(&format!("CREATE TABLE public.alone (id bigserial PRIMARY KEY, {columns})")))?;
    let directly = runtime.block_on(alone.prepare(
        "INSERT INTO public.alone (site_id, measured_at, temperature, humidity, pressure, note) VALUES (7, $1::text::timestamptz, 21.5, 60.25, 1013.25, 'one')",
    ))?;
    let file = station.open()?;
    let mut insert = file.prepare(
        "INSERT INTO reading (site_id, measured_at, temperature, humidity, pressure, note) VALUES (7, ?1, 21.5, 60.25, 1013.25, 'one')",
    )?;
    let (mut dice, mut round) = (Dice::new(seed), Round::default());
    // The first change makes the connections, the plans and the chunk.
    for n in 0..=changes {
        let began = Instant::now();
        runtime.block_on(alone.execute(&directly, &[&time(n)]))?;
        if n > 0 {
            round.direct.add(began.elapsed());
        }
        let began = Instant::now();
        insert.execute([time(n)])?;
        let committed = Instant::now();
        let mut answered = committed;
        while !there(n)? {
            round.asked.add(answered.elapsed());
            answered = Instant::now();
            ensure!(committed.elapsed() < PATIENCE, "change {n} did not come upstream");
            std::thread::sleep(PAUSE);
        }
        if n > 0 {
            round.durable.add(committed.elapsed());
            round.local.add(committed - began);
        }
        let apart = Duration::from_micros(20_000 + (dice.unit() * 30_000.0) as u64);
        std::thread::sleep(apart.saturating_sub(committed.elapsed()));
    }
    Ok(round)
}

fn time(n: usize) -> String {
    tidemark_core::timestamp::format(FIRST_US + n as i64 * MINUTE_US)
}

fn connect(runtime: &Runtime, url: &str) -> Result<Client> {
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    })
}
