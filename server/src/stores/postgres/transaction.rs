//! A transaction on PostgreSQL: the rows of the schema's tables. The ledger comes with [`super::sql`].

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;
use tokio_postgres::Transaction;

use super::connect::failed;
use super::touched::note_touched;
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;
use crate::upstream::facts::{Facts, Questions};
use crate::upstream::rows::Rows;
use crate::upstream::writes::{Isolated, Step, TableWrites};

/// A transaction.
pub(super) struct PostgresTransaction<'c> {
    pub(super) schema: &'c Schema,
    pub(super) inner: &'c Transaction<'c>,
    /// Keep writing after a violation of a unique index besides the primary key (used while isolating rows).
    pub(super) past_unique_violations: bool,
    /// There are roll-ups, which are told which days were written.
    pub(super) has_reports: bool,
}

impl<'c> PostgresTransaction<'c> {
    pub(super) const fn new(schema: &'c Schema, inner: &'c Transaction<'c>, has_reports: bool) -> Self {
        Self { schema, inner, past_unique_violations: false, has_reports }
    }

    /// An error of a statement about a table.
    pub(super) fn of(&self, table: usize, error: StoreError) -> StoreError {
        error.of_table(&format!("{}.{}", self.schema.name(), self.schema.tables()[table].name))
    }

    pub(super) async fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.inner.batch_execute(sql).await.map_err(failed)
    }
}

#[async_trait]
impl Rows for PostgresTransaction<'_> {
    async fn facts(&mut self, lineage: &Lineage, questions: &Questions) -> Result<Facts, StoreError> {
        self.answer(lineage, questions).await
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.run("SAVEPOINT tidemark_range").await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK TO SAVEPOINT tidemark_range; RELEASE SAVEPOINT tidemark_range").await
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.run("RELEASE SAVEPOINT tidemark_range").await
    }

    async fn write(&mut self, lineage: &Lineage, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        self.write_tables(lineage, groups, writes).await?;
        if self.has_reports { note_touched(self.inner, self.schema, groups, writes).await } else { Ok(()) }
    }

    async fn write_each(
        &mut self,
        lineage: &Lineage,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Isolated, StoreError> {
        self.past_unique_violations = true;
        let isolated = self.isolate(lineage, groups, steps).await;
        self.past_unique_violations = false;
        isolated
    }

    async fn keep_inserted(&mut self, table: usize, keys: &[i64]) -> Result<(), StoreError> {
        PostgresTransaction::keep_inserted(self, table, keys).await
    }
}
