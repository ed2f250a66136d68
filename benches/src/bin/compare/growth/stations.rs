//! More and more stations that keep a connection and ask nothing, while one pushes.

use anyhow::{Context as _, Result};
use tidemark_benches::{median, patient_site};
use tidemark_e2e::siege::log::Table;
use tidemark_e2e::siege::station::Station;

use super::ground::rounds;
use super::grown::{Grown, Noted};
use crate::options::Options;

/// How many are connected.
const STATIONS: [usize; 5] = [1, 10, 100, 1_000, 2_000];
/// The changes of a push.
const PROBE: u64 = 10_000;

/// Measures the part `stations`.
///
/// # Errors
/// When a station is refused, or rows are not upstream once.
pub fn run(options: &Options, grown: &mut Noted) -> Result<()> {
    let site = patient_site()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut stations: Vec<Station> = Vec::new();
    for size in STATIONS {
        let more = size - stations.len();
        runtime.block_on(async {
            for member in site.join(&format!("of-{size}"), more).await? {
                let mut station = Station::new(&member, site.schema(), site.door().clone(), Table::Reading)?;
                station.push(1).await?;
                stations.push(station);
            }
            anyhow::Ok(())
        })?;
        let pusher = stations.first_mut().context("BUG: one has joined")?;
        for (what, changes) in [("stations connected", PROBE), ("stations connected, single row", 1)] {
            let mut costs = Vec::new();
            for _ in 0..rounds(options.rounds, changes) {
                let took = runtime.block_on(pusher.push(changes))?.took;
                costs.push(took.as_secs_f64() / changes as f64 * 1e6);
            }
            grown.note(Grown { what, size: size as u64, changes, micros: median(&mut costs), copy_micros: None });
        }
    }
    let rows = site.check(stations.iter().map(|station| &station.log))?;
    drop(stations);
    drop(runtime);
    println!("{rows} rows are upstream, each once");
    site.end()
}
