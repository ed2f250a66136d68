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
/// A question with a large answer.
const ASK_PAGE: &str = "GET /notebook/ HTTP/1.1\r\nHost: siege\r\n\r\n";
/// How many read, and ask without waiting for answers.
const HASTY: usize = 50;

/// Thousands of connections, each kept alive by a question every five seconds.
pub(super) async fn idle(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let ask = Bytes::from_static(ASK.as_bytes());
    let drip = Drip { first: ask.clone(), then: ask, every: Duration::from_secs(5), hears: true };
    battle.peers(IDLE, None, move |stream, _| drip.clone().live(stream)).await;
    Ok(())
}

/// Questions in a row after a page of a mebibyte, and no answer is read.
pub(super) async fn deaf(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let asks = Bytes::from(ASK_PAGE.repeat(8));
    let drip = Drip { first: asks.clone(), then: asks, every: Duration::from_secs(1), hears: false };
    battle.peers(DEAF, None, move |stream, _| drip.clone().live(stream)).await;
    Ok(())
}

/// Small questions in a row, 2,000 a second, and no answer is waited for.
pub(super) async fn hasty(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let asks = Bytes::from(ASK.repeat(20));
    let drip = Drip { first: asks.clone(), then: asks, every: Duration::from_millis(500), hears: true };
    battle.peers(HASTY, None, move |stream, _| drip.clone().live(stream)).await;
    Ok(())
}
