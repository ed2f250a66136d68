//! Every schema that a database has served: batches of the older ones are still taken.

use async_trait::async_trait;

use crate::upstream::error::StoreError;

/// A schema that was served once, by its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSchema {
    /// Fingerprint, hex.
    pub fingerprint: String,
    /// The file's text.
    pub toml: String,
}

/// The schemas of a ledger.
#[async_trait]
pub trait SchemaLedger: Send {
    /// Every schema this database has known.
    async fn schemas(&mut self) -> Result<Vec<KnownSchema>, StoreError>;
}
