//! Many small stations, alone and beside one that pushes half a million rows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::stream::{StreamExt as _, iter};
use tokio::runtime::Runtime;

use crate::siege::good::quantile;
use crate::siege::log::{Log, Table};
use crate::siege::site::Site;
use crate::siege::station::Station;
use crate::world::now;

/// Rows of a small station.
const ROWS: u64 = 20;
/// How many push at once.
const AT_ONCE: usize = 32;
/// How often each pushes while nobody else does, after a first time that finds nothing prepared.
const ROUNDS: u32 = 3;
/// Rows of the greedy one.
const GREEDY_ROWS: u64 = 500_000;
/// Rows of its frames.
const FRAME: u64 = 50_000;

/// Every station pushes once, 32 at a time; how long each took goes to `took`.
async fn round(stations: Vec<Station>, took: &mut Vec<Duration>) -> Result<Vec<Station>> {
    let pushes = stations.into_iter().map(|mut station| async move {
        let delivery = station.push(ROWS).await?;
        anyhow::Ok((station, delivery))
    });
    let mut pushes = iter(pushes).buffer_unordered(AT_ONCE);
    let mut back = Vec::new();
    while let Some(pushed) = pushes.next().await {
        let (station, delivery) = pushed?;
        took.push(delivery.took);
        back.push(station);
    }
    Ok(back)
}

fn shown(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share| quantile(took, share).as_secs_f64();
    format!("p50 {:.2}, p95 {:.2}, max {:.2} s of {} pushes", at(0.5), at(0.95), at(1.0), took.len())
}

/// Measures and prints; returns the logs.
///
/// # Errors
/// When a station cannot push.
pub(super) fn measure(site: &Site, count: usize, calm: &Runtime, storm: &Runtime) -> Result<Vec<Log>> {
    let members = calm.block_on(site.join("small", count + 1))?;
    let station = |member| Station::new(member, site.schema(), site.door().clone(), Table::Reading);
    let (greedy, small) = members.split_first().context("BUG: at least one joined")?;
    let (mut greedy, small) = (station(greedy)?, small.iter().map(station).collect::<Result<Vec<_>>>()?);
    let mut alone = Vec::new();
    let mut small = calm.block_on(round(small, &mut Vec::new()))?;
    for _ in 0..ROUNDS {
        small = calm.block_on(round(small, &mut alone))?;
    }
    println!("{count} stations with {ROWS} rows, {AT_ONCE} at a time, alone: {}", shown(&mut alone));

    let (began, done) = (now(), std::sync::Arc::new(AtomicBool::new(false)));
    let over = std::sync::Arc::clone(&done);
    let pushing = storm.spawn(async move {
        let pushed = async {
            while greedy.log.acked() < GREEDY_ROWS {
                let log = greedy.log.clone();
                let cut = tokio::task::spawn_blocking(move || log.cut(FRAME, |id| format!("row {id}"))).await??;
                greedy.deliver(&cut).await?;
            }
            anyhow::Ok(())
        };
        let pushed = pushed.await;
        over.store(true, Ordering::Relaxed);
        pushed.map(|()| greedy)
    });
    let mut beside = Vec::new();
    while !done.load(Ordering::Relaxed) {
        small = calm.block_on(round(small, &mut beside))?;
    }
    let greedy = storm.block_on(pushing).context("BUG: the greedy station panicked")??;
    let seconds = began.elapsed().as_secs_f64();
    println!("beside one that pushes {GREEDY_ROWS} rows ({seconds:.1} s): {}   goal: p95 ≤ 2 s", shown(&mut beside));
    Ok(small.into_iter().map(|station| station.log).chain([greedy.log]).collect())
}
