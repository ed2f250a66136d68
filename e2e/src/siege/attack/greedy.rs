//! Stations that may push, and push all they can.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::path;

use super::cast::Cast;
use crate::siege::http::Client;
use crate::siege::peer::Battle;

/// Rows that the greedy station has.
const ROWS: u64 = 500_000;
/// How many connections the other one opens.
const CONNECTIONS: usize = 32;
/// Rows of its batches.
const BATCH: u64 = 1_000;
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// One station pushes 500,000 rows in the largest frames, or as many as the time allows.
pub(super) async fn rows(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let mut station = cast.greedy.lock().await;
    let (frame, end) = (u64::from(FrameLimits::DEFAULT.rows_max), station.log.acked() + ROWS);
    while station.log.acked() < end && !battle.is_over() {
        let log = station.log.clone();
        // Not on the thread that the other peers need.
        let cut = tokio::task::spawn_blocking(move || log.cut(frame, |id| format!("row {id}"))).await??;
        station.deliver(&cut).await?;
    }
    Ok(())
}

/// One station pushes the same batch over 32 connections at once, again and again.
pub(super) async fn connections(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let mut station = cast.many.lock().await;
    let from = battle.source.address(0);
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::new(battle.server.clone(), from)).collect();
    while !battle.is_over() {
        let cut = station.log.cut(BATCH, |id| format!("row {id}"))?;
        let token = station.token().to_owned();
        let asks = clients.iter_mut().map(|client| client.ask("POST", path::PUSH, Some(&token), &cut.bytes, LIMIT));
        for answer in join_all(asks).await {
            battle.count(answer.ok().map(|answer| answer.status));
        }
        // Whatever became of these, the station itself goes by what it is told.
        station.deliver(&cut).await?;
    }
    Ok(())
}
