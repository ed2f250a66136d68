//! Rejoining: a file whose history parted from its number's goes on under another number.
//!
//! A forked file proves which number it had by that number's token, says up to which change both histories are the same
//! ([`History`](crate::ledger::cursors::History) tells it), and gets a number of its own. Rows of the shared history
//! stay in the old number's block.
//!
//! The operator says by the join code who may write those rows:
//! - a code of `station add NAME`: the old number goes on in another copy of the file, and its rows are that copy's;
//! - a code of `station add NAME --replaces OLD`: the old number ends, and the file that rejoins owns its rows.

use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use crate::ledger::lineage::Former;
pub use crate::ledger::lineage::Parting;
use crate::ledger::stations::{JoinAsk, NewStation, StationBy};
use crate::stations::next_number;
use crate::upstream::error::StoreError;
use crate::upstream::{Transaction, Upstream, no_cursor, transact};

/// A file's request to go on under another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejoinAsk {
    /// Code, new uuid, hash of the new token.
    pub join: JoinAsk,
    /// The number it had, proved by that number's token.
    pub former: StationNumber,
    /// And its name.
    pub former_name: String,
    /// The former number's cursor when the file compared histories.
    pub cursor: Cursor,
    /// The place where the histories parted.
    pub parting: Parting,
    /// It must own the former number's rows.
    pub must_replace: bool,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RejoinOutcome {
    /// It goes on, now or by an earlier request with the same words.
    Rejoined {
        /// Its new number.
        number: StationNumber,
        /// Its new name.
        name: String,
        /// Whether it replaces the former number.
        replaces: bool,
    },
    /// The former number's cursor is elsewhere by now.
    Moved(Cursor),
    /// No such code.
    Unknown,
    /// Another file used the code.
    Used,
    /// The code's time is over.
    Expired,
    /// The code's station was revoked.
    Revoked,
    /// The code is for a file that replaces this station.
    ReplacesAnother(String),
    /// The file must replace its former number, and the code does not.
    MustReplace,
    /// The code is to replace a station that another file has replaced already.
    AlreadyReplaced,
    /// Another copy of this file went on from the same change already, as this station.
    Continued(String),
    /// There are no numbers left.
    Exhausted,
}

/// The answer to an operator who invites a station to replace another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplacementOutcome {
    /// Invited.
    Added,
    /// There is a station of the new name.
    NameTaken,
    /// There is no station of the old name that has joined.
    NoSuchStation,
    /// The old station was replaced already.
    Gone,
}

impl dyn Upstream {
    /// Lets a file go on under another number. Asking again with the same words gives the same answer.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rejoin(&self, ask: &RejoinAsk) -> Result<RejoinOutcome, StoreError> {
        let ask = ask.clone();
        transact(self, move |tx| {
            let ask = ask.clone();
            Box::pin(async move { rejoin(tx, &ask).await })
        })
        .await
    }

    /// Invites a station that replaces another one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add_replacement(
        &self,
        station: &NewStation,
        replaces: &str,
    ) -> Result<ReplacementOutcome, StoreError> {
        let (station, replaces) = (station.clone(), replaces.to_owned());
        transact(self, move |tx| {
            let (station, replaces) = (station.clone(), replaces.clone());
            Box::pin(async move { invite_replacement(tx, &station, &replaces).await })
        })
        .await
    }
}

/// [`Upstream::add_replacement`](dyn Upstream::add_replacement) within a transaction.
///
/// # Errors
/// When the store fails.
pub(crate) async fn invite_replacement(
    tx: &mut dyn Transaction,
    station: &NewStation,
    replaces: &str,
) -> Result<ReplacementOutcome, StoreError> {
    tx.lock_stations().await?;
    let old = tx.station(StationBy::Name(replaces)).await?;
    let Some(number) = old.and_then(|old| old.number) else { return Ok(ReplacementOutcome::NoSuchStation) };
    if tx.successor(number).await?.is_some() {
        return Ok(ReplacementOutcome::Gone);
    }
    if !tx.invite(station).await? {
        return Ok(ReplacementOutcome::NameTaken);
    }
    tx.set_replaces(&station.name, replaces).await?;
    Ok(ReplacementOutcome::Added)
}

/// The number that writes in a station's place: itself, or the last of those that replaced it, one after the other. The
/// cursors of all of them are locked, the oldest first, until the transaction ends. `None` where the station has no
/// cursor.
///
/// # Errors
/// When the store fails.
pub async fn lock_writer(
    tx: &mut dyn Transaction,
    station: StationNumber,
) -> Result<Option<StationNumber>, StoreError> {
    let mut writer = station;
    loop {
        if tx.lock_cursor(writer).await?.is_none() {
            return Ok(None);
        }
        // A rejoin holds the lock of the number it replaces: whoever has it knows whether there is a successor.
        match tx.successor(writer).await? {
            Some(successor) => writer = successor,
            None => return Ok(Some(writer)),
        }
    }
}

async fn rejoin(tx: &mut dyn Transaction, ask: &RejoinAsk) -> Result<RejoinOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station(StationBy::Code(ask.join.code_hash)).await? else {
        return Ok(RejoinOutcome::Unknown);
    };
    if station.revoked_at_ms.is_some() {
        return Ok(RejoinOutcome::Revoked);
    }
    let replaces = tx.replaces(&station.name).await?;
    if let Some(other) = replaces.clone().filter(|name| *name != ask.former_name) {
        return Ok(RejoinOutcome::ReplacesAnother(other));
    }
    let replaces = replaces.is_some();
    let same = station.uuid == Some(ask.join.uuid) && station.token_hash == Some(ask.join.token_hash);
    if station.number.is_some() && !same {
        return Ok(RejoinOutcome::Used);
    }
    if station.number.is_none() && station.code_expires_at_ms <= ask.join.now_ms {
        return Ok(RejoinOutcome::Expired);
    }
    if ask.must_replace && !replaces {
        return Ok(RejoinOutcome::MustReplace);
    }
    if replaces && station.number.is_none() && tx.successor(ask.former).await?.is_some() {
        return Ok(RejoinOutcome::AlreadyReplaced);
    }
    // Held until the end, so that no batch of the former number is applied between the comparison and this.
    match tx.lock_cursor(ask.former).await? {
        Some(cursor) if cursor == ask.cursor => {}
        Some(cursor) => return Ok(RejoinOutcome::Moved(cursor)),
        None => return Err(no_cursor(ask.former)),
    }
    if let Some(next) = ask.parting.next
        && let Some(other) = tx.continued(ask.former, ask.parting.common, next).await?
        && other != station.name
    {
        return Ok(RejoinOutcome::Continued(other));
    }
    let number = match station.number {
        Some(number) => number,
        None => {
            let last = tx.last_number().await?;
            let Some(number) = next_number(last) else { return Ok(RejoinOutcome::Exhausted) };
            tx.assign(&station.name, number, &ask.join, Chain::start(ask.join.uuid)).await?;
            number
        }
    };
    tx.descend(number, Former { number: ask.former, owned: replaces }, ask.parting).await?;
    if replaces {
        let is_revoked = tx.revoke(&ask.former_name, ask.join.now_ms).await?;
        if !is_revoked {
            return Err(StoreError::Fault(format!("there is no station {:?} to revoke", ask.former_name)));
        }
    }
    Ok(RejoinOutcome::Rejoined { number, name: station.name, replaces })
}
