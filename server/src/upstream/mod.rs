//! The database upstream, as the rest of the server sees it: a trait, and the types that cross it.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod` | [`Upstream`], and [`Transaction`]: the [ledger](crate::ledger) and the [rows](Rows) together |
//! | `rows`, `facts`, `writes` | rows of the schema's tables: asked about and written as sets |
//! | `error` | why a store did not do it, and whose fault that is |
//! | `alone` | questions to the ledger outside of a transaction |
//! | `reports` | what reports are made from |
//! | `size` | how large the database is, and whether it takes writes |
//!
//! [`crate::stores`] has the databases. What happens within a transaction is decided above, once for all of them:
//! batches in [`crate::ingest`], joining in [`crate::stations`], rejoining in [`crate::rejoin`].

mod alone;
pub mod error;
pub mod facts;
pub mod reports;
pub mod rows;
pub mod size;
pub mod writes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use prometheus::core::Collector;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use self::error::Unavailability;
pub use self::error::{Cause, StoreError};
pub use self::facts::{ColumnAt, Facts, Questions};
use self::reports::ReportStore;
pub use self::rows::Rows;
use self::size::DatabaseFacts;
pub use self::writes::{Effect, RowAt, Step, TableWrites};
use crate::export::Export;
use crate::ledger::Ledger;
use crate::survey::Survey;

/// A transaction on a store. Dropped without a commit, nothing of it remains.
pub trait Transaction: Ledger + Rows {}

impl<T: Ledger + Rows> Transaction for T {}

/// The work of a transaction. It may be run several times, and leaves its result outside.
pub type Work = Arc<dyn for<'t> Fn(&'t mut dyn Transaction) -> BoxFuture<'t, Result<(), StoreError>> + Send + Sync>;

/// An upstream database.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// One line for the log: what kind of database this is.
    fn describe(&self) -> String;
    /// Whether the database answers and matches the schema; the differences when it does not.
    async fn ready(&self) -> Result<Vec<String>, StoreError>;
    /// Whether a write would succeed now: one is tried and undone, and what became of the last real ones is told.
    async fn probe(&self) -> Result<(), StoreError>;
    /// Runs work in one transaction: all of it is durable, or nothing, also when the work panics. The panic goes on to
    /// the caller. Work that met another transaction is run again. [`transact`] gives its result back.
    async fn transact(&self, work: Work) -> Result<(), StoreError>;
    /// The ledger, outside of a transaction: every call stands alone.
    fn ledger(&self) -> Box<dyn Ledger + '_>;
    /// Gives the survey every row of the station that it asks for, all of one snapshot, and says where the station's
    /// cursor stood in that snapshot. Rows stream: none is kept here. Holds no lock that a push waits for.
    async fn survey(&self, station: StationNumber, survey: Survey) -> Result<(Cursor, Survey), StoreError>;
    /// Gives the export every row of its stations, table by table, all of one snapshot. Rows stream.
    async fn export(&self, export: Export) -> Result<Export, StoreError>;
    /// What the database is and how large, without reading it row by row.
    async fn database(&self) -> Result<DatabaseFacts, StoreError> {
        Ok(DatabaseFacts { kind: "memory", ..DatabaseFacts::default() })
    }
    /// Lets connections go that stand idle beyond those that are kept; called now and then.
    fn shed(&self) {}
    /// Puts the database in order when the server stops and nothing runs any more.
    async fn put_in_order(&self) {}
    /// What it measures of itself, its connections for example.
    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        Vec::new()
    }
    /// The tables that reports are made from; `None` where the shrinkage tables are not.
    fn reports(&self) -> Option<&dyn ReportStore> {
        None
    }
}

/// Runs work in one transaction and returns its result.
///
/// # Errors
/// When the work or the store fails; then nothing of it remains.
pub async fn transact<R: Send + 'static>(
    upstream: &dyn Upstream,
    work: impl for<'t> Fn(&'t mut dyn Transaction) -> BoxFuture<'t, Result<R, StoreError>> + Send + Sync + 'static,
) -> Result<R, StoreError> {
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let work: Work = Arc::new(move |tx| {
        let (slot, work) = (Arc::clone(&slot), work(tx));
        Box::pin(async move {
            let done = work.await?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            Ok(())
        })
    });
    upstream.transact(work).await?;
    let done = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(done.expect("BUG: a transaction that was committed has run its work"))
}

/// The fault that a station has no cursor: its record is damaged.
#[must_use]
pub fn no_cursor(station: StationNumber) -> StoreError {
    StoreError::Fault(format!("the database has no cursor of station {station}"))
}

/// The failure of a survey whose first ask took too long.
#[must_use]
pub fn survey_too_long(survey_time: Duration) -> StoreError {
    let message = format!("the rows that were asked for are not read within {survey_time:?}");
    StoreError::unavailable(Unavailability::Busy, message)
}
