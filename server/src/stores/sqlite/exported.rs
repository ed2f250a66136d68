//! Rows of the embedded upstream for an export: one read transaction on the connection that reads whole tables.

use tidemark_core::sqlite::quote;
use tidemark_core::value::ValueRef;

use super::file::{SqliteUpstream, failed};
use super::values::typed_or_raw;
use crate::export::Export;
use crate::upstream::error::StoreError;

impl SqliteUpstream {
    pub(super) async fn read_all(&self, mut export: Export) -> Result<Export, StoreError> {
        Self::with(&self.surveyor, move |connection| {
            let transaction = connection.transaction().map_err(failed)?;
            let tables = export.tables();
            for &table in &tables {
                let sql = export.extents_sql(table, &quote(&export.table(table).name));
                let width = export.extent_cells(table);
                let mut select = transaction.prepare(&sql).map_err(failed)?;
                let mut rows = select.query([]).map_err(failed)?;
                while let Some(row) = rows.next().map_err(failed)? {
                    let cells: rusqlite::Result<Vec<Option<i64>>> = (0..width).map(|at| row.get(at)).collect();
                    export.extent(table, &cells.map_err(failed)?).map_err(StoreError::Fault)?;
                }
            }
            export.settle().map_err(StoreError::Fault)?;
            for &table in &tables {
                let sql = export.rows_sql(table, &quote(&export.table(table).name));
                let types: Vec<_> = export.table(table).columns.iter().map(|column| column.ty).collect();
                let mut select = transaction.prepare(&sql).map_err(failed)?;
                let mut rows = select.query([]).map_err(failed)?;
                while let Some(row) = rows.next().map_err(failed)? {
                    let cells = types.iter().enumerate().map(|(at, &ty)| Ok(typed_or_raw(ty, row.get_ref(at)?)));
                    let values: rusqlite::Result<Vec<ValueRef<'_>>> = cells.collect();
                    export.row(table, &values.map_err(failed)?).map_err(StoreError::Fault)?;
                }
            }
            Ok(export)
        })
        .await
    }
}
