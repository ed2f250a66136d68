//! Peers that send as slowly as they may: heads, bodies with a valid token, requests to join.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::path;

use super::cast::Cast;
use crate::siege::peer::{Battle, Drip};

/// How many peers send heads or requests to join.
const PEERS: usize = 500;
/// How many bodies.
const BODIES: usize = 8;

async fn drip(battle: &Arc<Battle>, count: usize, first: String, then: &'static [u8], every: Duration) {
    let drip = Drip { first: first.into(), then: Bytes::from_static(then), every, hears: true };
    battle.peers(count, None, move |stream, _| drip.clone().live(stream)).await;
}

/// Heads of a byte a second.
pub(super) async fn heads(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let first = "GET /healthz HTTP/1.1\r\nHost: siege\r\nX-Slow: ".to_owned();
    drip(&battle, PEERS, first, b"a", Duration::from_secs(1)).await;
    Ok(())
}

/// Beginnings of a client's hello: every other one trickles, a byte a second, the rest stalls.
pub(super) async fn handshakes(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let life = |stream, n: usize| {
        let then = if n.is_multiple_of(2) { Bytes::from_static(b"\x01") } else { Bytes::new() };
        let first = Bytes::from_static(b"\x16\x03\x01\x02\x00\x01\x00");
        Drip { first, then, every: Duration::from_secs(1), hears: true }.live(stream)
    };
    battle.peers(PEERS, None, life).await;
    Ok(())
}

/// What a modem sends in four minutes.
const MODEM_BYTES: u32 = 72_000;

/// The head of a push that claims a body of this length.
fn push(cast: &Cast, length: u32) -> String {
    let (path, token) = (path::PUSH, &cast.abused.token);
    format!("POST {path} HTTP/1.1\r\nHost: siege\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n")
}

/// Bodies of 32 MiB with a valid token, of two bytes a second.
pub(super) async fn bodies(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    drip(&battle, BODIES, push(&cast, FrameLimits::DEFAULT.frame_bytes_max), b"TD", Duration::from_secs(1)).await;
    Ok(())
}

/// Bodies at the pace of a modem, which is honest: they need not be cut, and must harm nobody.
pub(super) async fn modems(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    drip(&battle, BODIES, push(&cast, MODEM_BYTES), &[b'T'; 75], Duration::from_millis(250)).await;
    Ok(())
}

/// Requests to join, of a byte a second.
pub(super) async fn joins(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let first = format!("POST {} HTTP/1.1\r\nHost: siege\r\nContent-Length: 4000\r\n\r\n{{", path::JOIN);
    drip(&battle, PEERS, first, b" ", Duration::from_secs(1)).await;
    Ok(())
}
