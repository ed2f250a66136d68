//! Peers that hold connections: they ask seldom and keep them alive, or ask much and never read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use super::cast::Cast;
use crate::siege::peer::{Battle, Drip};

/// A question that anybody may ask.
const ASK: &str = "GET /healthz HTTP/1.1\r\nHost: siege\r\n\r\n";
/// More connections than a server with the usual limits takes.
const IDLE: usize = 4_200;
/// How many never read.
const DEAF: usize = 500;
/// What the system of a peer keeps of what it does not read: little, so that it stands soon.
const RECEIVE_BYTES: u32 = 4096;

/// Thousands of connections, each kept alive by a question every five seconds.
pub(super) async fn idle(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let ask = Bytes::from_static(ASK.as_bytes());
    let drip = Drip { first: ask.clone(), then: ask, every: Duration::from_secs(5), hears: true };
    battle.peers(IDLE, None, move |stream, _| drip.clone().live(stream)).await;
    Ok(())
}

/// Questions in a row, and no answer is read.
pub(super) async fn deaf(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let asks = Bytes::from(ASK.repeat(100));
    let drip = Drip { first: asks.clone(), then: asks, every: Duration::from_millis(500), hears: false };
    battle.peers(DEAF, Some(RECEIVE_BYTES), move |stream, _| drip.clone().live(stream)).await;
    Ok(())
}
