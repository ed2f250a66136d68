//! A transaction on PostgreSQL: how it begins and ends, and the rows of the schema's tables. The ledger comes with
//! [`super::sql`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;

use super::connect::failed;
use super::connection::{Connection, Pulse};
use super::pipeline::{Pipeline, Sent, sent};
use super::touched::note_touched;
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;
use crate::upstream::facts::{Facts, Questions};
use crate::upstream::rows::Rows;
use crate::upstream::writes::{Isolated, Step, TableWrites};

/// How long a database may give no sign at the beginning of a transaction: nothing there takes time.
pub(super) const BEGIN_SILENCE: Duration = Duration::from_secs(5);

/// How far a transaction has begun.
enum Beginning<'c> {
    Sent(Sent<'c, ()>),
    Done,
    Failed(StoreError),
}

/// A transaction.
pub(super) struct PostgresTransaction<'c> {
    pub(super) schema: &'c Schema,
    pub(super) pipeline: Pipeline<'c>,
    beginning: Mutex<Beginning<'c>>,
    pulse: &'c Pulse,
    /// Keep writing after a violation of a unique index besides the primary key (used while isolating rows).
    pub(super) past_unique_violations: bool,
    /// Nothing was asked since the savepoint of a range was set.
    pub(super) at_savepoint: bool,
    /// There are roll-ups, which are told which days were written.
    pub(super) has_reports: bool,
}

impl<'c> PostgresTransaction<'c> {
    /// Begins one with these settings, and does not wait for it.
    pub(super) async fn begin(
        schema: &'c Schema,
        connection: &'c Connection,
        settings: &'c str,
        has_reports: bool,
    ) -> Self {
        let (client, pulse) = (&connection.client, &*connection.pulse);
        let pipeline = Pipeline::new(client, &connection.prepared);
        let begin = async move { client.batch_execute(settings).await };
        let beginning = Mutex::new(Beginning::Sent(sent(Box::pin(begin)).await));
        Self { schema, pipeline, beginning, pulse, past_unique_violations: false, at_savepoint: false, has_reports }
    }

    /// Waits until it has begun. Whatever writes comes after: if nothing had begun, each statement would stand alone.
    pub(super) async fn begun(&mut self) -> Result<(), StoreError> {
        self.at_savepoint = false;
        let beginning = self.beginning.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Beginning::Sent(asked) = beginning {
            let begun = async { self.pipeline.noted(asked.await).map_err(failed) };
            let begun = self.pulse.within(BEGIN_SILENCE, begun).await.map_err(StoreError::before_all);
            *beginning = match begun {
                Ok(()) => Beginning::Done,
                Err(error) => Beginning::Failed(error),
            };
        }
        match beginning {
            Beginning::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Makes it durable: all that was sent has succeeded, or nothing of it is.
    ///
    /// PostgreSQL answers the COMMIT of a transaction that failed as one that went well, and undoes it. So a failure
    /// that was not heard of before is looked for first.
    pub(super) async fn commit(&mut self) -> Result<(), StoreError> {
        self.begun().await?;
        if self.pipeline.has_failed() {
            self.pipeline.done().await.map_err(failed)?;
            return Err(StoreError::Fault(
                "a statement of the transaction has failed, and the work went on".to_owned(),
            ));
        }
        let commit = self.pipeline.client.batch_execute("COMMIT");
        self.pipeline.told(commit).await.map_err(failed)
    }

    /// Undoes it.
    pub(super) async fn roll_back(&mut self) -> Result<(), StoreError> {
        self.pipeline.forget_unseen();
        self.pipeline.client.batch_execute("ROLLBACK").await.map_err(failed)
    }

    /// An error of a statement about a table.
    pub(super) fn of(&self, table: usize, error: StoreError) -> StoreError {
        error.of_table(&format!("{}.{}", self.schema.name(), self.schema.tables()[table].name))
    }

    /// Statements that are sent and not waited for: whatever is asked next says whether they succeeded.
    pub(super) async fn send(&self, sql: &str) {
        self.pipeline.send_sql(sql.to_owned()).await;
    }

    /// Goes back to a savepoint.
    pub(super) async fn go_back_to(&self, savepoint: &str) {
        self.pipeline.goes_back();
        self.send(&format!("ROLLBACK TO SAVEPOINT {savepoint}")).await;
    }

    /// Goes back to a savepoint, and takes it away.
    pub(super) async fn go_back(&self, savepoint: &str) {
        self.go_back_to(savepoint).await;
        self.send(&format!("RELEASE SAVEPOINT {savepoint}")).await;
    }
}

#[async_trait]
impl Rows for PostgresTransaction<'_> {
    async fn facts(&mut self, lineage: &Lineage, questions: &Questions) -> Result<Facts, StoreError> {
        self.begun().await?;
        self.answer(lineage, questions).await
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.begun().await?;
        self.send("SAVEPOINT tidemark_range").await;
        self.at_savepoint = true;
        Ok(())
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.at_savepoint = false;
        self.go_back("tidemark_range").await;
        Ok(())
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.at_savepoint = false;
        self.send("RELEASE SAVEPOINT tidemark_range").await;
        Ok(())
    }

    async fn write(&mut self, lineage: &Lineage, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        let mut at_savepoint = self.at_savepoint;
        self.begun().await?;
        // Sent before the rows, whose answer then tells of both.
        if self.has_reports && note_touched(&self.pipeline, self.schema, groups, writes).await.map_err(failed)? {
            at_savepoint = false;
        }
        self.write_tables(lineage, groups, writes, at_savepoint).await
    }

    async fn write_each(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Isolated, StoreError> {
        self.begun().await?;
        self.past_unique_violations = true;
        let isolated = self.isolate(lineage, groups, steps).await;
        self.past_unique_violations = false;
        isolated
    }

    async fn keep_inserted(&mut self, table: usize, keys: &[i64]) -> Result<(), StoreError> {
        self.begun().await?;
        PostgresTransaction::keep_inserted(self, table, keys).await
    }
}
