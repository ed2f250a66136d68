//! The survey of rows in memory.

use async_trait::async_trait;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::value::{Value, ValueRef};

use super::MemoryUpstream;
use crate::survey::Survey;
use crate::upstream::StoreError;
use crate::upstream::surveyed::{Surveyed, no_cursor};

#[async_trait]
impl Surveyed for MemoryUpstream {
    async fn survey(&self, station: StationNumber, survey: Survey) -> Result<(Cursor, Survey), StoreError> {
        let mut survey = survey.over_whole_tables();
        let state = self.state();
        let cursor = state.cursors.get(&station.get()).ok_or_else(|| no_cursor(station))?.cursor;
        while let Some(reading) = survey.next_reading() {
            let table = reading.table();
            let missing = || StoreError::Fault(format!("table {} is not upstream", table.name));
            let index = self.schema.table_index(&table.name).ok_or_else(missing)?;
            let here = &self.schema.tables()[index];
            let columns: Option<Vec<usize>> =
                table.columns.iter().map(|column| here.column_index(&column.name)).collect();
            let columns = columns.ok_or_else(missing)?;
            for row in state.rows[index].values().filter(|row| row.station == station.get()) {
                let values: Vec<ValueRef<'_>> = columns.iter().map(|&at| Value::as_ref(&row.values[at])).collect();
                survey.row(&values).map_err(StoreError::Fault)?;
            }
        }
        Ok((cursor, survey))
    }
}
