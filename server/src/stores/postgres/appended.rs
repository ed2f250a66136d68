//! Inserts into append tables: which of them may meet a row that is there, and those rows.
//!
//! There is no unique index to ask. But a station's keys ascend, and all that it ever inserted lie at or below the
//! highest: only a key that does not lie above that one is looked for, by the index of pages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidemark_core::digest::RowHash;
use tidemark_core::identity::Key;
use tidemark_core::postgres::qualified;
use tidemark_core::sqlite::quote;
use tidemark_core::value::ValueRef;
use tokio_postgres::types::{ToSql, Type};

use super::connect::failed;
use super::ranges::ranges;
use super::transaction::PostgresTransaction;
use super::values::{KeyArray, cell, key_type};
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;
use crate::upstream::facts::Facts;

impl PostgresTransaction<'_> {
    pub(super) async fn answer_appended(
        &self,
        lineage: &Lineage,
        asked: &BTreeMap<usize, Vec<Key>>,
        facts: &mut Facts,
    ) -> Result<(), StoreError> {
        if asked.is_empty() {
            return Ok(());
        }
        let highest = self.highest(lineage, asked).await?;
        for (&index, keys) in asked {
            let above = highest.get(&index).copied().unwrap_or(i64::MIN);
            let is_new = |key: &Key| matches!(key, Key::Integer(id) if lineage.station.owns(*id) && *id > above);
            let doubtful: BTreeSet<Key> = keys.iter().copied().filter(|key| !is_new(key)).collect();
            if !doubtful.is_empty() {
                self.rows_of_keys(index, &doubtful, facts).await?;
            }
        }
        Ok(())
    }

    /// The highest key that the station ever inserted into each of these tables; no entry, none.
    async fn highest(
        &self,
        lineage: &Lineage,
        asked: &BTreeMap<usize, Vec<Key>>,
    ) -> Result<HashMap<usize, i64>, StoreError> {
        let names: Vec<&str> = asked.keys().map(|&index| self.schema.tables()[index].name.as_str()).collect();
        let station = lineage.station.get().cast_signed();
        let sql = "SELECT tbl, key FROM tidemark.highest_key WHERE station = $1 AND tbl = ANY ($2)";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&station, Type::INT4), (&names, Type::TEXT_ARRAY)];
        let rows = self.inner.query_typed(sql, &parameters).await.map_err(failed)?;
        Ok(rows.iter().filter_map(|row| Some((self.schema.table_index(row.get(0))?, row.get(1)))).collect())
    }

    /// The hashes of the rows that have one of these keys.
    async fn rows_of_keys(&self, index: usize, keys: &BTreeSet<Key>, facts: &mut Facts) -> Result<(), StoreError> {
        let table = &self.schema.tables()[index];
        let (target, key) = (qualified(self.schema, table), quote(&table.key_column().name));
        let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
        // The index of pages finds ranges, not lists.
        let ranges = ranges(keys, table.time.is_some()).unwrap_or_else(|| one_range(keys));
        let within: Vec<String> =
            (0..ranges.len()).map(|at| format!("{key} BETWEEN ${} AND ${}", 2 * at + 2, 2 * at + 3)).collect();
        let array = KeyArray::new(key_type(table), keys.iter());
        let sql = format!(
            "SELECT * FROM (SELECT {} FROM {target} WHERE {} OFFSET 0) AS within
             WHERE {key} IN (SELECT unnest($1::{}) OFFSET 0)",
            columns.join(", "),
            within.join(" OR "),
            array.sql_type(),
        );
        let mut parameters = vec![array.parameter()];
        for (first, last) in &ranges {
            parameters.extend([(first as &(dyn ToSql + Sync), Type::INT8), (last, Type::INT8)]);
        }
        let mut scratch = Vec::new();
        for row in self.ask(index, &sql, &parameters).await? {
            let cells = table.columns.iter().enumerate().map(|(at, column)| cell(&row, at, column.ty));
            let values: Vec<ValueRef<'_>> = cells.collect::<Result<_, _>>().map_err(failed)?;
            let Some(key) = Key::of(values[table.key]) else { continue };
            facts.appended.insert((index, key), RowHash::of(&mut scratch, &table.name, values.into_iter()));
        }
        Ok(())
    }

    /// Notes the highest keys.
    pub(super) async fn raise_highest(&self, lineage: &Lineage, keys: &[(usize, i64)]) -> Result<(), StoreError> {
        let names: Vec<&str> = keys.iter().map(|&(index, _)| self.schema.tables()[index].name.as_str()).collect();
        let highest: Vec<i64> = keys.iter().map(|&(_, key)| key).collect();
        let station = lineage.station.get().cast_signed();
        let sql = "INSERT INTO tidemark.highest_key AS h (station, tbl, key)
            SELECT $1, t, k FROM unnest($2::text[], $3::bigint[]) AS n (t, k)
            ON CONFLICT (station, tbl) DO UPDATE SET key = EXCLUDED.key WHERE h.key < EXCLUDED.key";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&station, Type::INT4), (&names, Type::TEXT_ARRAY), (&highest, Type::INT8_ARRAY)];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }
}

/// The range from the first of these keys to the last.
fn one_range(keys: &BTreeSet<Key>) -> Vec<(i64, i64)> {
    let ids = keys.iter().filter_map(|key| if let Key::Integer(id) = key { Some(*id) } else { None });
    ids.clone().min().zip(ids.max()).into_iter().collect()
}
