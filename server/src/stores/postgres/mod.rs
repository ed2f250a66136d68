//! The PostgreSQL upstream, with TimescaleDB or without.
//!
//! | file | what lives there |
//! |---|---|
//! | `connect`, `connection` | the way to a server, protected as the URL says; whether a connection is alive |
//! | `pool` | many, who may have how many, and a transaction on one |
//! | `transaction` | a transaction: rows of the schema's tables, asked about in `facts` and written in `write` |
//! | `pipeline` | its requests, sent without waiting where nothing depends on the answer |
//! | `prepared` | the statements that a connection has prepared |
//! | `sql` | the ledger's statements |
//! | `copy`, `few`, `values` | binary COPY, encoded by hand; a few rows in one statement; values in binary |
//! | `ranges` | many keys as few ranges |
//! | `appended` | which inserts into append tables meet a row that is there |
//! | `isolate`, `rules` | which rows the database refuses, found set by set; what a table refuses rows for |
//! | `surveyed`, `exported` | a station's rows, and all rows, streamed |
//! | `reports`, `touched` | what reports are made from, and the notes of which days were written |
//! | `probe` | whether a write would succeed |
//! | `size` | how large it is |
//! | `inspect` | what of the schema a database has not |

mod appended;
mod connect;
mod connection;
pub mod copy;
mod exported;
mod facts;
mod few;
mod inspect;
mod isolate;
mod pipeline;
mod pool;
mod pooled;
mod prepared;
mod probe;
mod ranges;
pub mod reports;
mod rules;
mod size;
mod sql;
mod surveyed;
mod touched;
mod transaction;
mod values;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use prometheus::core::Collector;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use self::connect::failed;
pub(crate) use self::connect::message_of;
pub use self::connect::{Leg, Protection, connect, connect_and_tell};
pub use self::pool::PostgresUpstream;
pub(crate) use self::pool::work_max;
use self::pool::{LOOKUP_SILENCE, Purpose};
use self::sql::Alone;
use crate::export::Export;
use crate::ledger::Ledger;
use crate::survey::Survey;
use crate::upstream::error::StoreError;
use crate::upstream::reports::ReportStore;
use crate::upstream::size::DatabaseFacts;
use crate::upstream::{Upstream, Work};

/// How often a transaction that met another one is repeated.
const ATTEMPTS: u32 = 6;

#[async_trait]
impl Upstream for PostgresUpstream {
    fn describe(&self) -> String {
        self.description.clone()
    }

    async fn ready(&self) -> Result<Vec<String>, StoreError> {
        let mut lent = self.lend(Purpose::Lookup).await?;
        let (client, pulse) = lent.take();
        let looked = async {
            let mut found = inspect::differences(client, &self.schema).await?;
            // Of tables that are not there nothing can be asked.
            if found.is_empty() {
                found = inspect::rights(client, &self.schema).await?;
            }
            Ok::<_, inspect::InspectError>(found)
        };
        let looked = async {
            looked.await.map_err(|error| match error {
                inspect::InspectError::Postgres(error) => failed(error),
                inspect::InspectError::Migrate(error) => StoreError::Fault(error.to_string()),
            })
        };
        let done = pulse.watch(LOOKUP_SILENCE, looked).await;
        lent.end(done)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.try_a_write().await
    }

    async fn transact(&self, work: Work) -> Result<(), StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(&work).await {
                Err(StoreError::Conflict(message)) if attempt < ATTEMPTS => {
                    tracing::debug!(attempt, "the transaction is repeated: {message}");
                    // Full jitter over a doubling window, so that those who met do not meet again.
                    let window_ms = 10_u64 << attempt;
                    let [random] = crate::clock::random_bytes::<1>().unwrap_or([128]);
                    tokio::time::sleep(Duration::from_millis(window_ms * u64::from(random) / 255)).await;
                }
                result => {
                    self.last_write.note(&result);
                    return result;
                }
            }
        }
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

    async fn database(&self) -> Result<DatabaseFacts, StoreError> {
        self.size().await
    }

    fn shed(&self) {
        self.shrink();
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![Box::new(self.pooled.clone())]
    }

    fn reports(&self) -> Option<&dyn ReportStore> {
        self.has_reports.then_some(self)
    }
}
