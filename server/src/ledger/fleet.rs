//! What is kept of the stations for those who look at them: when each was in contact and what it said of itself, which
//! batches it brought, what all of them brought in a minute, and which backups were made. Nothing is decided by it.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;

use crate::upstream::error::StoreError;

/// What a station said of itself, as far as it did. Taken for display only, within bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reported {
    /// Changes that were not upstream.
    pub pending: Option<u64>,
    /// When the oldest of them was captured, milliseconds since 1970 UTC by the station's clock.
    pub oldest_ms: Option<i64>,
    /// Free room on the disk of its file, in bytes.
    pub free_disk_bytes: Option<u64>,
    /// The version of its program.
    pub client_version: Option<String>,
    /// The version of its schema.
    pub schema_version: Option<u32>,
    /// The server's clock minus the station's, milliseconds.
    pub clock_offset_ms: Option<i64>,
}

/// The last contact of a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The station.
    pub station: StationNumber,
    /// When it asked for anything last, milliseconds since 1970 UTC by the server's clock.
    pub contact_at_ms: i64,
    /// Its last report, and when that came, milliseconds since 1970 UTC.
    pub report: Option<(i64, Reported)>,
}

impl Contact {
    /// What is known when another thing is known of the same station: the newer of each.
    pub fn merge(&mut self, other: Self) {
        self.contact_at_ms = self.contact_at_ms.max(other.contact_at_ms);
        let at_ms = |report: &Option<(i64, Reported)>| report.as_ref().map(|(at_ms, _)| *at_ms);
        if at_ms(&other.report) >= at_ms(&self.report) {
            self.report = other.report;
        }
    }
}

/// A batch that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Whose.
    pub station: StationNumber,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Its first change.
    pub first_seq: u64,
    /// Its last change.
    pub last_seq: u64,
    /// Changes that were applied by it.
    pub applied: u64,
    /// Changes that were rejected.
    pub rejected: u64,
    /// Bytes of its frame.
    pub bytes: u64,
    /// How long it took from its head to its answer, in milliseconds.
    pub ms: u64,
}

/// What came in during one minute, or longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Ingested {
    /// When it began, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Batches.
    pub batches: u64,
    /// Changes that were applied.
    pub changes: u64,
    /// Changes that were rejected.
    pub rejected: u64,
    /// Bytes of frames.
    pub bytes: u64,
}

/// A backup that was made of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupMade {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Its file.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it passed its check, milliseconds since 1970 UTC.
    pub checked_at_ms: i64,
    /// The check was to restore it into a database of its own, and every row came back.
    pub restored: bool,
}

/// What a ledger keeps for those who look at the stations.
#[async_trait]
pub trait FleetLedger: Send {
    /// Keeps contacts, each the newer of what is kept and what is given.
    async fn note_contacts(&mut self, contacts: &[Contact]) -> Result<(), StoreError>;
    /// The contacts of all stations, or of one.
    async fn contacts(&mut self, station: Option<StationNumber>) -> Result<Vec<Contact>, StoreError>;
    /// Keeps batches, in their order.
    async fn note_pushes(&mut self, pushes: &[Pushed]) -> Result<(), StoreError>;
    /// The newest batches of a station, the newest first, at most `limit`.
    async fn pushes(&mut self, station: StationNumber, limit: u32) -> Result<Vec<Pushed>, StoreError>;
    /// Adds to what came in during minutes.
    async fn note_ingested(&mut self, minutes: &[Ingested]) -> Result<(), StoreError>;
    /// What came in by the minute, from a time on, milliseconds since 1970 UTC, at most `limit` minutes.
    async fn ingested(&mut self, from_ms: i64, limit: u32) -> Result<Vec<Ingested>, StoreError>;
    /// Takes away batches of a station but the newest `kept`, at most `rows_max`; returns how many.
    async fn thin_pushes(&mut self, station: StationNumber, kept: u32, rows_max: u32) -> Result<u64, StoreError>;
    /// Takes away what came in during minutes before this, milliseconds since 1970 UTC.
    async fn thin_ingested(&mut self, before_ms: i64) -> Result<u64, StoreError>;
    /// Keeps that a backup was made, and forgets all but the newest hundred.
    async fn note_backup(&mut self, backup: &BackupMade) -> Result<(), StoreError>;
    /// The last backup by this time, milliseconds since 1970 UTC: what a wrong clock put later is none.
    async fn last_backup(&mut self, now_ms: i64) -> Result<Option<BackupMade>, StoreError>;
    /// The last backup that was restored to check it.
    async fn last_restored_backup(&mut self) -> Result<Option<BackupMade>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_of_each_remains() {
        let contact = |contact_at_ms, report: Option<(i64, u64)>| Contact {
            station: StationNumber::new(1).unwrap(),
            contact_at_ms,
            report: report.map(|(at, pending)| (at, Reported { pending: Some(pending), ..Reported::default() })),
        };
        let merged = |mut a: Contact, b: &Contact| {
            a.merge(b.clone());
            a
        };
        let (old, new) = (contact(10, Some((10, 5))), contact(20, Some((20, 6))));
        assert_eq!(merged(old.clone(), &new), new);
        assert_eq!(merged(new.clone(), &old), new);
        assert_eq!(merged(old, &contact(30, None)), contact(30, Some((10, 5))), "a contact without a report");
        assert_eq!(merged(contact(30, None), &new), contact(30, Some((20, 6))));
    }
}
