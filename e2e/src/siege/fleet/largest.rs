//! Stations that push the largest frames there are, all at once: what the server takes of memory.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use tidemark_core::value::hex;
use tokio::runtime::Runtime;

use crate::siege::log::{Cut, Log, Table};
use crate::siege::site::Site;
use crate::siege::station::Station;
use crate::siege::watch::Meter;
use crate::world::{Dice, now, pause};

/// Rows of a frame.
const ROWS: u64 = 50_000;
/// Bytes of a row's note: with them a frame is near 32 MiB and its body near 64 MiB.
const NOTE_BYTES: usize = 1_150;
/// Hex digits that notes are cut from: more than the compression looks back.
const POOL_BYTES: usize = 4 << 20;

fn pool() -> Arc<str> {
    let mut dice = Dice::new(1);
    let bytes: Vec<u8> = (0..POOL_BYTES / 16).flat_map(|_| dice.next().to_le_bytes()).collect();
    hex(&bytes).into()
}

/// The frame of a station.
fn cut(log: &Log, pool: &str) -> Result<Cut> {
    let note = |id: u64| {
        let at = (id as usize * NOTE_BYTES) % (pool.len() - NOTE_BYTES);
        pool[at..at + NOTE_BYTES].to_owned()
    };
    log.cut(ROWS, note)
}

/// Measures and prints; returns the logs.
///
/// # Errors
/// When a station cannot push.
pub(super) fn measure(site: &Site, count: usize, storm: &Runtime) -> Result<Vec<Log>> {
    let members = storm.block_on(site.join("large", count))?;
    let pool = pool();
    let mut ready = Vec::new();
    for member in &members {
        let station = Station::new(member, site.schema(), site.door().clone(), Table::Reading)?;
        let cut = cut(&station.log, &pool)?;
        ready.push((station, cut));
    }
    let bytes: usize = ready.iter().map(|(_, cut)| cut.bytes.len()).sum();
    let mut meter = Meter::start(site.pid());
    let began = now();
    let pushes = ready.into_iter().map(|(mut station, cut)| async move {
        let delivery = station.deliver(&cut).await?;
        anyhow::Ok((station.log, delivery.requests))
    });
    let pushing = storm.spawn(try_join_all(pushes));
    while !pushing.is_finished() {
        meter.look();
        pause(std::time::Duration::from_millis(20));
    }
    let pushed = storm.block_on(pushing).context("BUG: a station panicked")??;
    let requests: u32 = pushed.iter().map(|(_, requests)| requests).sum();
    println!(
        "{count} frames of {ROWS} rows, {} MiB in all, at once: RSS {} → {} MiB, {:.1} s, {requests} requests   goal: below the memory budget",
        bytes >> 20,
        meter.rss_before >> 20,
        meter.rss_peak >> 20,
        began.elapsed().as_secs_f64(),
    );
    Ok(pushed.into_iter().map(|(log, _)| log).collect())
}
