//! What is settled, thinned out on PostgreSQL.

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;
use tokio_postgres::types::{ToSql, Type};

use super::transaction::StampMs;
use super::{PostgresUpstream, failed};
use crate::upstream::StoreError;
use crate::upstream::upkeep::{Thinned, Thinning, Upkeep};

/// $1 station, $2 before, $3 at most. Rows that another server takes away just now are passed over. Materialised: a subquery with LIMIT and
/// SKIP LOCKED may be run again and again, each time for other rows.
const REJECTS: &str = "WITH old AS MATERIALIZED (
    SELECT r.seq FROM tidemark.rejects AS r
    WHERE r.station = $1 AND r.state <> 'open' AND r.resolved_at < $2
        AND r.seq <= (SELECT heard FROM tidemark.cursor WHERE station = $1)
        AND NOT EXISTS (SELECT FROM tidemark.rejects AS child
                        WHERE child.station = $1 AND child.parent = r.seq AND child.state = 'open')
    LIMIT $3 FOR UPDATE OF r SKIP LOCKED)
    DELETE FROM tidemark.rejects AS r USING old WHERE r.station = $1 AND r.seq = old.seq";
/// The same, and $4: how many of the newest changes keep their prints.
const HISTORY: &str = "WITH first AS MATERIALIZED (
    SELECT first_seq FROM tidemark.history WHERE station = $1 ORDER BY first_seq LIMIT $3)
    DELETE FROM tidemark.history AS h USING first WHERE h.station = $1 AND h.first_seq = first.first_seq
    AND h.applied_at < $2 AND h.first_seq + h.count - 1 <= (SELECT seq FROM tidemark.cursor WHERE station = $1) - $4";

#[async_trait]
impl Upkeep for PostgresUpstream {
    async fn thin(&self, thinning: &Thinning) -> Result<Thinned, StoreError> {
        let thinning = *thinning;
        self.transact(move |tx| {
            Box::pin(async move {
                let (number, before) = (thinning.station.get().cast_signed(), StampMs(thinning.before_ms));
                let (most, kept) = (i64::from(thinning.rows_max), thinning.prints_kept.cast_signed());
                let parameters: [(&(dyn ToSql + Sync), Type); 4] =
                    [(&number, Type::INT4), (&before, Type::TIMESTAMPTZ), (&most, Type::INT8), (&kept, Type::INT8)];
                let rejects = tx.inner.execute_typed(REJECTS, &parameters[..3]).await.map_err(failed)?;
                let batches = tx.inner.execute_typed(HISTORY, &parameters).await.map_err(failed)?;
                Ok(Thinned { rejects, batches })
            })
        })
        .await
    }

    async fn heard(&self, station: StationNumber) -> Result<u64, StoreError> {
        let sql = "SELECT heard FROM tidemark.cursor WHERE station = $1";
        let (client, number) = (self.client().await?, station.get().cast_signed());
        let row = client.query_typed_opt(sql, &[(&number, Type::INT4)]).await.map_err(failed)?;
        Ok(row.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }
}
