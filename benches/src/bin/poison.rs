//! The cost of poison: batches of 10,000 changes with 1 % that cannot be applied, beside clean ones, on PostgreSQL with
//! TimescaleDB.
//!
//! `cargo run --release -p tidemark-benches --bin poison [-- ROUNDS]`, default 9 rounds. Each case has two stations,
//! one clean and one poisoned, whose batches take turns on the same table. It prints the medians and their ratio, and
//! fails when a ratio is 2 or more.
#![allow(clippy::disallowed_methods)] // measures real time

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tidemark_core::batch::{Batch, Group, Op};
use tidemark_core::chain::Chain;
use tidemark_core::frame::{Compression, encode};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;
use tidemark_core::value::ValueRef;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_server::clock::{Clock as _, SystemClock};
use tidemark_server::config::{ClockWindow, DatabaseUrl};
use tidemark_server::ingest::Ingest;
use tidemark_server::stations::{JoinAsk, JoinOutcome, NewStation};
use tidemark_server::stores::postgres::PostgresUpstream;
use tidemark_server::upstream::Upstream;

const ROWS: i64 = 10_000;
/// One change of so many is poisoned.
const POISON_EVERY: i64 = 100;
/// The ratio that is promised.
const RATIO_MAX: f64 = 2.0;

const SCHEMA: &str = r#"
name = "bench"
version = 1
[tables.site.columns]
id = { type = "integer" }
[tables.reading]
time = "measured_at"
[tables.reading.columns]
id = { type = "integer" }
site_id = { type = "integer", references = "site" }
measured_at = { type = "timestamp" }
temperature = { type = "real", min = -90, max = 60 }
humidity = { type = "real" }
probe = { type = "integer" }
note = { type = "text" }
"#;

/// The fault of a poisoned row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Poison {
    /// The planner sees it: a time beyond the clock's window.
    Clock,
    /// The planner sees it: a number out of its range.
    Range,
    /// The planner sees it: a row that is not there.
    Reference,
    /// The database has a CHECK that the schema has not.
    Check,
    /// The database has a UNIQUE index that the schema has not.
    Unique,
}

/// A station that makes its log up.
struct Maker {
    schema: Arc<Schema>,
    number: StationNumber,
    seq: u64,
    chain: Chain,
}

impl Maker {
    fn batch(&mut self, op: Op, first: i64, poison: Option<Poison>) -> Batch {
        let mut group = Group::new(&self.schema, 1, op);
        let id = |local: i64| self.number.upstream_id(local).expect("BUG: local ids are small");
        for n in first..first + ROWS {
            let poison = poison.filter(|_| n % POISON_EVERY == POISON_EVERY / 2);
            // Two rows of every two minutes share a time.
            let time = 1_700_000_000_000_000 + n / 2 * 120_000_000;
            let wave = (n as f64 / 50.0).sin();
            group.push(&[
                ValueRef::Integer(id(n)),
                ValueRef::Integer(id(if poison == Some(Poison::Reference) { 999 } else { 1 })),
                ValueRef::Timestamp(if poison == Some(Poison::Clock) { time + (1_i64 << 52) } else { time }),
                ValueRef::Real(if poison == Some(Poison::Range) { 1e6 } else { 10.0 + wave * 15.0 }),
                ValueRef::Real(60.0 - wave * 20.0),
                // The probe of the other row of its time.
                ValueRef::Integer(id(if poison == Some(Poison::Unique) { n + 1 } else { n })),
                ValueRef::Text(if poison == Some(Poison::Check) { "poison" } else { "checked by hand" }),
            ]);
        }
        self.cut(group)
    }

    fn cut(&mut self, group: Group) -> Batch {
        let rows = group.rows;
        let mut batch = Batch {
            fingerprint: self.schema.fingerprint(),
            station: self.number,
            first_seq: self.seq + 1,
            chain_before: self.chain,
            chain_after: self.chain,
            sent_at_ms: 0,
            groups: vec![group],
            order: vec![0; rows],
            at_ms: vec![1_700_000_000_000; rows],
        };
        batch.chain_after = batch.prints(&self.schema).1;
        (self.seq, self.chain) = (batch.span().last_seq(), batch.chain_after);
        batch
    }
}

async fn join(upstream: &dyn Upstream, schema: &Arc<Schema>, name: &str) -> Result<Maker> {
    let hash = *blake3::hash(name.as_bytes()).as_bytes();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash[..16]);
    let now_ms = SystemClock.now_ms();
    let invited = NewStation { name: name.to_owned(), code_hash: hash, code_expires_at_ms: now_ms + 60_000, now_ms };
    ensure!(upstream.add_station(&invited).await?);
    let ask = JoinAsk { code_hash: hash, uuid, token_hash: hash, now_ms };
    let JoinOutcome::Joined { number, .. } = upstream.join(&ask).await? else { anyhow::bail!("{name} cannot join") };
    Ok(Maker { schema: Arc::clone(schema), number, seq: 0, chain: Chain::start(uuid) })
}

