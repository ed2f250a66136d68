//! What a store keeps of what is settled, and takes away after a time.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;

use super::StoreError;

/// What of one station may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinning {
    /// Whose.
    pub station: StationNumber,
    /// Rejects that were settled before this, and prints of batches that were applied before it; milliseconds since 1970 UTC.
    pub before_ms: i64,
    /// So many of the newest changes keep their prints, whatever their age.
    pub prints_kept: u64,
    /// At most so many rejects and so many batches' prints at a time: pushes wait no longer than that takes.
    pub rows_max: u32,
}

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thinned {
    /// Rejects.
    pub rejects: u64,
    /// Batches whose prints went.
    pub batches: u64,
}

/// The part of an upstream that keeps it from growing for ever.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Takes away what may go, in one short transaction. A reject may go once it is settled, no open one hangs on it, and the station has
    /// shown that it knows the verdict: until then a repeated batch is answered with it.
    async fn thin(&self, thinning: &Thinning) -> Result<Thinned, StoreError>;
    /// The last change of which a station has shown to know the verdict; 0 of an unknown station. What is not kept up to there was settled.
    async fn heard(&self, station: StationNumber) -> Result<u64, StoreError>;
}
