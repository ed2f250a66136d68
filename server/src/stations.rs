//! Stations: invited by a code, joined with a number, known by a token. Codes and tokens are kept only as hashes.
//!
//! A token that others may know is *rotated*: it ends at once, and the station, which keeps number, log and rows,
//! takes another one with a new code. Which tokens have ended is remembered, so that a file that still has one is
//! told so.

use tidemark_core::chain::Chain;
use tidemark_core::ids::{STATION_NUMBER_MAX, StationNumber};
pub use tidemark_core::secret::secret_hash;

use crate::upstream::{StoreError, StoreTransaction};

/// A station as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationRecord {
    /// The name the operator gave it.
    pub name: String,
    /// Its number, once it joined.
    pub number: Option<StationNumber>,
    /// The uuid of its file, once it joined.
    pub uuid: Option<[u8; 16]>,
    /// Hash of its token, once it joined.
    pub token_hash: Option<[u8; 32]>,
    /// When that token ended, milliseconds since 1970 UTC: the station waits for another one, which it takes with its
    /// code.
    pub token_ended_at_ms: Option<i64>,
    /// When its join code ends, milliseconds since 1970 UTC.
    pub code_expires_at_ms: i64,
    /// When it joined, milliseconds since 1970 UTC.
    pub joined_at_ms: Option<i64>,
    /// When it was revoked, milliseconds since 1970 UTC.
    pub revoked_at_ms: Option<i64>,
}

impl StationRecord {
    /// The token opens something: it is the station's, and has not ended.
    #[must_use]
    pub fn takes(&self, token_hash: &[u8; 32]) -> bool {
        self.token_hash.as_ref() == Some(token_hash) && self.token_ended_at_ms.is_none()
    }
}

/// A line of `station list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationSummary {
    /// The station.
    pub record: StationRecord,
    /// Its tidemark.
    pub tidemark: u64,
    /// When its cursor last moved, milliseconds since 1970 UTC.
    pub updated_at_ms: Option<i64>,
    /// The number of its changes that are kept as rejected.
    pub rejects: u64,
}

/// An invitation, or another code for a station that has one already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStation {
    /// The name.
    pub name: String,
    /// Hash of the join code's secret.
    pub code_hash: [u8; 32],
    /// When the code ends, milliseconds since 1970 UTC.
    pub code_expires_at_ms: i64,
    /// Now, milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// A station asks to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAsk {
    /// Hash of the secret it was given.
    pub code_hash: [u8; 32],
    /// The uuid of its file.
    pub uuid: [u8; 16],
    /// Hash of the token it made.
    pub token_hash: [u8; 32],
    /// Now, milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// The outcome of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinOutcome {
    /// It joined, now or by an earlier request with the same words.
    Joined {
        /// Its number.
        number: StationNumber,
        /// Its name.
        name: String,
    },
    /// No such code.
    Unknown,
    /// Another file used the code.
    Used,
    /// The code's time is over.
    Expired,
    /// The station was revoked.
    Revoked,
    /// The code is for the file of another station, to rejoin with.
    ForRejoin(String),
    /// The file joined already, by another code.
    JoinedAs(String),
    /// The code is for a station that has not joined yet, and the file has a number.
    ForNew(String),
    /// There are no numbers left.
    Exhausted,
}

/// The outcome of the wish to take a station's token away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The token has ended; the file of this number takes another one with the code.
    Rotated(StationNumber),
    /// It has not joined yet: the new code is the one to join with.
    Invited,
    /// There is no station of that name.
    NoSuchStation,
    /// This station replaced it: its number has ended for good.
    Replaced(StationNumber),
}

