//! Rejected changes: what is kept of them, what a push asks about them, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use tidemark_core::identity::Key;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::RejectCode;
use tidemark_core::schema::Schema;

use super::lineage::Lineage;
use crate::upstream::error::StoreError;

/// The state of a rejected change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectState {
    /// It waits for a correction, a replay or somebody who discards it.
    Open,
    /// Its image was applied later.
    Replayed,
    /// An operator gave it up; it is kept.
    Discarded,
    /// A later change of its row was applied: its image is old.
    Superseded,
}

impl RejectState {
    /// Every state.
    pub const ALL: &[Self] = &[Self::Open, Self::Replayed, Self::Discarded, Self::Superseded];

    /// The state as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Superseded => "superseded",
        }
    }

    /// The state of this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

/// A change that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Whose.
    pub station: StationNumber,
    /// Its seq.
    pub seq: u64,
    /// When it was captured, by the station's clock, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// When the server got it, milliseconds since 1970 UTC.
    pub received_at_ms: i64,
    /// Its table; empty when the schema has none of that name.
    pub table: String,
    /// `insert`, `update`, `delete` or `void`.
    pub op: String,
    /// Why, in one word.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// The change's values as JSON ([`tidemark_core::image`]); none when it was rejected on the station, which keeps
    /// them.
    pub image: Option<String>,
    /// `server` or `station`.
    pub origin: String,
    /// Its state.
    pub state: RejectState,
    /// When it ceased to be open, milliseconds since 1970 UTC.
    pub resolved_at_ms: Option<i64>,
    /// The key of its row, as text; none when the server does not know it.
    pub key: Option<String>,
    /// Of a child: the seq of the rejected change that should have written the row it references.
    pub parent: Option<u64>,
}

impl Reject {
    /// The verdict on this change, as a repeated batch is answered with it.
    #[must_use]
    pub fn verdict(&self) -> RejectedChange {
        let code = RejectCode::from_text(&self.code).unwrap_or(RejectCode::Constraint);
        RejectedChange { seq: self.seq, code, message: self.message.clone() }
    }
}

/// A choice of rejects. What is not set does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RejectFilter {
    /// Of this station.
    pub station: Option<StationNumber>,
    /// With one of these seqs.
    pub seqs: Option<Vec<u64>>,
    /// Children of the rows of the rejects with one of these seqs: of those very changes, or of others of the same row.
    pub children_of: Option<Vec<u64>>,
    /// Of this table.
    pub table: Option<String>,
    /// With this code.
    pub code: Option<String>,
    /// In this state.
    pub state: Option<RejectState>,
    /// Behind this one, by station and seq, where the newest come first.
    pub before: Option<(StationNumber, u64)>,
    /// Without their images, which may be large.
    pub without_images: bool,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A reject without its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectHead {
    /// Whose.
    pub station: StationNumber,
    /// Its seq.
    pub seq: u64,
    /// Its state.
    pub state: RejectState,
    /// How many bytes its image has; none without one.
    pub image_bytes: Option<u64>,
}

/// A row that is not upstream because its change was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// The change.
    pub seq: u64,
    /// Why.
    pub code: String,
}

/// A row that a change was applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedRow {
    /// Its table.
    pub table: usize,
    /// Its key.
    pub key: Key,
    /// The last change of it that was applied.
    pub seq: u64,
}

/// The new state of a reject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Which.
    pub seq: u64,
    /// Its state from now on.
    pub state: RejectState,
    /// Its code and message, where they are others from now on.
    pub reason: Option<(String, String)>,
    /// The seq of its parent, where `reason` is set.
    pub parent: Option<u64>,
}

/// The rejects of a ledger.
#[async_trait]
pub trait RejectLedger: Send {
    /// Keeps rejected changes.
    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError>;
    /// The changes of a range that the server rejected, in seq order.
    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError>;
    /// The rejects a filter names, with their images, the newest first.
    async fn list_rejects(&mut self, filter: &RejectFilter) -> Result<Vec<Reject>, StoreError>;
    /// The rejects a filter names, in order of station and seq.
    async fn reject_heads(&mut self, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError>;
    /// How many rejects of each code are open.
    async fn open_by_code(&mut self) -> Result<Vec<(String, u64)>, StoreError>;
    /// The newest open reject of an insert or update of each of these rows, by table and key.
    async fn rejected_rows(
        &mut self,
        schema: &Schema,
        station: StationNumber,
        keys: &BTreeMap<usize, BTreeSet<Key>>,
    ) -> Result<HashMap<(usize, Key), RejectedRow>, StoreError>;
    /// Marks as superseded the open rejects of these rows that are older than what was applied: in the station's own
    /// log those with a lower seq; of the numbers it replaced all, since these write no more.
    async fn supersede(
        &mut self,
        schema: &Schema,
        lineage: &Lineage,
        applied: &[AppliedRow],
        now_ms: i64,
    ) -> Result<(), StoreError>;
    /// The open rejects with these seqs, in seq order.
    async fn open_rejects(&mut self, station: StationNumber, seqs: &[u64]) -> Result<Vec<Reject>, StoreError> {
        let filter = RejectFilter {
            station: Some(station),
            seqs: Some(seqs.to_vec()),
            state: Some(RejectState::Open),
            ..RejectFilter::default()
        };
        let mut rejects = self.list_rejects(&filter).await?;
        rejects.sort_unstable_by_key(|reject| reject.seq);
        Ok(rejects)
    }
    /// Changes what is kept of open rejects.
    async fn settle(&mut self, station: StationNumber, settled: &[Settled], now_ms: i64) -> Result<(), StoreError>;
}
