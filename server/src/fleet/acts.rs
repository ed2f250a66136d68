//! What an operator does to stations, by the command line or over HTTP, with the row of the audit in the same
//! transaction.

use tidemark_core::ids::StationNumber;

use crate::ledger::operators::{ActedOn, NewAct};
use crate::rejoin::{ReplacementOutcome, invite_replacement};
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
    /// An operator ended one.
    pub const SESSION_END: &str = "session-end";
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

/// Those who have a token of their own beside the stations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearer {
    /// A person who may look at the stations and act on them.
    Operator,
    /// A program that may read reports.
    Reader,
}

impl Bearer {
    /// The word for one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Reader => "reader",
        }
    }
}

/// A session that an operator begins in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Whose.
    pub operator: String,
    /// The hash of its cookie's secret.
    pub secret_hash: [u8; 32],
    /// From where, for the audit.
    pub from: String,
    /// Now, milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// When it ends by itself, milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
}

/// An act on a station that was just found or made.
fn act_on(
    act: &'static str,
    by: &str,
    (number, name): (Option<StationNumber>, &str),
    detail: impl Into<String>,
    at_ms: i64,
) -> NewAct {
    let to = number.map_or_else(|| ActedOn::Invited(name.to_owned()), ActedOn::Station);
    NewAct { at_ms, operator: by.to_owned(), act, to, detail: detail.into() }
}

/// An act on no one station.
fn act_else(act: &'static str, by: &str, detail: &str, at_ms: i64) -> NewAct {
    NewAct { at_ms, operator: by.to_owned(), act, to: ActedOn::Else, detail: detail.to_owned() }
}

impl dyn Upstream {
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
                    let name = station.name.as_str();
                    tx.note_act(&act_on(words::STATION_ADD, &by, (None, name), name, station.now_ms)).await?;
                }
                Ok(invited)
            })
        })
        .await
    }

    /// As `add_replacement`, in the name of `by`.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn invite_replacement(
        &self,
        station: &NewStation,
        replaces: &str,
        by: &str,
    ) -> Result<ReplacementOutcome, StoreError> {
        let (station, replaces, by) = (station.clone(), replaces.to_owned(), by.to_owned());
        transact(self, move |tx| {
            let (station, replaces, by) = (station.clone(), replaces.clone(), by.clone());
            Box::pin(async move {
                let outcome = invite_replacement(tx, &station, &replaces).await?;
                if outcome == ReplacementOutcome::Added {
                    let (name, at_ms) = (station.name.as_str(), station.now_ms);
                    let detail = format!("{name}, to replace {replaces}");
                    tx.note_act(&act_on(words::STATION_ADD, &by, (None, name), detail, at_ms)).await?;
                }
                Ok(outcome)
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
                let name = code.name.as_str();
                tx.note_act(&act_on(words::STATION_ROTATE, &by, (number, name), name, code.now_ms)).await?;
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
                let act = act_on(words::STATION_REVOKE, &by, (station.number, &name), name.as_str(), now_ms);
                tx.note_act(&act).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Adds somebody who has a token of this hash, in the name of `by`; `false` when the name is taken.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn add_bearer(
        &self,
        bearer: Bearer,
        name: &str,
        token_hash: [u8; 32],
        by: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let (name, by) = (name.to_owned(), by.to_owned());
        transact(self, move |tx| {
            let (name, by) = (name.clone(), by.clone());
            Box::pin(async move {
                let (is_added, act) = match bearer {
                    Bearer::Operator => (tx.add_operator(&name, token_hash, now_ms).await?, words::OPERATOR_ADD),
                    Bearer::Reader => (tx.add_reader(&name, token_hash, now_ms).await?, words::READER_ADD),
                };
                if is_added {
                    tx.note_act(&act_else(act, &by, &name, now_ms)).await?;
                }
                Ok(is_added)
            })
        })
        .await
    }

    /// Takes the token of an operator or a reader away for good, in the name of `by`; `false` when there is none of
    /// that name.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn revoke_bearer(&self, bearer: Bearer, name: &str, by: &str, now_ms: i64) -> Result<bool, StoreError> {
        let (name, by) = (name.to_owned(), by.to_owned());
        transact(self, move |tx| {
            let (name, by) = (name.clone(), by.clone());
            Box::pin(async move {
                let (is_there, act) = match bearer {
                    Bearer::Operator => (tx.revoke_operator(&name, now_ms).await?, words::OPERATOR_REVOKE),
                    Bearer::Reader => (tx.revoke_reader(&name, now_ms).await?, words::READER_REVOKE),
                };
                if is_there {
                    tx.note_act(&act_else(act, &by, &name, now_ms)).await?;
                }
                Ok(is_there)
            })
        })
        .await
    }

    /// Begins a session.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn begin_session(&self, session: &NewSession) -> Result<(), StoreError> {
        let session = session.clone();
        transact(self, move |tx| {
            let session = session.clone();
            Box::pin(async move {
                let NewSession { operator, secret_hash, from, now_ms, expires_at_ms } = session;
                tx.begin_session(&operator, secret_hash, now_ms, expires_at_ms).await?;
                tx.note_act(&act_else(words::SESSION_BEGIN, &operator, &from, now_ms)).await
            })
        })
        .await
    }

    /// Ends a session, in the name of `by`; `false` when there is none.
    ///
    /// # Errors
    /// When the store fails; nothing is done then.
    pub async fn end_session(
        &self,
        secret_hash: [u8; 32],
        from: &str,
        by: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let (from, by) = (from.to_owned(), by.to_owned());
        transact(self, move |tx| {
            let (from, by) = (from.clone(), by.clone());
            Box::pin(async move {
                let is_there = tx.end_session(secret_hash).await?;
                if is_there {
                    tx.note_act(&act_else(words::SESSION_END, &by, &from, now_ms)).await?;
                }
                Ok(is_there)
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
    tx.note_act(&act_on(words::STATION_RENAME, by, (station.number, to), detail, now_ms)).await?;
    Ok(RenameOutcome::Renamed)
}
