//! Rows of the schema's tables within a transaction: asked about and written as sets. Stores differ in this.

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;

use super::error::StoreError;
use super::facts::{Facts, Questions};
use super::writes::{Isolated, RefusedStep, Step, TableWrites, writes_of};
use crate::ledger::lineage::Lineage;

/// The rows of a store, within a transaction.
#[async_trait]
pub trait Rows: Send {
    /// Answers questions about rows; foreign is what the station does not own.
    async fn facts(&mut self, lineage: &Lineage, questions: &Questions) -> Result<Facts, StoreError>;
    /// Sets a mark to come back to.
    async fn savepoint(&mut self) -> Result<(), StoreError>;
    /// Undoes everything since the mark, and takes it away.
    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError>;
    /// Takes the mark away.
    async fn release_savepoint(&mut self) -> Result<(), StoreError>;
    /// Writes rows of a station: upserts in the order given, then deletes in the reverse order of tables. Rows that it
    /// does not own stay.
    async fn write(&mut self, lineage: &Lineage, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError>;
    /// Writes steps as if one after another in this order, each all or nothing, and says which the database refused.
    async fn write_each(&mut self, lineage: &Lineage, groups: &[Group], steps: &[Step])
    -> Result<Isolated, StoreError>;
    /// Keeps that rows of these keys were inserted into an append table, for a store that cannot tell quickly.
    async fn keep_inserted(&mut self, table: usize, keys: &[i64]) -> Result<(), StoreError> {
        let _ = (table, keys);
        Ok(())
    }
}

/// [`Rows::write_each`] to the letter: for stores where a savepoint costs next to nothing.
///
/// # Errors
/// When the store fails for another reason than that it refuses a row.
pub async fn one_by_one<T: Rows + ?Sized>(
    tx: &mut T,
    schema: &Schema,
    lineage: &Lineage,
    groups: &[Group],
    steps: &[Step],
) -> Result<Isolated, StoreError> {
    let mut refused = Vec::new();
    for (step, each) in steps.iter().enumerate() {
        tx.savepoint().await?;
        match tx.write(lineage, groups, &writes_of(schema, std::slice::from_ref(each))).await {
            Ok(()) => tx.release_savepoint().await?,
            Err(StoreError::Violation(message)) => {
                tx.rollback_to_savepoint().await?;
                refused.push(RefusedStep { step, message, own: false });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Isolated { refused, complete: true })
}
