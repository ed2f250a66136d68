//! The people who may look at the stations and act on them, each by a token of which only the hash is kept; their
//! sessions in a browser; and what they did.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;

use crate::upstream::error::StoreError;

/// An operator who has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name.
    pub name: String,
    /// When it was added, milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// When it was revoked, milliseconds since 1970 UTC.
    pub revoked_at_ms: Option<i64>,
}

/// What an act was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActedOn {
    /// A station.
    Station(StationNumber),
    /// A station that has no number yet, by its name. The acts follow it when it gets another name, and a number.
    Invited(String),
    /// No one station.
    Else,
}

/// An act as it is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAct {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who.
    pub operator: String,
    /// What, in one word.
    pub act: &'static str,
    /// To what.
    pub to: ActedOn,
    /// More of it, and how it ended.
    pub detail: String,
}

/// An act that is kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Act {
    /// Its number; later acts have higher ones.
    pub id: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who.
    pub operator: String,
    /// What, in one word.
    pub act: String,
    /// On which station.
    pub station: Option<StationNumber>,
    /// On what, and how it ended.
    pub detail: String,
}

/// A station whose acts are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActsOn {
    /// Its number, once it joined.
    pub number: Option<StationNumber>,
    /// Its name.
    pub name: String,
}

/// A choice of acts, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActFilter {
    /// Those on this station, also those of the time before it joined.
    pub station: Option<ActsOn>,
    /// Those before this one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

/// The operators of a ledger.
#[async_trait]
pub trait OperatorLedger: Send {
    /// Adds an operator; `false` when the name is taken.
    async fn add_operator(&mut self, name: &str, token_hash: [u8; 32], now_ms: i64) -> Result<bool, StoreError>;
    /// Takes an operator's token and sessions away for good; `false` when there is none of that name.
    async fn revoke_operator(&mut self, name: &str, now_ms: i64) -> Result<bool, StoreError>;
    /// Every operator, by name.
    async fn operators(&mut self) -> Result<Vec<Operator>, StoreError>;
    /// Whether there is an operator whose token opens something.
    async fn has_operators(&mut self) -> Result<bool, StoreError>;
    /// The operator whose token has this hash.
    async fn operator_by_token(&mut self, token_hash: [u8; 32]) -> Result<Option<Operator>, StoreError>;
    /// Begins a session of an operator until then, milliseconds since 1970 UTC; those that ended before `now_ms` are
    /// forgotten.
    async fn begin_session(
        &mut self,
        operator: &str,
        secret_hash: [u8; 32],
        now_ms: i64,
        expires_at_ms: i64,
    ) -> Result<(), StoreError>;
    /// The operator whose session this is and has not ended by `now_ms`.
    async fn operator_by_session(&mut self, secret_hash: [u8; 32], now_ms: i64)
    -> Result<Option<Operator>, StoreError>;
    /// Ends a session; `false` when there is none.
    async fn end_session(&mut self, secret_hash: [u8; 32]) -> Result<bool, StoreError>;
    /// Keeps an act.
    async fn note_act(&mut self, act: &NewAct) -> Result<(), StoreError>;
    /// The acts a filter names, the newest first.
    async fn acts(&mut self, filter: &ActFilter) -> Result<Vec<Act>, StoreError>;
}
