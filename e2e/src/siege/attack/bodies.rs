//! Bodies that are too much: of a length that cannot be, without an end, or small ones that unfold to what no server
//! has memory for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use tidemark_core::frame::restamp;
use tidemark_core::protocol::path;

use super::cast::Cast;
use crate::siege::asks::{Ask, ask};
use crate::siege::peer::{Battle, Drip};
use crate::world::unix_ms;

/// How many peers send.
const PEERS: usize = 32;
/// What they send at once.
const CHUNK: usize = 16 << 10;

/// Lengths that no server takes, some with a valid token, and the bytes come.
pub(super) async fn huge(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let token = cast.abused.token.clone();
    let life = move |stream, n: usize| {
        let length = ["9223372036854775808", "18446744073709551615", "10737418240", "33554433"][n % 4];
        let (path, auth) = match n % 8 {
            0..4 => (path::PUSH, format!("Authorization: Bearer {token}\r\n")),
            _ => (path::JOIN, String::new()),
        };
        let first = format!("POST {path} HTTP/1.1\r\nHost: siege\r\n{auth}Content-Length: {length}\r\n\r\n").into();
        let then = Bytes::from(vec![b'T'; CHUNK]);
        Drip { first, then, every: Duration::from_millis(50), hears: true }.live(stream)
    };
    battle.peers(PEERS, None, life).await;
    Ok(())
}

/// Chunks without end, half of them with a valid token.
pub(super) async fn endless(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let token = cast.abused.token.clone();
    let life = move |stream, n: usize| {
        let (path, auth) = match n % 2 {
            0 => (path::PUSH, format!("Authorization: Bearer {token}\r\n")),
            _ => (path::JOIN, String::new()),
        };
        let first = format!("POST {path} HTTP/1.1\r\nHost: siege\r\n{auth}Transfer-Encoding: chunked\r\n\r\n").into();
        let chunk = [format!("{CHUNK:x}\r\n").as_bytes(), &[b'T'; CHUNK], b"\r\n"].concat();
        // A mebibyte a second each: 32 MiB are over in half a minute.
        Drip { first, then: chunk.into(), every: Duration::from_micros(15_600), hears: true }.live(stream)
    };
    battle.peers(PEERS / 2, None, life).await;
    Ok(())
}

/// Frames of a few kilobytes that unfold beyond the largest body: some say so, some say that they are small.
pub(super) async fn bombs(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let log = cast.bomber_log()?;
    let says = tokio::task::spawn_blocking(move || log.cut(160, |_| "a".repeat(1 << 20))).await??.bytes;
    let mut lies = says.clone();
    lies[12..16].copy_from_slice(&1000_u32.to_le_bytes());
    restamp(&mut lies, unix_ms());
    let token = cast.bomber.token.clone();
    let make = move |_, i: u64| {
        let body = if i.is_multiple_of(2) { says.clone() } else { lies.clone() };
        Ask { method: "POST", path: path::PUSH, token: Some(token.clone()), body }
    };
    ask(&battle, 8, Duration::from_millis(200), make).await;
    Ok(())
}