/// Pushes a batch; the milliseconds it took, from frame to reply.
async fn push(ingest: &Ingest, batch: &Batch, poisoned: bool) -> Result<f64> {
    let frame = encode(batch, Compression::Zstd)?;
    let begin = Instant::now();
    let reply = ingest.push(batch.station, &frame).await.map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
    let took = begin.elapsed();
    let count = batch.order.len() as i64;
    let rejected = if poisoned { count / POISON_EVERY } else { 0 };
    ensure!(
        reply.rejected.len() as i64 == rejected,
        "{} rejected, not {rejected}: {:?}",
        reply.rejected.len(),
        reply.rejected.first()
    );
    ensure!(i64::from(reply.applied) == count - rejected);
    Ok(took.as_secs_f64() * 1000.0)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn case(upstream: &Arc<dyn Upstream>, schema: &Arc<Schema>, op: Op, poison: Poison, rounds: i64) -> Result<f64> {
    let clock = Arc::new(SystemClock);
    let ingest =
        Ingest::new(Arc::clone(upstream), Arc::clone(schema), ClockWindow::DEFAULT, FrameLimits::DEFAULT, clock);
    let mut stations = Vec::new();
    for kind in ["clean", "poisoned"] {
        let mut maker = join(upstream.as_ref(), schema, &format!("{kind} {poison:?} {op:?}")).await?;
        let mut sites = Group::new(schema, 0, Op::Insert);
        sites.push(&[ValueRef::Integer(maker.number.upstream_id(1).context("1 is a local id")?)]);
        ingest
            .push(maker.number, &encode(&maker.cut(sites), Compression::None)?)
            .await
            .map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
        stations.push((maker, Vec::new()));
    }
    // The first round makes chunks and warms caches; it does not count.
    for round in 0..=rounds {
        for (place, (maker, times)) in stations.iter_mut().enumerate() {
            let poison = (place == 1).then_some(poison);
            let first = 1 + round * ROWS;
            if op == Op::Update {
                let before = maker.batch(Op::Insert, first, None);
                push(&ingest, &before, false).await?;
            }
            let took = push(&ingest, &maker.batch(op, first, poison), poison.is_some()).await?;
            if round > 0 {
                times.push(took);
            }
        }
    }
    let medians: Vec<f64> = stations.iter_mut().map(|(_, times)| median(times)).collect();
    let ratio = medians[1] / medians[0];
    println!(
        "{:<10} {:<10} clean {:>6.1} ms   1 % poison {:>6.1} ms   ratio {ratio:.2}",
        format!("{op:?}s").to_lowercase(),
        format!("{poison:?}").to_lowercase(),
        medians[0],
        medians[1],
    );
    Ok(ratio)
}

async fn run(url: &str, rounds: i64) -> Result<()> {
    let schema = Arc::new(Schema::parse(SCHEMA)?);
    let DatabaseUrl::Postgres(config) = url.parse()? else { anyhow::bail!("not a URL of PostgreSQL") };
    let mut client = tidemark_server::stores::postgres::connect(&config).await?;
    tidemark_migrations::postgres::up(&mut client, &schema, &mut |line| println!("{line}")).await?;
    client
        .batch_execute(
            "ALTER TABLE bench.reading ADD CONSTRAINT no_poison CHECK (note <> 'poison');
             CREATE UNIQUE INDEX one_probe ON bench.reading (probe, measured_at)",
        )
        .await?;
    let upstream: Arc<dyn Upstream> = Arc::new(PostgresUpstream::open(&config, Arc::clone(&schema), 4).await?);
    println!("batches of {ROWS}, medians of {rounds} rounds");
    let mut worst: f64 = 0.0;
    for op in [Op::Insert, Op::Update] {
        for poison in [Poison::Clock, Poison::Range, Poison::Reference, Poison::Check, Poison::Unique] {
            // An update that moves a row's time would be another row.
            if op == Op::Update && poison == Poison::Clock {
                continue;
            }
            worst = worst.max(case(&upstream, &schema, op, poison, rounds).await?);
        }
    }
    println!("worst ratio {worst:.2}");
    ensure!(worst < RATIO_MAX, "a poisoned batch costs {worst:.2} times a clean one, it must stay below {RATIO_MAX}");
    Ok(())
}

fn main() -> Result<()> {
    let rounds: i64 = std::env::args().nth(1).map_or(Ok(9), |text| text.parse())?;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let url = cluster.create_database("poison")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&url, rounds))
}
