//! What a batch begins with, in SQL.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;

use super::cursors::{LOCK, TABLE, cursor_of};
use super::lineage::{lineage_of, lineage_sql};
use super::value::params;
use super::{Record, Sql};
use crate::ledger::batches::{BatchLedger, Opened};
use crate::upstream::error::StoreError;

/// The lineage of the station ?1, and whether it, or one that it replaced, has open rejects.
const LINEAGE_AND_REJECTS: &str = lineage_sql!(
    ", EXISTS (SELECT 1 FROM tidemark.rejects WHERE station = ?1 AND state = 'open')
    OR EXISTS (
        SELECT 1 FROM tidemark.line AS l JOIN tidemark.rejects AS r ON r.station = l.former
        WHERE l.station = ?1 AND l.owned AND r.state = 'open')"
);

#[async_trait]
impl<T: Sql> BatchLedger for T {
    async fn open_batch(&mut self, station: StationNumber) -> Result<Option<Opened>, StoreError> {
        // Two statements: one for all would have waited for the lock with a snapshot from before.
        let asked = [LOCK, LINEAGE_AND_REJECTS].map(|sql| (sql, params![station])).to_vec();
        let answers = self.query_all(asked).await;
        let answers = answers.map_err(|(at, error)| if at == 0 { error.of_table(TABLE) } else { error })?;
        let Ok([locked, mut known]) = <[Vec<Record>; 2]>::try_from(answers) else {
            panic!("BUG: two questions have two answers")
        };
        let Some(mut locked) = locked.into_iter().next() else { return Ok(None) };
        let (cursor, lineage) = (cursor_of(&mut locked)?, lineage_of(station, &mut known)?);
        // The last column.
        let has_open_rejects = known.first_mut().map_or(Ok(false), Record::column)?;
        Ok(Some(Opened { cursor, lineage, has_open_rejects }))
    }
}
