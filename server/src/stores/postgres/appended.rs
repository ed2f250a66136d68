//! Inserts into append tables: which of them meet a row that is there, and those rows.
//!
//! There is no unique index to ask. But the keys that were inserted are kept, as ranges of keys that follow each other
//! (`tidemark.inserted`); since a station's keys ascend, these are few. Only a key that lies in one is looked for in
//! the table: at its row's time first, which leaves out every chunk but one.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::TryStreamExt as _;
use tidemark_core::digest::RowHash;
use tidemark_core::identity::{Identity, Key};
use tidemark_core::sqlite::quote;
use tokio_postgres::types::{ToSql, Type};

use super::connect::failed;
use super::transaction::PostgresTransaction;
use super::values::{KeyArray, StampUs, key_type, select_sql, values_of};
use crate::upstream::error::StoreError;
use crate::upstream::facts::Facts;

/// First and last key.
type Span = (i64, i64);

impl PostgresTransaction<'_> {
    pub(super) async fn answer_appended(
        &self,
        asked: &BTreeMap<usize, Vec<Identity>>,
        facts: &mut Facts,
    ) -> Result<(), StoreError> {
        for (&index, rows) in asked {
            let ids: Vec<i64> = rows.iter().filter_map(|row| id_of(row.key)).collect();
            let inserted = self.spans_at(index, &spans(ids)).await?;
            let is_there = |row: &&Identity| {
                let at = |id| inserted.partition_point(|span| span.0 <= id);
                id_of(row.key).is_some_and(|id| at(id) > 0 && inserted[at(id) - 1].1 >= id)
            };
            let mut there: Vec<Identity> = rows.iter().filter(is_there).copied().collect();
            if there.is_empty() {
                continue;
            }
            if self.schema.tables()[index].time.is_some() {
                let times = there.iter().map(|row| row.time_us);
                let range = times.clone().min().zip(times.max());
                self.rows_of_keys(index, &there, range, facts).await?;
                there.retain(|row| !facts.appended.contains_key(&(index, row.key)));
            }
            // At another time, or taken away by hand.
            if !there.is_empty() {
                self.rows_of_keys(index, &there, None, facts).await?;
            }
        }
        Ok(())
    }

    /// The spans of inserted keys that overlap one of these or lie beside it, in order.
    async fn spans_at(&self, index: usize, spans: &[Span]) -> Result<Vec<Span>, StoreError> {
        let name = self.schema.tables()[index].name.as_str();
        let (firsts, lasts): (Vec<i64>, Vec<i64>) = spans.iter().copied().unzip();
        let sql = "SELECT DISTINCT r.first, r.last FROM unnest($2::bigint[], $3::bigint[]) AS s (a, b), LATERAL (
                (SELECT first, last FROM tidemark.inserted WHERE tbl = $1 AND first <= s.a ORDER BY first DESC LIMIT 1)
                UNION ALL SELECT first, last FROM tidemark.inserted WHERE tbl = $1 AND first > s.a AND first <= s.b + 1
            ) AS r WHERE r.last >= s.a - 1 ORDER BY r.first";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&name, Type::TEXT), (&firsts, Type::INT8_ARRAY), (&lasts, Type::INT8_ARRAY)];
        let rows = self.pipeline.query_once(sql, &parameters).await.map_err(failed)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The hashes of the rows that have one of these keys, at any time or in a range of times.
    async fn rows_of_keys(
        &self,
        index: usize,
        rows: &[Identity],
        times: Option<(i64, i64)>,
        facts: &mut Facts,
    ) -> Result<(), StoreError> {
        let table = &self.schema.tables()[index];
        let keys: BTreeSet<Key> = rows.iter().map(|row| row.key).collect();
        let array = KeyArray::new(key_type(table), keys.iter());
        let (select, key) = (select_sql(self.schema, table), quote(&table.key_column().name));
        let mut sql = format!("{select} WHERE {key} = ANY ($1::{})", array.sql_type());
        let stamps = times.map(|(first, last)| (StampUs(first), StampUs(last)));
        let mut parameters = vec![array.parameter()];
        if let (Some((first, last)), Some(time)) = (&stamps, table.time_column()) {
            sql.push_str(&format!(" AND {} BETWEEN $2 AND $3", quote(&time.name)));
            parameters.extend([(first as &(dyn ToSql + Sync), Type::TIMESTAMPTZ), (last, Type::TIMESTAMPTZ)]);
        }
        let mut scratch = Vec::new();
        // Hashed as they come: a small batch may ask for rows of any length.
        let asked = parameters.iter().map(|(value, ty)| (*value, ty.clone()));
        let of = |error| self.of(index, failed(error));
        let mut found = pin!(self.pipeline.rows_once(&sql, asked).await.map_err(of)?);
        while let Some(row) = self.pipeline.noted(found.try_next().await).map_err(of)? {
            let values = values_of(&row, table)?;
            let Some(key) = Key::of(values[table.key]) else { continue };
            facts.appended.insert((index, key), RowHash::of(&mut scratch, &table.name, values.into_iter()));
        }
        Ok(())
    }

    /// Keeps that these keys were inserted.
    pub(super) async fn keep_inserted(&self, index: usize, keys: &[i64]) -> Result<(), StoreError> {
        let new = spans(keys.to_vec());
        let before = self.spans_at(index, &new).await?;
        let after = joined(&before, &new);
        let name = self.schema.tables()[index].name.as_str();
        let gone =
            before.iter().map(|span| span.0).filter(|first| after.binary_search_by_key(first, |span| span.0).is_err());
        let gone: Vec<i64> = gone.collect();
        if !gone.is_empty() {
            let sql = "DELETE FROM tidemark.inserted WHERE tbl = $1 AND first = ANY ($2)";
            let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&gone, Type::INT8_ARRAY)];
            self.pipeline.execute_once(sql, &parameters).await.map_err(failed)?;
        }
        let is_new = |span: &&Span| before.binary_search(span).is_err();
        let (firsts, lasts): (Vec<i64>, Vec<i64>) = after.iter().filter(is_new).copied().unzip();
        let sql = "INSERT INTO tidemark.inserted (tbl, first, last)
            SELECT $1, first, last FROM unnest($2::bigint[], $3::bigint[]) AS s (first, last)
            ON CONFLICT (tbl, first) DO UPDATE SET last = EXCLUDED.last";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&name, Type::TEXT), (&firsts, Type::INT8_ARRAY), (&lasts, Type::INT8_ARRAY)];
        if !firsts.is_empty() {
            self.pipeline.execute_once(sql, &parameters).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// The number that a key is; none of a uuid, which no append table has.
const fn id_of(key: Key) -> Option<i64> {
    match key {
        Key::Integer(id) => Some(id),
        Key::Uuid(_) => None,
    }
}

/// Keys as spans of those that follow each other, in order.
fn spans(mut keys: Vec<i64>) -> Vec<Span> {
    keys.sort_unstable();
    joined(&[], &keys.iter().map(|&key| (key, key)).collect::<Vec<_>>())
}

/// The fewest spans that hold the keys of all of these and no others, in order. None reaches from one station's ids
/// into another's: whoever moves a span has locked the cursor of one station.
fn joined(some: &[Span], more: &[Span]) -> Vec<Span> {
    let mut all = [some, more].concat();
    all.sort_unstable();
    let mut joined: Vec<Span> = Vec::with_capacity(all.len().min(16));
    for (first, last) in all {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) && first >> 32 == before.1 >> 32 => {
                before.1 = before.1.max(last);
            }
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_that_follow_each_other_are_one_span() {
        assert_eq!(spans(vec![5, 1, 2, 3, 3, 9]), [(1, 3), (5, 5), (9, 9)]);
        assert_eq!(joined(&[(1, 3), (8, 9)], &[(4, 6)]), [(1, 6), (8, 9)]);
        assert_eq!(joined(&[(1, 3), (8, 9)], &[(4, 7), (20, 21)]), [(1, 9), (20, 21)]);
        let (block, last) = (1_i64 << 32, (1_i64 << 32) - 1);
        assert_eq!(joined(&[(last - 1, last)], &[(block, block)]), [(last - 1, last), (block, block)]);
        assert_eq!(
            joined(&[(i64::MAX - 1, i64::MAX)], &[(i64::MIN, i64::MIN)]),
            [(i64::MIN, i64::MIN), (i64::MAX - 1, i64::MAX)]
        );
    }

    proptest! {
        #[test]
        fn spans_hold_the_keys_and_no_others(some in prop::collection::vec(0..60_i64, 0..40), more in prop::collection::vec(0..60_i64, 0..40)) {
            let held = joined(&spans(some.clone()), &spans(more.clone()));
            let wanted: BTreeSet<i64> = some.into_iter().chain(more).collect();
            let there: BTreeSet<i64> = held.iter().flat_map(|&(first, last)| first..=last).collect();
            prop_assert_eq!(there, wanted);
            prop_assert!(held.windows(2).all(|two| two[0].1 + 1 < two[1].0));
        }
    }
}
