//! What memory is taken: by a server to which many stations keep a connection and ask nothing, and by a station with a
//! long log, and its server.
//!
//! `cargo run --release -p tidemark-benches --bin memory -- connected [STATIONS [SECONDS]]`, default 2,000 stations
//! that have pushed once, and 30 seconds; then all push at once. Its server has a `--head-timeout` of ten minutes, or
//! it would close what is idle for 10 s. `… --bin memory -- pending [CHANGES]`, default 10,000,000 of 7 columns.
//! Both on TimescaleDB. It fails when a row is not upstream once.
#![allow(clippy::disallowed_methods)] // measures real time

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_benches::{memory_mib, narrow_schema, patient_site, watched, write_readings};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::siege::good::quantile;
use tidemark_e2e::siege::log::Table;
use tidemark_e2e::siege::site::Site;
use tidemark_e2e::siege::station::{Delivery, Station};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Rows of a push of the connected stations.
const ROWS: u64 = 20;
/// How many push at once before they are idle.
const AT_ONCE: usize = 32;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let part = args.next();
    let mut number = |or| args.next().map_or(Ok(or), |text| text.parse().with_context(|| format!("{text:?}")));
    match part.as_deref() {
        Some("connected") => connected(number(2_000)? as usize, Duration::from_secs(number(30)?)),
        Some("pending") => pending(number(10_000_000)?),
        _ => bail!("say `connected` or `pending`"),
    }
}

fn connected(count: usize, idle: Duration) -> Result<()> {
    let site = patient_site()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    said(&site, "started")?;
    let members = runtime.block_on(site.join("connected", count))?;
    said(&site, "all have joined, each over a connection that it ended")?;
    let station = |member| Station::new(member, site.schema(), site.door().clone(), Table::Reading);
    let stations = members.iter().map(station).collect::<Result<Vec<_>>>()?;
    let (stations, first) = runtime.block_on(all_push(stations, AT_ONCE))?;
    println!("the first push, {AT_ONCE} at a time, over new connections: {first}");
    said(&site, "after it")?;
    std::thread::sleep(idle);
    said(&site, &format!("{idle:?} later"))?;
    let (stations, again) = runtime.block_on(all_push(stations, count))?;
    println!("the second, all at once over the kept ones: {again}");
    said(&site, "after it")?;
    std::thread::sleep(idle);
    said(&site, &format!("{idle:?} later"))?;
    let rows = site.check(stations.iter().map(|station| &station.log))?;
    println!("{rows} rows are upstream, each once");
    drop(stations);
    drop(runtime);
    site.end()
}

/// All push once, so many at a time; the stations, and how it went.
async fn all_push(stations: Vec<Station>, at_once: usize) -> Result<(Vec<Station>, String)> {
    let (began, count, turns) = (Instant::now(), stations.len(), Arc::new(Semaphore::new(at_once)));
    let mut pushing = JoinSet::new();
    for mut station in stations {
        let turns = Arc::clone(&turns);
        pushing.spawn(async move {
            let _turn = turns.acquire().await?;
            station.push(ROWS).await.map(|delivery| (station, delivery))
        });
    }
    let (mut stations, mut deliveries): (Vec<_>, Vec<Delivery>) = (Vec::new(), Vec::new());
    while let Some(pushed) = pushing.join_next().await {
        let (station, delivery) = pushed??;
        stations.push(station);
        deliveries.push(delivery);
    }
    let lasted = began.elapsed();
    let mut took: Vec<Duration> = deliveries.iter().map(|delivery| delivery.took).collect();
    took.sort_unstable();
    let requests: u32 = deliveries.iter().map(|delivery| delivery.requests).sum();
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(&took, share));
    let told = format!(
        "{count} pushes of {ROWS} rows in {lasted:.2?}, p50 {p50:.2?}, p99 {p99:.2?}, max {most:.2?}; {requests} requests"
    );
    Ok((stations, told))
}

fn said(site: &Site, when: &str) -> Result<()> {
    let mib = |what| memory_mib(site.pid(), what);
    let open = std::fs::read_dir(format!("/proc/{}/fd", site.pid()))?.count();
    println!(
        "{when}: the server has {:.1} MiB, at most {:.1} so far; {open} descriptors",
        mib("VmRSS")?,
        mib("VmHWM")?
    );
    Ok(())
}

fn pending(changes: u64) -> Result<()> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let field = Field::new(narrow_schema().source(), Some(cluster.create_database("memory")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("bench", &server.url())?;
    write_readings(&mut station.open()?, changes)?;
    let mib = station.file.metadata()?.len() >> 20;
    println!("{changes} changes are pending in a file of {mib} MiB");
    for args in [&["status"] as &[&str], &["push"], &["status"]] {
        let seen = watched(&station, args, &server)?;
        println!(
            "tidemark {}: {:.2} s; at most {:.1} MiB at the station, {:.1} at the server",
            args.join(" "),
            seen.seconds,
            seen.station_mib,
            seen.server_mib
        );
    }
    let client = cluster.admin("memory")?;
    let (rows, ids): (i64, i64) = (
        client.value("SELECT count(*) FROM bench.reading")?,
        client.value("SELECT count(DISTINCT id) FROM bench.reading")?,
    );
    ensure!((rows, ids) == (changes as i64, changes as i64), "upstream has {rows} rows with {ids} ids");
    ensure!(station.waiting()? == 0, "changes wait");
    println!("{rows} rows are upstream, each once");
    Ok(())
}
