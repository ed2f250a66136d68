//! Floods of whole requests: tokens and codes that nobody has, and questions about rows by one who may ask.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tidemark_core::protocol::{JoinRequest, path};
use tidemark_core::survey::{Ask as About, DigestRequest, Question, Range};
use tidemark_core::value::{format_uuid, hex};

use super::cast::Cast;
use crate::siege::asks::{Ask, ask};
use crate::siege::log::Table;
use crate::siege::peer::Battle;
use crate::world::Dice;

/// How many clients flood.
const CLIENTS: usize = 32;
/// Each asks at most once in this time.
const EVERY: Duration = Duration::from_millis(50);
/// Rows that the one who asks about rows has upstream at least.
const SURVEYED: u64 = 50_000;

/// 32 bytes that are never the same, as hex.
fn drawn(n: usize, i: u64) -> String {
    let mut dice = Dice::new((n as u64) << 32 | i);
    hex(&(0..4).flat_map(|_| dice.next().to_le_bytes()).collect::<Vec<u8>>())
}

/// Tokens that nobody has.
pub(super) async fn tokens(battle: Arc<Battle>, _cast: Arc<Cast>) -> Result<()> {
    let make = |n, i| Ask { method: "GET", path: path::STATION, token: Some(drawn(n, i)), body: Vec::new() };
    ask(&battle, CLIENTS, EVERY, make).await;
    Ok(())
}

/// Join codes that nobody was given.
pub(super) async fn codes(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let fingerprint = cast.schema.fingerprint().to_hex();
    let make = move |n, i| {
        let request = JoinRequest {
            secret: drawn(n, i),
            station_uuid: format_uuid([7; 16]),
            token: drawn(n, i + 1),
            fingerprint: fingerprint.clone(),
            station: None,
            former_uuid: None,
        };
        let body = serde_json::to_vec(&request).expect("BUG: a request is JSON");
        Ask { method: "POST", path: path::JOIN, token: None, body }
    };
    ask(&battle, CLIENTS, EVERY, make).await;
    Ok(())
}

/// Questions after the digest of all rows, by a station that has many.
pub(super) async fn digests(battle: Arc<Battle>, cast: Arc<Cast>) -> Result<()> {
    let mut station = cast.curious.lock().await;
    if station.log.acked() < SURVEYED {
        station.push(SURVEYED).await?;
    }
    let question = Question::Digests(vec![Range::ALL]);
    let asks = vec![About { table: Table::Reading.name().to_owned(), question }];
    let request = DigestRequest { fingerprint: cast.schema.fingerprint().to_hex(), asks };
    let (token, body) = (station.token().to_owned(), serde_json::to_vec(&request)?);
    let make = move |_, _| Ask { method: "POST", path: path::DIGEST, token: Some(token.clone()), body: body.clone() };
    ask(&battle, CLIENTS, EVERY, make).await;
    Ok(())
}
