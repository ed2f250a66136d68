//! Questions to the ledger outside of a transaction, each a call that stands alone.

use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use super::{StoreError, Upstream};
use crate::ledger::cursors::History;
use crate::ledger::lineage::LineageSummary;
use crate::ledger::rejects::{Reject, RejectFilter, RejectHead};
use crate::ledger::schemas::KnownSchema;
use crate::ledger::stations::{NewStation, StationBy, StationRecord, StationSummary};

/// Calls of the ledger by name; each fails as the ledger does.
#[allow(clippy::missing_errors_doc, reason = "every one fails as the store does, and for no other reason")]
impl dyn Upstream {
    /// How far a station's log is durable here.
    pub async fn cursor(&self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        self.ledger().cursor(station).await
    }

    /// The last change of which a station has shown to know the verdict; 0 of an unknown station.
    pub async fn heard(&self, station: StationNumber) -> Result<u64, StoreError> {
        self.ledger().heard(station).await
    }

    /// Prints of a station's chain after seq `after`, at most `limit`; none of an unknown station.
    pub async fn history(
        &self,
        station: StationNumber,
        after: u64,
        limit: usize,
    ) -> Result<Option<History>, StoreError> {
        self.ledger().history(station, after, limit).await
    }

    /// Every schema this database has known.
    pub async fn schemas(&self) -> Result<Vec<KnownSchema>, StoreError> {
        self.ledger().schemas().await
    }

    /// Every station, by name.
    pub async fn stations(&self) -> Result<Vec<StationSummary>, StoreError> {
        self.ledger().stations().await
    }

    /// Whether a station was invited with this code.
    pub async fn knows_code(&self, code_hash: [u8; 32]) -> Result<bool, StoreError> {
        Ok(self.ledger().station(StationBy::Code(code_hash)).await?.is_some())
    }

    /// The station whose token has, or had before it ended, this hash: [`StationRecord::takes`] tells which.
    pub async fn station_by_token(&self, token_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        self.ledger().station(StationBy::Token(token_hash)).await
    }

    /// The station with this uuid.
    pub async fn station_by_uuid(&self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        self.ledger().station(StationBy::Uuid(uuid)).await
    }

    /// Invites a station; `false` when the name is taken.
    pub async fn add_station(&self, station: &NewStation) -> Result<bool, StoreError> {
        self.ledger().invite(station).await
    }

    /// Takes a station's access away; `false` when there is none of that name.
    pub async fn revoke_station(&self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        self.ledger().revoke(name, now_ms).await
    }

    /// Every station that came from another or has forked, by number.
    pub async fn lineages(&self) -> Result<Vec<LineageSummary>, StoreError> {
        self.ledger().lineages().await
    }

    /// The name of the station that replaced this one.
    pub async fn replaced_by(&self, station: StationNumber) -> Result<Option<String>, StoreError> {
        let mut ledger = self.ledger();
        let Some(successor) = ledger.successor(station).await? else { return Ok(None) };
        Ok(ledger.station(StationBy::Number(successor)).await?.map(|record| record.name))
    }

    /// Rejected changes, the newest first, at most `limit`; of one station, or of all.
    pub async fn rejects(&self, station: Option<StationNumber>, limit: u32) -> Result<Vec<Reject>, StoreError> {
        self.list_rejects(&RejectFilter { station, limit: Some(limit), ..RejectFilter::default() }).await
    }

    /// The rejects a filter names, with their images, the newest first.
    pub async fn list_rejects(&self, filter: &RejectFilter) -> Result<Vec<Reject>, StoreError> {
        self.ledger().list_rejects(filter).await
    }

    /// The rejects a filter names, in order of station and seq.
    pub async fn reject_heads(&self, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError> {
        self.ledger().reject_heads(filter).await
    }
}
