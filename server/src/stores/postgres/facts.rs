//! Questions about rows: one statement per table and kind of question, whatever the number of rows.

use std::collections::BTreeSet;

use futures_util::future::{try_join_all, try_join4};
use tidemark_core::identity::Key;
use tidemark_core::postgres::qualified;
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
        let owned = owned_array(lineage);
        // All are sent before the first answer is waited for.
        let present = questions.present.iter().map(|(&index, keys)| self.rows_present(index, keys));
        let foreign = questions.foreign.iter().map(|(&index, keys)| self.rows_of_others(index, keys, &owned));
        let children = questions.children.iter().map(|(&at, keys)| self.counted_children(at, keys));
        let holders = questions.holders.iter().map(|(&index, keys)| self.held(index, keys, questions));
        let all =
            try_join4(try_join_all(present), try_join_all(foreign), try_join_all(children), try_join_all(holders));
        let (present, foreign, children, holders) = all.await?;
        let mut facts = Facts::default();
        for (&index, rows) in questions.present.keys().zip(present) {
            let table = &self.schema.tables()[index];
            for row in rows {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                let time = if table.time.is_some() { row.try_get::<_, StampUs>(1).map_err(failed)?.0 } else { 0 };
                facts.present.entry((index, key)).or_default().insert(time);
            }
        }
        for (&index, rows) in questions.foreign.keys().zip(foreign) {
            for row in rows {
                let Some(key) = key_cell(&row, 0, key_type(&self.schema.tables()[index]))? else { continue };
                facts.foreign.insert((index, key), row.get::<_, i32>(1).cast_unsigned());
            }
        }
        for (&at, rows) in questions.children.keys().zip(children) {
            for row in rows {
                let column = &self.schema.tables()[at.table].columns[at.column];
                let Some(key) = key_cell(&row, 0, column.ty)? else { continue };
                facts.children.insert((at, key), row.get::<_, i64>(1).unsigned_abs());
            }
        }
        for (&index, rows) in questions.holders.keys().zip(holders) {
            let table = &self.schema.tables()[index];
            for row in rows {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                for (place, column) in questions.holder_columns(index).into_iter().enumerate() {
                    let held = key_cell(&row, place + 1, table.columns[column].ty)?;
                    facts.holders.insert((ColumnAt { table: index, column }, key), held);
                }
            }
        }
        self.answer_appended(&questions.appended, &mut facts).await?;
        Ok(facts)
    }

    /// Asks a table. Planned each time, for these keys and the size that the table has now: a plan that is kept would
    /// be for the size it had, and of a hypertable hold each chunk.
    pub(super) async fn ask(
        &self,
        table: usize,
        sql: &str,
        of: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        self.pipeline.query_once(sql, of).await.map_err(|error| self.of(table, failed(error)))
    }

    /// Keys and stations of those rows that others own.
    async fn rows_of_others(
        &self,
        index: usize,
        keys: &BTreeSet<Key>,
        owned: &Vec<i32>,
    ) -> Result<Vec<Row>, StoreError> {
        let table = &self.schema.tables()[index];
        let keys = KeyArray::new(key_type(table), keys.iter());
        let (key, target) = (quote(&table.key_column().name), qualified(self.schema, table));
        let sql = format!(
            "SELECT {key}, \"station\" FROM {target} WHERE {key} = ANY ($1::{}) AND NOT \"station\" = ANY ($2)",
            keys.sql_type()
        );
        self.ask(index, &sql, &[keys.parameter(), (owned, Type::INT4_ARRAY)]).await
    }

    /// How many rows reference each of these.
    async fn counted_children(&self, at: ColumnAt, keys: &BTreeSet<Key>) -> Result<Vec<Row>, StoreError> {
        let table = &self.schema.tables()[at.table];
        let column = &table.columns[at.column];
        let keys = KeyArray::new(column.ty, keys.iter());
        let (name, target) = (quote(&column.name), qualified(self.schema, table));
        let sql = format!(
            "SELECT {name}, count(*) FROM {target} WHERE {name} = ANY ($1::{}) GROUP BY {name}",
            keys.sql_type()
        );
        self.ask(at.table, &sql, &[keys.parameter()]).await
    }

    /// What these rows reference, in the columns that are asked for.
    async fn held(&self, index: usize, keys: &BTreeSet<Key>, asked: &Questions) -> Result<Vec<Row>, StoreError> {
        let table = &self.schema.tables()[index];
        let keys = KeyArray::new(key_type(table), keys.iter());
        let columns = asked.holder_columns(index);
        let list: String = columns.iter().map(|&at| format!(", {}", quote(&table.columns[at].name))).collect();
        let (key, target) = (quote(&table.key_column().name), qualified(self.schema, table));
        let sql = format!("SELECT {key}{list} FROM {target} WHERE {key} = ANY ($1::{})", keys.sql_type());
        self.ask(index, &sql, &[keys.parameter()]).await
    }

    /// Keys and times of the rows with these keys.
    async fn rows_present(&self, index: usize, keys: &BTreeSet<Key>) -> Result<Vec<Row>, StoreError> {
        let table = &self.schema.tables()[index];
        let mut columns = quote(&table.key_column().name);
        let key = columns.clone();
        if let Some(time) = table.time_column() {
            columns = format!("{columns}, {}", quote(&time.name));
        }
        let target = qualified(self.schema, table);
        let array = KeyArray::new(key_type(table), keys.iter());
        let Some(ranges) = ranges(keys, table.time.is_some()) else {
            let sql = format!("SELECT {columns} FROM {target} WHERE {key} = ANY ($1::{})", array.sql_type());
            return self.ask(index, &sql, &[array.parameter()]).await;
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
        self.ask(index, &sql, &parameters).await
    }
}
