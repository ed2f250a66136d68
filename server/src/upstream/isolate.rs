//! Writing when the database refuses some of it.

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;

use super::{StoreError, StoreTransaction};
use crate::ingest::plan::{Step, writes_of};
use crate::lines::Line;

/// A step that the database refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedStep {
    /// Its place in the list of steps.
    pub step: usize,
    /// Why, in the database's words.
    pub message: String,
    /// Whether the row itself is at fault, whatever else there is (a CHECK, not a UNIQUE).
    pub own: bool,
}

/// What became of steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Isolated {
    /// Those refused.
    pub refused: Vec<RefusedStep>,
    /// Whether all the others were written. If not, `refused` is not all of it, and the transaction is to be rolled back to its last
    /// savepoint.
    pub complete: bool,
}

/// Isolates what the database refuses.
#[async_trait]
pub trait IsolateTransaction: Send {
    /// Writes steps as if one after another in this order, each all or nothing, and says which the database refused.
    async fn write_each(&mut self, line: &Line, groups: &[Group], steps: &[Step]) -> Result<Isolated, StoreError>;
}

/// [`IsolateTransaction::write_each`] to the letter: for stores where a savepoint costs next to nothing.
pub(super) async fn one_by_one<T: StoreTransaction + ?Sized>(
    tx: &mut T,
    schema: &Schema,
    line: &Line,
    groups: &[Group],
    steps: &[Step],
) -> Result<Isolated, StoreError> {
    let mut refused = Vec::new();
    for (step, each) in steps.iter().enumerate() {
        tx.savepoint().await?;
        match tx.write(line, groups, &writes_of(schema, std::slice::from_ref(each))).await {
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
