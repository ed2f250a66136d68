//! Rows of PostgreSQL for an export: one read-only transaction on one snapshot, rows streamed as they come.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use tidemark_core::postgres::qualified;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{IsolationLevel, Transaction};

use super::connect::failed;
use super::pool::{PostgresUpstream, Purpose};
use super::values::values_of;
use crate::export::Export;
use crate::upstream::error::StoreError;

/// An export takes the time it takes; nobody waits for it.
const SETTINGS: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL TIME ZONE 'UTC'; SET LOCAL jit = off";

/// How long no row may come.
const EXPORT_SILENCE: Duration = Duration::from_secs(30 * 60);

const NO_PARAMETERS: [(&(dyn ToSql + Sync), Type); 0] = [];

impl PostgresUpstream {
    pub(super) async fn read_all(&self, mut export: Export) -> Result<Export, StoreError> {
        let mut lent = self.lend(Purpose::Report).await?;
        let (client, pulse) = lent.take();
        let reading = async {
            let builder = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let transaction = builder.start().await.map_err(failed)?;
            transaction.batch_execute(SETTINGS).await.map_err(failed)?;
            let tables = export.tables();
            for &table in &tables {
                self.extents(&transaction, table, &mut export).await?;
            }
            export.settle().map_err(StoreError::Fault)?;
            for &table in &tables {
                self.rows(&transaction, table, &mut export).await?;
            }
            transaction.commit().await.map_err(failed)
        };
        let done = pulse.watch(EXPORT_SILENCE, reading).await;
        lent.end(done)?;
        Ok(export)
    }
}

impl PostgresUpstream {
    async fn extents(&self, tx: &Transaction<'_>, table: usize, export: &mut Export) -> Result<(), StoreError> {
        let sql = export.extents_sql(table, &qualified(&self.schema, &self.schema.tables()[table]));
        let rows = tx.query_typed_raw(&sql, NO_PARAMETERS).await.map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let cells: Result<Vec<Option<i64>>, _> = (0..row.len()).map(|at| row.try_get(at)).collect();
            export.extent(table, &cells.map_err(failed)?).map_err(StoreError::Fault)?;
        }
        Ok(())
    }

    async fn rows(&self, tx: &Transaction<'_>, table: usize, export: &mut Export) -> Result<(), StoreError> {
        let it = &self.schema.tables()[table];
        let sql = export.rows_sql(table, &qualified(&self.schema, it));
        let rows = tx.query_typed_raw(&sql, NO_PARAMETERS).await.map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            export.row(table, &values_of(&row, it)?).map_err(StoreError::Fault)?;
        }
        Ok(())
    }
}
