//! Stations as the database knows them: invited by a code, joined with a number, known by a token. Codes and tokens are
//! kept only as hashes.

use async_trait::async_trait;
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;

use crate::upstream::error::StoreError;

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
    /// When that token ended, milliseconds since 1970 UTC: the station takes another one with its code.
    pub token_ended_at_ms: Option<i64>,
    /// When its join code ends, milliseconds since 1970 UTC.
    pub code_expires_at_ms: i64,
    /// When it joined, milliseconds since 1970 UTC.
    pub joined_at_ms: Option<i64>,
    /// When it was revoked, milliseconds since 1970 UTC.
    pub revoked_at_ms: Option<i64>,
}

impl StationRecord {
    /// Whether a token opens something: it is the station's, and has not ended.
    #[must_use]
    pub fn takes(&self, token_hash: &[u8; 32]) -> bool {
        self.token_hash.as_ref() == Some(token_hash) && self.token_ended_at_ms.is_none()
    }
}

/// One line of `station list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StationSummary {
    /// The station.
    pub record: StationRecord,
    /// Its tidemark.
    pub tidemark: u64,
    /// When its cursor last moved, milliseconds since 1970 UTC.
    pub updated_at_ms: Option<i64>,
    /// How many of its changes are kept as rejected and open.
    pub rejects: u64,
    /// The server's clock minus the station's, when it pushed last, milliseconds.
    pub clock_offset_ms: Option<i64>,
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

/// A station's request to join.
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

/// One way to name a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StationBy<'a> {
    /// By the hash of its join code.
    Code([u8; 32]),
    /// By its name.
    Name(&'a str),
    /// By its number.
    Number(StationNumber),
    /// By the hash of its token, or of one that ended: [`StationRecord::takes`] tells which.
    Token([u8; 32]),
    /// By the uuid of its file.
    Uuid([u8; 16]),
}

/// The stations of a ledger.
#[async_trait]
pub trait StationLedger: Send {
    /// Locks the list of stations until the transaction ends.
    async fn lock_stations(&mut self) -> Result<(), StoreError>;
    /// Every station, by name.
    async fn stations(&mut self) -> Result<Vec<StationSummary>, StoreError>;
    /// The station that is named so.
    async fn station(&mut self, by: StationBy<'_>) -> Result<Option<StationRecord>, StoreError>;
    /// The highest number given so far; 0 before the first.
    async fn last_number(&mut self) -> Result<u32, StoreError>;
    /// Invites a station; `false` when the name is taken.
    async fn invite(&mut self, station: &NewStation) -> Result<bool, StoreError>;
    /// Gives a station its number, and its cursor at the beginning of its log.
    async fn assign(
        &mut self,
        name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError>;
    /// Gives a station another code, ends its token if it has one, and takes a revocation back.
    async fn renew_code(&mut self, code: &NewStation) -> Result<(), StoreError>;
    /// Gives a station that has joined another token.
    async fn renew_token(&mut self, name: &str, token_hash: [u8; 32]) -> Result<(), StoreError>;
    /// Takes a station's access away, if it still has it; `false` when there is none of that name.
    async fn revoke(&mut self, name: &str, now_ms: i64) -> Result<bool, StoreError>;
    /// Gives a station another name, which must be free; `false` when there is none of the old one.
    async fn rename(&mut self, name: &str, to: &str) -> Result<bool, StoreError>;
}
