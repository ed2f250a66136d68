//! What a batch begins with.

use async_trait::async_trait;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use super::lineage::Lineage;
use crate::upstream::error::StoreError;

/// What a batch of a station meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The station's cursor, locked until the transaction ends.
    pub cursor: Cursor,
    /// Its lineage.
    pub lineage: Lineage,
    /// Whether a number whose rows it owns has open rejects. Nothing is to be concluded from it for a station that was
    /// revoked.
    pub has_open_rejects: bool,
}

/// The ledger, opened for a batch.
#[async_trait]
pub trait BatchLedger {
    /// Locks a station's cursor, and then reads what else a batch needs to know; `None` of an unknown station.
    async fn open_batch(&mut self, station: StationNumber) -> Result<Option<Opened>, StoreError>;
}
