//! A transaction on PostgreSQL: how it begins and ends, and the rows of the schema's tables. The ledger comes with
//! [`super::sql`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;

use super::connect::failed;
use super::connection::{Connection, Pulse};
use super::pipeline::{COMMIT, Pipeline, Sent};
use super::touched::note_touched;
use super::write::Undo;
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

/// How what the rows of a transaction fail by is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undoing {
    /// By a savepoint of each range.
    Savepoints,
    /// A range of few rows has none: if the database refuses one, the whole transaction is undone and run again with
    /// savepoints. Nearly every small batch is taken, and a savepoint costs it two statements.
    Again,
}

/// The savepoint of a range, where it may be without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// It is set, or there is none to be.
    Settled,
    /// It is asked for: how many rows are written decides whether it is set.
    Asked,
    /// It was asked for and is not set.
    Waived,
}

/// A range of so many rows has no savepoint where it may be without one.
const UNMARKED_ROWS_MAX: usize = 1_000;
/// Said to whoever goes back to a savepoint that is not set; the transaction is run again then.
const UNMARKED: &str = "a row was refused, and there is no savepoint to go back to";

/// A transaction.
pub(super) struct PostgresTransaction<'c> {
    pub(super) schema: &'c Schema,
    pub(super) pipeline: Pipeline<'c>,
    beginning: Mutex<Beginning<'c>>,
    pulse: &'c Pulse,
    /// Keep writing after a violation of a unique index besides the primary key (used while isolating rows).
    pub(super) past_unique_violations: bool,
    undoing: Undoing,
    mark: Mark,
    /// Rows were written without a savepoint.
    wrote_unmarked: bool,
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
        undoing: Undoing,
    ) -> Self {
        let pipeline = Pipeline::new(&connection.client, &connection.prepared);
        let beginning = Mutex::new(Beginning::Sent(pipeline.begin(settings).await));
        Self {
            schema,
            pipeline,
            beginning,
            pulse: &connection.pulse,
            past_unique_violations: false,
            undoing,
            mark: Mark::Settled,
            wrote_unmarked: false,
            at_savepoint: false,
            has_reports,
        }
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
        let commit = async {
            match self.pipeline.known(COMMIT, &[]) {
                Some(commit) => self.pipeline.client.execute(&commit, &[]).await.map(|_| ()),
                None => self.pipeline.client.batch_execute(COMMIT).await,
            }
        };
        self.pipeline.told(commit).await.map_err(failed)
    }

    /// Whether it failed by rows that were written without a savepoint, so that it is to be run again with savepoints.
    pub(super) fn is_to_be_marked(&self, error: &StoreError) -> bool {
        self.wrote_unmarked && matches!(error, StoreError::Violation(_))
    }

    /// An error of a table whose rows were sent and not waited for names the table.
    pub(super) fn of_sent(&self, error: StoreError) -> StoreError {
        match self.pipeline.failed_table() {
            Some(table) => self.of(table, error),
            None => error,
        }
    }

    /// Sets the savepoint of a range if that was left open and `rows` are too many to be without.
    async fn set_mark(&mut self, rows: usize) {
        if self.mark != Mark::Asked {
            return;
        }
        if rows <= UNMARKED_ROWS_MAX {
            (self.mark, self.wrote_unmarked) = (Mark::Waived, true);
            return;
        }
        self.mark = Mark::Settled;
        self.send_mark().await;
    }

    async fn send_mark(&mut self) {
        self.pipeline.send_fixed("SAVEPOINT tidemark_range").await;
        self.at_savepoint = true;
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
        match self.undoing {
            Undoing::Again => self.mark = Mark::Asked,
            Undoing::Savepoints => self.send_mark().await,
        }
        Ok(())
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.at_savepoint = false;
        match std::mem::replace(&mut self.mark, Mark::Settled) {
            Mark::Settled => self.go_back("tidemark_range").await,
            Mark::Asked => {}
            Mark::Waived => return Err(StoreError::Violation(UNMARKED.to_owned())),
        }
        // Where one row was refused others may be.
        self.undoing = Undoing::Savepoints;
        Ok(())
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.at_savepoint = false;
        if std::mem::replace(&mut self.mark, Mark::Settled) == Mark::Settled {
            self.pipeline.send_fixed("RELEASE SAVEPOINT tidemark_range").await;
        }
        Ok(())
    }

    async fn write(&mut self, lineage: &Lineage, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        let at_savepoint = self.at_savepoint;
        self.begun().await?;
        self.set_mark(writes.iter().map(TableWrites::rows).sum()).await;
        let at_savepoint = std::mem::take(&mut self.at_savepoint) || at_savepoint;
        // Sent before the rows, whose answer then tells of both.
        let has_noted =
            self.has_reports && note_touched(&self.pipeline, self.schema, groups, writes).await.map_err(failed)?;
        let undo = match self.mark {
            Mark::Waived => Undo::Again,
            _ if at_savepoint && !has_noted => Undo::Range,
            _ => Undo::Table,
        };
        self.write_tables(lineage, groups, writes, undo).await
    }

    async fn write_each(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Isolated, StoreError> {
        self.begun().await?;
        self.set_mark(usize::MAX).await;
        self.undoing = Undoing::Savepoints;
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
