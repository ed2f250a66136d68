//! Bytes that are no request: chance, halves of requests, other protocols' first words.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use super::cast::Cast;
use crate::siege::peer::{Battle, Drip};
use crate::world::Dice;

/// How many peers send.
const PEERS: usize = 100;

/// What the `n`-th peer sends first.
fn words(n: usize) -> Vec<u8> {
    let mut dice = Dice::new(n as u64);
    match n % 8 {
        0 => (0..4096).map(|_| dice.next() as u8).collect(),
        1 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        // The beginning of a TLS 1.2 client's hello.
        2 => [b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03".as_slice(), &[0x5a; 237]].concat(),
        3 => b"POST /v1/push HTTP/1.1\r\nHo".to_vec(),
        4 => b"POST /v1/join HTTP/1.1\r\nHost: siege\r\nContent-Length: 100\r\n\r\n{\"secret\":".to_vec(),
        5 => [b"GET /".as_slice(), &[b'a'; 60_000], b" HTTP/1.1\r\n\r\n"].concat(),
        6 => b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: x\r\n\r\n"
            .to_vec(),
        _ => b"\0".repeat(64),
    }
}

/// Each sends its words and waits.
pub(super) async fn bytes(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let life = |stream, n| {
        Drip { first: words(n).into(), then: Bytes::new(), every: Duration::ZERO, hears: true }.live(stream)
    };
    battle.peers(PEERS, None, life).await;
    Ok(())
}
