//! Questions about rows: one statement per table and kind of question, whatever the number of rows.

use std::collections::BTreeSet;

use tidemark_core::identity::Key;
use tidemark_core::postgres::qualified;
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::failed;
use super::ranges::ranges;
use super::transaction::PostgresTransaction;
use super::values::{KeyArray, StampUs, key_cell, key_type, owned_array};
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;
use crate::upstream::facts::{ColumnAt, Facts, Questions};

impl PostgresTransaction<'_> {
    pub(super) async fn answer(&self, lineage: &Lineage, questions: &Questions) -> Result<Facts, StoreError> {
        let mut facts = Facts::default();
        let owned = owned_array(lineage);
        for (&index, keys) in &questions.present {
            let table = &self.schema.tables()[index];
            for row in self.rows_present(table, keys).await.map_err(|error| self.of(index, error))? {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                let time = if table.time.is_some() { row.try_get::<_, StampUs>(1).map_err(failed)?.0 } else { 0 };
                facts.present.entry((index, key)).or_default().insert(time);
            }
        }
        for (&index, keys) in &questions.foreign {
            let table = &self.schema.tables()[index];
            let keys = KeyArray::new(key_type(table), keys.iter());
            let key = quote(&table.key_column().name);
            let target = qualified(self.schema, table);
            let sql = format!(
                "SELECT {key}, \"station\" FROM {target} WHERE {key} = ANY ($1::{}) AND NOT \"station\" = ANY ($2)",
                keys.sql_type()
            );
            for row in self.ask(index, &sql, &[keys.parameter(), (&owned, Type::INT4_ARRAY)]).await? {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                facts.foreign.insert((index, key), row.get::<_, i32>(1).cast_unsigned());
            }
        }
        for (&at, keys) in &questions.children {
            let table = &self.schema.tables()[at.table];
            let column = &table.columns[at.column];
            let keys = KeyArray::new(column.ty, keys.iter());
            let (name, target) = (quote(&column.name), qualified(self.schema, table));
            let sql = format!(
                "SELECT {name}, count(*) FROM {target} WHERE {name} = ANY ($1::{}) GROUP BY {name}",
                keys.sql_type()
            );
            for row in self.ask(at.table, &sql, &[keys.parameter()]).await? {
                let Some(key) = key_cell(&row, 0, column.ty)? else { continue };
                facts.children.insert((at, key), row.get::<_, i64>(1).unsigned_abs());
            }
        }
        for (&index, keys) in &questions.holders {
            let table = &self.schema.tables()[index];
            let keys = KeyArray::new(key_type(table), keys.iter());
            let columns = questions.holder_columns(index);
            let list: String = columns.iter().map(|&at| format!(", {}", quote(&table.columns[at].name))).collect();
            let (key, target) = (quote(&table.key_column().name), qualified(self.schema, table));
            let sql = format!("SELECT {key}{list} FROM {target} WHERE {key} = ANY ($1::{})", keys.sql_type());
            for row in self.ask(index, &sql, &[keys.parameter()]).await? {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                for (place, &column) in columns.iter().enumerate() {
                    let held = key_cell(&row, place + 1, table.columns[column].ty)?;
                    facts.holders.insert((ColumnAt { table: index, column }, key), held);
                }
            }
        }
        self.answer_appended(&questions.appended, &mut facts).await?;
        Ok(facts)
    }

    /// Asks a table.
    pub(super) async fn ask(
        &self,
        table: usize,
        sql: &str,
        of: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.query_typed(sql, of).await.map_err(|error| self.of(table, failed(error)))
    }

    /// Keys and times of the rows with these keys.
    async fn rows_present(&self, table: &Table, keys: &BTreeSet<Key>) -> Result<Vec<Row>, StoreError> {
        let mut columns = quote(&table.key_column().name);
        let key = columns.clone();
        if let Some(time) = table.time_column() {
            columns = format!("{columns}, {}", quote(&time.name));
        }
        let target = qualified(self.schema, table);
        let array = KeyArray::new(key_type(table), keys.iter());
        let Some(ranges) = ranges(keys, table.time.is_some()) else {
            let sql = format!("SELECT {columns} FROM {target} WHERE {key} = ANY ($1::{})", array.sql_type());
            return self.inner.query_typed(&sql, &[array.parameter()]).await.map_err(failed);
        };
        let within: Vec<String> =
            (0..ranges.len()).map(|at| format!("{key} BETWEEN ${} AND ${}", 2 * at + 2, 2 * at + 3)).collect();
        // OFFSET 0 keeps the two apart, also where no statistics tell the planner yet how large the table is: a scan of
        // the ranges, and a hash.
        let sql = format!(
            "SELECT * FROM (SELECT {columns} FROM {target} WHERE {} OFFSET 0) AS within
             WHERE {key} IN (SELECT unnest($1::{}) OFFSET 0)",
            within.join(" OR "),
            array.sql_type(),
        );
        let mut parameters = vec![array.parameter()];
        for (first, last) in &ranges {
            parameters.extend([(first as &(dyn ToSql + Sync), Type::INT8), (last, Type::INT8)]);
        }
        self.inner.query_typed(&sql, &parameters).await.map_err(failed)
    }
}
