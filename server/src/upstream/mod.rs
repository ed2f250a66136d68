//! The databases the server applies to, behind one trait.
//!
//! What becomes of a batch is decided once ([`crate::ingest`]) and runs over [`StoreTransaction`], which asks and writes sets of rows;
//! the stores differ in nothing else.

pub mod error;
pub mod exported;
pub mod isolate;
pub mod lines;
pub mod memory;
pub mod postgres;
pub mod rejects;
pub mod reports;
pub mod sqlite;
pub mod surveyed;
pub mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::RejectedChange;

pub use self::error::{Cause, StoreError};
use self::exported::Exportable;
use self::isolate::IsolateTransaction;
pub use self::lines::{LineTransaction, Lines};
pub use self::rejects::{Reject, RejectFilter, RejectState};
use self::rejects::{RejectStore, RejectTransaction};
use self::reports::ReportStore;
use self::surveyed::Surveyed;
use self::upkeep::Upkeep;
use crate::ingest::apply::{Job, Outcome, Part};
use crate::ingest::plan::TableWrites;
use crate::ingest::questions::{Facts, Questions};
use crate::lines::Line;
use crate::stations::{JoinAsk, JoinOutcome, NewStation, RotateOutcome, StationRecord, StationSummary};

/// A transaction on a store: questions about sets of rows, and writes of sets of rows. Dropped without a commit, nothing of it remains.
#[async_trait]
pub trait StoreTransaction: LineTransaction + RejectTransaction + IsolateTransaction {
    /// The station's cursor, locked until the transaction ends.
    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError>;
    /// Answers questions about rows; foreign is what the line does not own.
    async fn facts(&mut self, line: &Line, questions: &Questions) -> Result<Facts, StoreError>;
    /// Sets a mark to come back to.
    async fn savepoint(&mut self) -> Result<(), StoreError>;
    /// Undoes everything since the mark, and takes it away.
    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError>;
    /// Takes the mark away.
    async fn release_savepoint(&mut self) -> Result<(), StoreError>;
    /// Writes rows of the line's station: upserts in the order given, then deletes in the reverse order of tables. Rows that the line
    /// does not own stay.
    async fn write(&mut self, line: &Line, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError>;
    /// Keeps rejected changes.
    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError>;
    /// Which changes of a range the server rejected, in seq order.
    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError>;
    /// Moves the cursor. `clock_offset_ms` is the server's clock minus the station's.
    ///
    /// `began` is the change that the batch follows. Whoever sent it has acknowledged the batch before the one before: that one was in flight
    /// while this was cut. So the `began` of the batch before, or of this one if it is lower, is heard.
    async fn advance(
        &mut self,
        station: StationNumber,
        cursor: Cursor,
        began: u64,
        now_ms: i64,
        clock_offset_ms: i64,
    ) -> Result<(), StoreError>;

    /// Locks the list of stations until the transaction ends.
    async fn lock_stations(&mut self) -> Result<(), StoreError>;
    /// The station that was invited with this code.
    async fn station_by_code(&mut self, code_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError>;
    /// The station of this name.
    async fn station_by_name(&mut self, name: &str) -> Result<Option<StationRecord>, StoreError>;
    /// The station with this uuid.
    async fn station_by_uuid(&mut self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError>;
    /// The highest number given so far; 0 before the first.
    async fn last_number(&mut self) -> Result<u32, StoreError>;
    /// Gives a station its number, and its cursor at the beginning of its log.
    async fn assign(
        &mut self,
        name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError>;
    /// Gives a station another code, ends its token if it has one, and takes a revocation back.
    async fn renew_code(&mut self, station: &StationRecord, code: &NewStation) -> Result<(), StoreError>;
    /// Gives a station that has joined another token.
    async fn renew_token(&mut self, name: &str, token_hash: [u8; 32]) -> Result<(), StoreError>;
}

/// A schema that was served once, by its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSchema {
    /// Fingerprint, hex.
    pub fingerprint: String,
    /// The file's text.
    pub toml: String,
}

/// An upstream database.
#[async_trait]
pub trait Upstream: Surveyed + Exportable + Lines + RejectStore + Upkeep + 'static {
    /// One line for the log: what kind of database this is.
    fn describe(&self) -> String;
    /// Applies a part of a batch: all of it, in one transaction, or nothing, also when the work on it panics. The panic goes on to the
    /// caller.
    async fn apply(&self, job: Arc<Job>, part: Part) -> Result<Outcome, StoreError>;
    /// Whether a station was invited with this code.
    async fn knows_code(&self, code_hash: [u8; 32]) -> Result<bool, StoreError>;
    /// Lets a station join.
    async fn join(&self, ask: &JoinAsk) -> Result<JoinOutcome, StoreError>;
    /// Gives the file of a station that has joined another token, if the code is for that.
    async fn renew(&self, ask: &JoinAsk, number: StationNumber) -> Result<JoinOutcome, StoreError>;
    /// Ends a station's token and gives it another code, which may be of a revoked one.
    async fn rotate_station(&self, code: &NewStation) -> Result<RotateOutcome, StoreError>;
    /// Invites a station; `false` when the name is taken.
    async fn add_station(&self, station: &NewStation) -> Result<bool, StoreError>;
    /// Takes a station's access away; `false` when there is none of that name.
    async fn revoke_station(&self, name: &str, now_ms: i64) -> Result<bool, StoreError>;
    /// Every station, by name.
    async fn stations(&self) -> Result<Vec<StationSummary>, StoreError>;
    /// The station whose token has, or had before it ended, this hash: [`StationRecord::takes`] tells which.
    async fn station_by_token(&self, token_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError>;
    /// The station with this uuid.
    async fn station_by_uuid(&self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError>;
    /// How far a station's log is durable here.
    async fn cursor(&self, station: StationNumber) -> Result<Option<Cursor>, StoreError>;
    /// Every schema this database has known.
    async fn schemas(&self) -> Result<Vec<KnownSchema>, StoreError>;
    /// Rejected changes, the newest first, at most `limit`; of one station, or of all.
    async fn rejects(&self, station: Option<StationNumber>, limit: u32) -> Result<Vec<Reject>, StoreError> {
        self.list_rejects(&RejectFilter { station, limit: Some(limit), ..RejectFilter::default() }).await
    }
    /// Whether the database answers and matches the schema; the differences when it does not.
    async fn ready(&self) -> Result<Vec<String>, StoreError>;
    /// What reports are made from; `None` where the shrinkage tables are not.
    fn reports(&self) -> Option<&dyn ReportStore> {
        None
    }
}
