//! Rows in memory for an export.

use async_trait::async_trait;
use tidemark_core::value::{Value, ValueRef};

use super::MemoryUpstream;
use crate::export::Export;
use crate::upstream::StoreError;
use crate::upstream::exported::Exportable;

#[async_trait]
impl Exportable for MemoryUpstream {
    async fn export(&self, mut export: Export) -> Result<Export, StoreError> {
        let state = self.state();
        let rows = |table: usize| state.rows[table].values();
        for table in export.tables() {
            for row in rows(table).filter(|row| export.wants(row.station)).collect::<Vec<_>>() {
                let values: Vec<ValueRef<'_>> = row.values.iter().map(Value::as_ref).collect();
                export.extent_of(table, &values).map_err(StoreError::Fault)?;
            }
        }
        export.settle().map_err(StoreError::Fault)?;
        for table in export.tables() {
            for row in rows(table).filter(|row| export.wants(row.station)).collect::<Vec<_>>() {
                let values: Vec<ValueRef<'_>> = row.values.iter().map(Value::as_ref).collect();
                export.row(table, &values).map_err(StoreError::Fault)?;
            }
        }
        Ok(export)
    }
}