/// Takes a station's token and code away, and a revocation; it takes another token with the new code.
///
/// # Errors
/// When the store fails.
pub async fn rotate<T: StoreTransaction + ?Sized>(tx: &mut T, code: &NewStation) -> Result<RotateOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station_by_name(&code.name).await? else { return Ok(RotateOutcome::NoSuchStation) };
    if let Some(number) = station.number
        && let Some(successor) = tx.successor(number).await?
    {
        return Ok(RotateOutcome::Replaced(successor));
    }
    tx.renew_code(&station, code).await?;
    Ok(station.number.map_or(RotateOutcome::Invited, RotateOutcome::Rotated))
}

/// Gives the file of station `number` the token it made, if the code is for that. Asking again with the same words
/// gives the same answer.
///
/// # Errors
/// When the store fails.
pub async fn renew<T: StoreTransaction + ?Sized>(
    tx: &mut T,
    ask: &JoinAsk,
    number: StationNumber,
) -> Result<JoinOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station_by_code(ask.code_hash).await? else { return Ok(JoinOutcome::Unknown) };
    if station.revoked_at_ms.is_some() {
        return Ok(JoinOutcome::Revoked);
    }
    match station.number {
        None => Ok(JoinOutcome::ForNew(station.name)),
        Some(its) if its == number => joined_before(tx, station, number, ask).await,
        Some(_) => Ok(JoinOutcome::Used),
    }
}

/// The code's station has joined: it is this very file that asks again, or takes another token.
async fn joined_before<T: StoreTransaction + ?Sized>(
    tx: &mut T,
    station: StationRecord,
    number: StationNumber,
    ask: &JoinAsk,
) -> Result<JoinOutcome, StoreError> {
    if station.uuid != Some(ask.uuid) {
        return Ok(JoinOutcome::Used);
    }
    if station.token_ended_at_ms.is_some() {
        if station.code_expires_at_ms <= ask.now_ms {
            return Ok(JoinOutcome::Expired);
        }
        tx.renew_token(&station.name, ask.token_hash).await?;
    } else if station.token_hash != Some(ask.token_hash) {
        return Ok(JoinOutcome::Used);
    }
    Ok(JoinOutcome::Joined { number, name: station.name })
}

/// Lets a station join. Asking again with the same words gives the same answer, so a lost reply is repaired by asking.
///
/// # Errors
/// When the store fails.
pub async fn join<T: StoreTransaction + ?Sized>(tx: &mut T, ask: &JoinAsk) -> Result<JoinOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station_by_code(ask.code_hash).await? else { return Ok(JoinOutcome::Unknown) };
    if station.revoked_at_ms.is_some() {
        return Ok(JoinOutcome::Revoked);
    }
    if let Some(number) = station.number {
        return joined_before(tx, station, number, ask).await;
    }
    if station.code_expires_at_ms <= ask.now_ms {
        return Ok(JoinOutcome::Expired);
    }
    if let Some(replaced) = tx.replaces(&station.name).await? {
        return Ok(JoinOutcome::ForRejoin(replaced));
    }
    if let Some(other) = tx.station_by_uuid(ask.uuid).await? {
        return Ok(JoinOutcome::JoinedAs(other.name));
    }
    let last = tx.last_number().await?;
    let Some(number) = next_number(last) else { return Ok(JoinOutcome::Exhausted) };
    tx.assign(&station.name, number, ask, Chain::start(ask.uuid)).await?;
    Ok(JoinOutcome::Joined { number, name: station.name })
}

/// The number after `last`: never one past the limit, never one again.
#[must_use]
pub fn next_number(last: u32) -> Option<StationNumber> {
    (last < STATION_NUMBER_MAX).then(|| StationNumber::new(last + 1).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_at_the_limit_and_never_wrap() {
        assert_eq!(next_number(0).map(StationNumber::get), Some(1));
        assert_eq!(next_number(STATION_NUMBER_MAX - 1).map(StationNumber::get), Some(STATION_NUMBER_MAX));
        assert_eq!(next_number(STATION_NUMBER_MAX), None);
        assert_eq!(next_number(u32::MAX), None);
    }
}
