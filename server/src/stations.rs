//! Joining: a station is invited by a code, gets a number with it, and is known by a token from then on.
//!
//! A token that others may know is *rotated*: it ends at once, and the station, which keeps number, log and rows, takes
//! another one with a new code. Which tokens have ended is remembered, so that a file that still has one is told so.

use tidemark_core::chain::Chain;
use tidemark_core::ids::{STATION_NUMBER_MAX, StationNumber};
pub use tidemark_core::secret::secret_hash;

pub use crate::ledger::stations::{JoinAsk, NewStation, StationBy, StationRecord, StationSummary};
use crate::upstream::error::StoreError;
use crate::upstream::{Transaction, Upstream, transact};

/// The answer to a request to join.
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

/// The answer to an operator who takes a station's token away.
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

impl dyn Upstream {
    /// Lets a station join. Asking again with the same words gives the same answer, so a lost reply is repaired by
    /// asking.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn join(&self, ask: &JoinAsk) -> Result<JoinOutcome, StoreError> {
        let ask = ask.clone();
        transact(self, move |tx| {
            let ask = ask.clone();
            Box::pin(async move { join(tx, &ask).await })
        })
        .await
    }

    /// Gives the file of station `number` the token it made, if the code is for that. Asking again with the same words
    /// gives the same answer.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew(&self, ask: &JoinAsk, number: StationNumber) -> Result<JoinOutcome, StoreError> {
        let ask = ask.clone();
        transact(self, move |tx| {
            let ask = ask.clone();
            Box::pin(async move { renew(tx, &ask, number).await })
        })
        .await
    }

    /// Ends a station's token and takes its code and its revocation, if it was revoked, away; it takes another token
    /// with the new code.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rotate_station(&self, code: &NewStation) -> Result<RotateOutcome, StoreError> {
        let code = code.clone();
        transact(self, move |tx| {
            let code = code.clone();
            Box::pin(async move { rotate(tx, &code).await })
        })
        .await
    }
}

/// [`Upstream::rotate_station`](dyn Upstream::rotate_station) within a transaction.
///
/// # Errors
/// When the store fails.
pub(crate) async fn rotate(tx: &mut dyn Transaction, code: &NewStation) -> Result<RotateOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station(StationBy::Name(&code.name)).await? else { return Ok(RotateOutcome::NoSuchStation) };
    if let Some(number) = station.number
        && let Some(successor) = tx.successor(number).await?
    {
        return Ok(RotateOutcome::Replaced(successor));
    }
    tx.renew_code(code).await?;
    Ok(station.number.map_or(RotateOutcome::Invited, RotateOutcome::Rotated))
}

async fn renew(tx: &mut dyn Transaction, ask: &JoinAsk, number: StationNumber) -> Result<JoinOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station(StationBy::Code(ask.code_hash)).await? else { return Ok(JoinOutcome::Unknown) };
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
async fn joined_before(
    tx: &mut dyn Transaction,
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

async fn join(tx: &mut dyn Transaction, ask: &JoinAsk) -> Result<JoinOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station(StationBy::Code(ask.code_hash)).await? else { return Ok(JoinOutcome::Unknown) };
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
    if let Some(other) = tx.station(StationBy::Uuid(ask.uuid)).await? {
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
