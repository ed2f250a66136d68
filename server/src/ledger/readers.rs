//! Programs that may read reports, each by a token of which only the hash is kept.

use async_trait::async_trait;

use crate::upstream::error::StoreError;

/// A program that may read reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The name the operator gave it.
    pub name: String,
    /// When it was added, milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// When it was revoked, milliseconds since 1970 UTC.
    pub revoked_at_ms: Option<i64>,
}

/// The readers of a ledger.
#[async_trait]
pub trait ReaderLedger: Send {
    /// Adds a reader; `false` when the name is taken.
    async fn add_reader(&mut self, name: &str, token_hash: [u8; 32], now_ms: i64) -> Result<bool, StoreError>;
    /// Takes a reader's token away for good; `false` when there is none of that name.
    async fn revoke_reader(&mut self, name: &str, now_ms: i64) -> Result<bool, StoreError>;
    /// Every reader, by name.
    async fn readers(&mut self) -> Result<Vec<Reader>, StoreError>;
    /// The reader whose token has this hash.
    async fn reader_by_token(&mut self, token_hash: [u8; 32]) -> Result<Option<Reader>, StoreError>;
}
