//! What a batch begins with, in SQL.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;

use super::cursors::{LOCK, TABLE, cursor_of};
use super::lineage::{LINEAGE, lineage_of};
use super::value::params;
use super::{Record, Sql};
use crate::ledger::batches::{BatchLedger, Opened};
use crate::upstream::error::StoreError;

/// Whether the station ?1, or one that it replaced, has open rejects.
const HAS_OPEN_REJECTS: &str = "SELECT EXISTS (
        SELECT 1 FROM tidemark.rejects WHERE station = ?1 AND state = 'open')
    OR EXISTS (
        SELECT 1 FROM tidemark.line AS l JOIN tidemark.rejects AS r ON r.station = l.former
        WHERE l.station = ?1 AND l.owned AND r.state = 'open')";

#[async_trait]
impl<T: Sql> BatchLedger for T {
    async fn open_batch(&mut self, station: StationNumber) -> Result<Option<Opened>, StoreError> {
        // Each a statement of its own: one for all would have waited for the lock with a snapshot from before.
        let asked = [LOCK, LINEAGE, HAS_OPEN_REJECTS].map(|sql| (sql, params![station])).to_vec();
        let answers = self.query_all(asked).await;
        let answers = answers.map_err(|(at, error)| if at == 0 { error.of_table(TABLE) } else { error })?;
        let Ok([locked, lineage, rejects]) = <[Vec<Record>; 3]>::try_from(answers) else {
            panic!("BUG: three questions have three answers")
        };
        let Some(mut locked) = locked.into_iter().next() else { return Ok(None) };
        let has_open_rejects = match rejects.into_iter().next() {
            Some(mut row) => row.column()?,
            None => false,
        };
        let (cursor, lineage) = (cursor_of(&mut locked)?, lineage_of(station, lineage)?);
        Ok(Some(Opened { cursor, lineage, has_open_rejects }))
    }
}
