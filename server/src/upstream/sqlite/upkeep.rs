//! What is settled, thinned out in the embedded upstream.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::ids::StationNumber;

use super::values::at_text;
use super::{SqliteUpstream, failed};
use crate::upstream::StoreError;
use crate::upstream::upkeep::{Thinned, Thinning, Upkeep};

fn thin(connection: &mut Connection, thinning: &Thinning) -> rusqlite::Result<Thinned> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (station, before) = (thinning.station.get(), at_text(thinning.before_ms));
    let rejects = tx
        .prepare_cached(
            "DELETE FROM tidemark_rejects WHERE station = ?1 AND seq IN (
                 SELECT r.seq FROM tidemark_rejects AS r
                 WHERE r.station = ?1 AND r.state <> 'open' AND r.resolved_at < ?2
                     AND r.seq <= (SELECT heard FROM tidemark_cursor WHERE station = ?1)
                     AND NOT EXISTS (SELECT 1 FROM tidemark_rejects AS child
                                     WHERE child.station = ?1 AND child.parent = r.seq AND child.state = 'open')
                 LIMIT ?3)",
        )?
        .execute((station, &before, thinning.rows_max))?;
    let batches = tx
        .prepare_cached(
            "DELETE FROM tidemark_history WHERE station = ?1 AND first_seq IN (
                 SELECT first_seq FROM tidemark_history WHERE station = ?1 ORDER BY first_seq LIMIT ?3)
                 AND applied_at < ?2
                 AND first_seq + count - 1 <= (SELECT seq FROM tidemark_cursor WHERE station = ?1) - ?4",
        )?
        .execute((station, &before, thinning.rows_max, thinning.prints_kept.cast_signed()))?;
    tx.commit()?;
    Ok(Thinned { rejects: rejects as u64, batches: batches as u64 })
}

#[async_trait]
impl Upkeep for SqliteUpstream {
    async fn thin(&self, thinning: &Thinning) -> Result<Thinned, StoreError> {
        let thinning = *thinning;
        Self::with(&self.writer, move |connection| thin(connection, &thinning).map_err(failed)).await
    }

    async fn heard(&self, station: StationNumber) -> Result<u64, StoreError> {
        Self::with(&self.reader, move |connection| {
            let sql = "SELECT heard FROM tidemark_cursor WHERE station = ?1";
            let heard: Option<i64> =
                connection.query_row(sql, [station.get()], |row| row.get(0)).optional().map_err(failed)?;
            Ok(heard.unwrap_or(0).unsigned_abs())
        })
        .await
    }
}
