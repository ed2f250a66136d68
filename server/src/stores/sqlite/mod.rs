//! The embedded upstream: one SQLite file, nothing to install. WAL, every commit synced; one writer, in a thread that
//! may block.
//!
//! | file | what lives there |
//! |---|---|
//! | `file`, `damage` | the file and its connections, and what SQLite's errors mean; whether it is whole |
//! | `transaction` | a transaction: rows of the schema's tables |
//! | `sql` | the ledger's statements |
//! | `values` | typed values as SQLite holds them |
//! | `surveyed`, `exported` | a station's rows, and all rows |
//! | `reports` | what reports are made from |
//! | `size` | how large it is |
//! | `inspect` | what of the schema a file has not |

pub(crate) mod damage;
mod exported;
mod file;
mod inspect;
mod reports;
mod size;
mod sql;
mod surveyed;
mod transaction;
pub(crate) mod values;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

pub(crate) use self::damage::damage;
pub use self::file::{SqliteUpstream, connect};
use self::file::{checkpoint, failed};
use self::sql::Alone;
use self::transaction::SqliteTransaction;
use crate::export::Export;
use crate::ledger::Ledger;
use crate::survey::Survey;
use crate::upstream::error::StoreError;
use crate::upstream::reports::ReportStore;
use crate::upstream::size::DatabaseFacts;
use crate::upstream::{Upstream, Work};

#[async_trait]
impl Upstream for SqliteUpstream {
    fn describe(&self) -> String {
        format!("embedded SQLite {}: tables with a time column are ordinary tables", rusqlite::version())
    }

    async fn ready(&self) -> Result<Vec<String>, StoreError> {
        let schema = Arc::clone(&self.schema);
        Self::with(&self.reader, move |connection| inspect::differences(connection, &schema).map_err(failed)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.try_a_write().await
    }

    async fn transact(&self, work: Work) -> Result<(), StoreError> {
        let schema = Arc::clone(&self.schema);
        let done = Self::with(&self.writer, move |connection| {
            // Not rusqlite's own transaction: it borrows the connection shared, which is not `Send`.
            connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
            let mut transaction = SqliteTransaction { schema: &schema, connection };
            // Whatever ends this before COMMIT, the connection's guard undoes it.
            work(&mut transaction).now_or_never().expect("BUG: SQLite blocks, it never waits")?;
            transaction.execute("COMMIT")
        })
        .await;
        self.last_write.note(&done);
        done
    }

    fn ledger(&self) -> Box<dyn Ledger + '_> {
        Box::new(Alone(self))
    }

    async fn survey(&self, station: StationNumber, survey: Survey) -> Result<(Cursor, Survey), StoreError> {
        self.read_station(station, survey).await
    }

    async fn export(&self, export: Export) -> Result<Export, StoreError> {
        self.read_all(export).await
    }

    async fn put_in_order(&self) {
        let checkpointed = Self::with(&self.writer, |connection| checkpoint(connection).map_err(failed)).await;
        match checkpointed {
            Ok(true) => tracing::debug!("the write-ahead log is in the database file"),
            Ok(false) => tracing::info!(
                "another program reads the database: what was written last stays in its -wal file, which belongs to it"
            ),
            Err(error) => tracing::warn!("the write-ahead log cannot be put into the database file: {error}"),
        }
    }

    async fn database(&self) -> Result<DatabaseFacts, StoreError> {
        self.size().await
    }

    fn reports(&self) -> Option<&dyn ReportStore> {
        self.has_reports.then_some(self)
    }
}
