//! What an operator does to stations, by the command line or over HTTP, with the row of the audit in the same
//! transaction.

use tidemark_core::ids::StationNumber;

use crate::ledger::operators::NewAct;
use crate::stations::{NewStation, RotateOutcome, StationBy, rotate};
use crate::upstream::error::StoreError;
use crate::upstream::{Transaction, Upstream, transact};

/// The name under which the audit has what is done by the command line. No operator may have it.
pub const COMMAND_LINE: &str = "command line";

/// So many changes are named in the audit of one act.
const CHANGES_SHOWN: usize = 20;

/// The words of acts.
pub mod words {
    /// A station was invited.
    pub const STATION_ADD: &str = "station-add";
    /// A station got another name.
    pub const STATION_RENAME: &str = "station-rename";
    /// A station's token was taken away for another one.
    pub const STATION_ROTATE: &str = "station-rotate";
    /// A station's access was taken away.
    pub const STATION_REVOKE: &str = "station-revoke";
    /// Rejects were applied again.
    pub const REJECTS_REPLAY: &str = "rejects-replay";
    /// Rejects were given up.
    pub const REJECTS_DISCARD: &str = "rejects-discard";
    /// An operator was added.
    pub const OPERATOR_ADD: &str = "operator-add";
    /// An operator was revoked.
    pub const OPERATOR_REVOKE: &str = "operator-revoke";
    /// An operator began a session in a browser.
    pub const SESSION_BEGIN: &str = "session-begin";
    /// A reader was added.
    pub const READER_ADD: &str = "reader-add";
    /// A reader was revoked.
    pub const READER_REVOKE: &str = "reader-revoke";
}

/// The answer to an operator who gives a station another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameOutcome {
    /// It has the name.
    Renamed,
    /// There is no station of the old name.
    NoSuchStation,
    /// Another station has the name.
    NameTaken,
}

/// The first few of some changes, for the audit.
#[must_use]
pub fn changes(seqs: &[u64]) -> String {
    let some: Vec<String> = seqs.iter().take(CHANGES_SHOWN).map(u64::to_string).collect();
    let rest = if seqs.len() > some.len() { format!(" and {} more", seqs.len() - some.len()) } else { String::new() };
    format!("changes {}{rest}", some.join(", "))
}

/// An act on a station that was just found or made.
fn act_on(
    act: &'static str,
    by: &str,
    station: Option<StationNumber>,
    detail: impl Into<String>,
    at_ms: i64,
) -> NewAct {
    NewAct { at_ms, operator: by.to_owned(), act, station, detail: detail.into() }
}

impl dyn Upstream {
    /// Notes an act that is done, or cannot be noted with its doing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_act(&self, act: &NewAct) -> Result<(), StoreError> {
        self.ledger().note_act(act).await
    }

    /// Invites a station in the name of `by`; `false` when the name is taken.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn invite_station(&self, station: &NewStation, by: &str) -> Result<bool, StoreError> {
        let (station, by) = (station.clone(), by.to_owned());
        transact(self, move |tx| {
            let (station, by) = (station.clone(), by.clone());
            Box::pin(async move {
                let invited = tx.invite(&station).await?;
                if invited {
                    let act = act_on(words::STATION_ADD, &by, None, station.name.as_str(), station.now_ms);
                    tx.note_act(&act).await?;
                }
                Ok(invited)
            })
        })
        .await
    }

    /// Gives a station another name, in the name of `by`.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn rename_station(
        &self,
        name: &str,
        to: &str,
        by: &str,
        now_ms: i64,
    ) -> Result<RenameOutcome, StoreError> {
        let (name, to, by) = (name.to_owned(), to.to_owned(), by.to_owned());
        transact(self, move |tx| {
            let (name, to, by) = (name.clone(), to.clone(), by.clone());
            Box::pin(async move { rename(tx, &name, &to, &by, now_ms).await })
        })
        .await
    }

    /// As `rotate_station`, in the name of `by`.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn rotate_station_by(&self, code: &NewStation, by: &str) -> Result<RotateOutcome, StoreError> {
        let (code, by) = (code.clone(), by.to_owned());
        transact(self, move |tx| {
            let (code, by) = (code.clone(), by.clone());
            Box::pin(async move {
                let outcome = rotate(tx, &code).await?;
                let number = match outcome {
                    RotateOutcome::Rotated(number) => Some(number),
                    RotateOutcome::Invited => None,
                    RotateOutcome::NoSuchStation | RotateOutcome::Replaced(_) => return Ok(outcome),
                };
                tx.note_act(&act_on(words::STATION_ROTATE, &by, number, code.name.as_str(), code.now_ms)).await?;
                Ok(outcome)
            })
        })
        .await
    }

    /// Takes a station's access away, in the name of `by`; `false` when there is none of that name.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn revoke_station_by(&self, name: &str, by: &str, now_ms: i64) -> Result<bool, StoreError> {
        let (name, by) = (name.to_owned(), by.to_owned());
        transact(self, move |tx| {
            let (name, by) = (name.clone(), by.clone());
            Box::pin(async move {
                let Some(station) = tx.station(StationBy::Name(&name)).await? else { return Ok(false) };
                tx.revoke(&name, now_ms).await?;
                tx.note_act(&act_on(words::STATION_REVOKE, &by, station.number, name.as_str(), now_ms)).await?;
                Ok(true)
            })
        })
        .await
    }
}

async fn rename(
    tx: &mut dyn Transaction,
    name: &str,
    to: &str,
    by: &str,
    now_ms: i64,
) -> Result<RenameOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station(StationBy::Name(name)).await? else { return Ok(RenameOutcome::NoSuchStation) };
    if name != to && tx.station(StationBy::Name(to)).await?.is_some() {
        return Ok(RenameOutcome::NameTaken);
    }
    tx.rename(name, to).await?;
    let detail = format!("{name} → {to}");
    tx.note_act(&act_on(words::STATION_RENAME, by, station.number, detail, now_ms)).await?;
    Ok(RenameOutcome::Renamed)
}
