//! Rejected changes on PostgreSQL.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use postgres_types::{IsNull, ToSql, accepts, to_sql_checked};
use tidemark_core::ids::StationNumber;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::transaction::{JsonText, PostgresTransaction, StampMs, owned_array};
use super::{PostgresUpstream, failed};
use crate::ingest::questions::Key;
use crate::ingest::replay::{self, Replay, ReplayOutcome};
use crate::lines::Line;
use crate::upstream::StoreError;
use crate::upstream::rejects::{
    AppliedRow, Reject, RejectFilter, RejectHead, RejectState, RejectStore, RejectTransaction, RejectedRow, Settled,
};

/// Rejects stored by one statement.
const ROWS_PER_STATEMENT: usize = 500;
/// Bytes of their images, beyond which a statement takes no further one.
const BYTES_PER_STATEMENT: usize = 4 << 20;

pub(super) const REJECT_COLUMNS: &str =
    "station, seq, at, received_at, tbl, op, code, message, image, origin, state, resolved_at, key, parent";

/// The condition of a [`RejectFilter`] on `tidemark.rejects AS r`: $1 … $6; $7 is the limit.
const FILTER: &str = "($1::integer IS NULL OR r.station = $1) AND ($2::bigint[] IS NULL OR r.seq = ANY ($2))
    AND ($3::bigint[] IS NULL OR EXISTS (
        SELECT FROM tidemark.rejects AS p JOIN tidemark.rejects AS s ON s.station = p.station AND s.tbl = p.tbl AND s.key = p.key
        WHERE p.station = r.station AND p.seq = r.parent AND s.seq = ANY ($3)))
    AND ($4::text IS NULL OR r.tbl = $4) AND ($5::text IS NULL OR r.code = $5) AND ($6::text IS NULL OR r.state = $6)";

pub(super) fn reject_of(row: &Row) -> Option<Reject> {
    Some(Reject {
        station: StationNumber::new(row.get::<_, i32>(0).cast_unsigned()).ok()?,
        seq: row.get::<_, i64>(1).unsigned_abs(),
        at_ms: row.get::<_, StampMs>(2).0,
        received_at_ms: row.get::<_, StampMs>(3).0,
        table: row.get(4),
        op: row.get(5),
        code: row.get(6),
        message: row.get(7),
        image: row.get::<_, Option<JsonText<'_>>>(8).map(|text| text.0.to_owned()),
        origin: row.get(9),
        state: RejectState::from_text(row.get(10)).unwrap_or(RejectState::Open),
        resolved_at_ms: row.get::<_, Option<StampMs>>(11).map(|stamp| stamp.0),
        key: row.get(12),
        parent: row.get::<_, Option<i64>>(13).map(i64::unsigned_abs),
    })
}

fn head_of(row: &Row) -> Option<RejectHead> {
    Some(RejectHead {
        station: StationNumber::new(row.get::<_, i32>(0).cast_unsigned()).ok()?,
        seq: row.get::<_, i64>(1).unsigned_abs(),
        state: RejectState::from_text(row.get(2))?,
        image_bytes: row.get::<_, Option<i64>>(3).map(i64::unsigned_abs),
    })
}

/// JSON's text, as a parameter.
#[derive(Debug)]
struct JsonParameter<'a>(Option<&'a str>);

impl ToSql for JsonParameter<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }
    accepts!(JSON);
    to_sql_checked!();
}

fn signed(seqs: &[u64]) -> Vec<i64> {
    seqs.iter().map(|seq| seq.cast_signed()).collect()
}

/// Stores rejects, many by one statement.
pub(super) async fn store(
    transaction: &Transaction<'_>,
    rejects: &mut (dyn Iterator<Item = Reject> + Send),
) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO tidemark.rejects ({REJECT_COLUMNS})
         SELECT * FROM unnest($1::integer[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
                              $8::text[], $9::json[], $10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::bigint[])"
    );
    loop {
        let some: Vec<Reject> = take_some(rejects);
        if some.is_empty() {
            return Ok(());
        }
        let texts = |of: fn(&Reject) -> &str| some.iter().map(of).collect::<Vec<&str>>();
        let stations: Vec<i32> = some.iter().map(|reject| reject.station.get().cast_signed()).collect();
        let seqs: Vec<i64> = some.iter().map(|reject| reject.seq.cast_signed()).collect();
        let ats: Vec<StampMs> = some.iter().map(|reject| StampMs(reject.at_ms)).collect();
        let received: Vec<StampMs> = some.iter().map(|reject| StampMs(reject.received_at_ms)).collect();
        let (tables, ops) = (texts(|reject| &reject.table), texts(|reject| &reject.op));
        let (codes, messages) = (texts(|reject| &reject.code), texts(|reject| &reject.message));
        let images: Vec<JsonParameter<'_>> = some.iter().map(|reject| JsonParameter(reject.image.as_deref())).collect();
        let (origins, states) = (texts(|reject| &reject.origin), texts(|reject| reject.state.as_str()));
        let resolved: Vec<Option<StampMs>> = some.iter().map(|reject| reject.resolved_at_ms.map(StampMs)).collect();
        let keys: Vec<Option<&str>> = some.iter().map(|reject| reject.key.as_deref()).collect();
        let parents: Vec<Option<i64>> = some.iter().map(|reject| reject.parent.map(u64::cast_signed)).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 14] = [
            (&stations, Type::INT4_ARRAY),
            (&seqs, Type::INT8_ARRAY),
            (&ats, Type::TIMESTAMPTZ_ARRAY),
            (&received, Type::TIMESTAMPTZ_ARRAY),
            (&tables, Type::TEXT_ARRAY),
            (&ops, Type::TEXT_ARRAY),
            (&codes, Type::TEXT_ARRAY),
            (&messages, Type::TEXT_ARRAY),
            (&images, Type::JSON_ARRAY),
            (&origins, Type::TEXT_ARRAY),
            (&states, Type::TEXT_ARRAY),
            (&resolved, Type::TIMESTAMPTZ_ARRAY),
            (&keys, Type::TEXT_ARRAY),
            (&parents, Type::INT8_ARRAY),
        ];
        transaction.execute_typed(&sql, &parameters).await.map_err(failed)?;
    }
}

/// The next rejects: not too many, and not too large, since images may be.
fn take_some(rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Vec<Reject> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < ROWS_PER_STATEMENT && bytes < BYTES_PER_STATEMENT {
        let Some(reject) = rejects.next() else { break };
        bytes += reject.image.as_ref().map_or(0, String::len);
        some.push(reject);
    }
    some
}

#[async_trait]
impl RejectTransaction for PostgresTransaction<'_> {
    async fn has_open_rejects(&mut self, line: &Line) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM tidemark.rejects WHERE station = ANY ($1) AND state = 'open')";
        let owned = owned_array(line);
        let row = self.inner.query_typed_one(sql, &[(&owned, Type::INT4_ARRAY)]).await.map_err(failed)?;
        Ok(row.get(0))
    }

    async fn rejected_rows(
        &mut self,
        station: StationNumber,
        keys: &BTreeMap<usize, BTreeSet<Key>>,
    ) -> Result<HashMap<(usize, Key), RejectedRow>, StoreError> {
        let sql = "SELECT DISTINCT ON (key) key, seq, code FROM tidemark.rejects
            WHERE station = $1 AND tbl = $2 AND key = ANY ($3) AND state = 'open' AND op <> 'delete' ORDER BY key, seq DESC";
        let number = station.get().cast_signed();
        let mut rows = HashMap::new();
        for (&table, keys) in keys {
            let by_text: HashMap<String, Key> = keys.iter().map(|key| (key.to_string(), *key)).collect();
            let texts: Vec<&String> = by_text.keys().collect();
            let name = &self.schema.tables()[table].name;
            let parameters: [(&(dyn ToSql + Sync), Type); 3] =
                [(&number, Type::INT4), (name, Type::TEXT), (&texts, Type::TEXT_ARRAY)];
            for row in self.inner.query_typed(sql, &parameters).await.map_err(failed)? {
                if let Some(&key) = by_text.get(row.get::<_, &str>(0)) {
                    let rejected = RejectedRow { seq: row.get::<_, i64>(1).unsigned_abs(), code: row.get(2) };
                    rows.insert((table, key), rejected);
                }
            }
        }
        Ok(rows)
    }

    async fn supersede(&mut self, line: &Line, applied: &[AppliedRow], now_ms: i64) -> Result<(), StoreError> {
        let (number, owned) = (line.station.get().cast_signed(), owned_array(line));
        let applied = self.rejected_among(&owned, applied).await?;
        if applied.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE tidemark.rejects AS r SET state = 'superseded', resolved_at = $5
            FROM unnest($2::text[], $3::text[], $4::bigint[]) AS a (tbl, key, seq)
            WHERE r.station = ANY ($1) AND r.state = 'open' AND r.tbl = a.tbl AND r.key = a.key
                AND (r.station <> $6 OR r.seq < a.seq)";
        let tables: Vec<&str> = applied.iter().map(|row| self.schema.tables()[row.table].name.as_str()).collect();
        let keys: Vec<String> = applied.iter().map(|row| row.key.to_string()).collect();
        let seqs: Vec<i64> = applied.iter().map(|row| row.seq.cast_signed()).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&owned, Type::INT4_ARRAY),
            (&tables, Type::TEXT_ARRAY),
            (&keys, Type::TEXT_ARRAY),
            (&seqs, Type::INT8_ARRAY),
            (&StampMs(now_ms), Type::TIMESTAMPTZ),
            (&number, Type::INT4),
        ];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn open_rejects(&mut self, station: StationNumber, seqs: &[u64]) -> Result<Vec<Reject>, StoreError> {
        let sql = format!(
            "SELECT {REJECT_COLUMNS} FROM tidemark.rejects WHERE station = $1 AND seq = ANY ($2) AND state = 'open' ORDER BY seq"
        );
        let (number, seqs) = (station.get().cast_signed(), signed(seqs));
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&number, Type::INT4), (&seqs, Type::INT8_ARRAY)];
        let rows = self.inner.query_typed(&sql, &parameters).await.map_err(failed)?;
        Ok(rows.iter().filter_map(reject_of).collect())
    }

    async fn settle(&mut self, station: StationNumber, settled: &[Settled], now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark.rejects AS r
            SET state = s.state, resolved_at = CASE WHEN s.state <> 'open' THEN $7 END, code = coalesce(s.code, r.code),
                message = coalesce(s.message, r.message), parent = CASE WHEN s.code IS NULL THEN r.parent ELSE s.parent END
            FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[]) AS s (seq, state, code, message, parent)
            WHERE r.station = $1 AND r.seq = s.seq AND r.state = 'open'";
        let number = station.get().cast_signed();
        let seqs: Vec<i64> = settled.iter().map(|change| change.seq.cast_signed()).collect();
        let states: Vec<&str> = settled.iter().map(|change| change.state.as_str()).collect();
        let codes: Vec<Option<&str>> =
            settled.iter().map(|change| change.reason.as_ref().map(|(code, _)| code.as_str())).collect();
        let messages: Vec<Option<&str>> =
            settled.iter().map(|change| change.reason.as_ref().map(|(_, message)| message.as_str())).collect();
        let parents: Vec<Option<i64>> = settled.iter().map(|change| change.parent.map(u64::cast_signed)).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
            (&number, Type::INT4),
            (&seqs, Type::INT8_ARRAY),
            (&states, Type::TEXT_ARRAY),
            (&codes, Type::TEXT_ARRAY),
            (&messages, Type::TEXT_ARRAY),
            (&parents, Type::INT8_ARRAY),
            (&StampMs(now_ms), Type::TIMESTAMPTZ),
        ];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }
}

impl PostgresTransaction<'_> {
    /// Those rows that have open rejects of one of these numbers; all of them, when looking is more work than it saves.
    async fn rejected_among(&self, numbers: &[i32], rows: &[AppliedRow]) -> Result<Vec<AppliedRow>, StoreError> {
        let sql = "SELECT tbl, key FROM tidemark.rejects WHERE station = ANY ($1) AND state = 'open' LIMIT $2";
        let limit = rows.len() as i64;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&numbers, Type::INT4_ARRAY), (&limit, Type::INT8)];
        let open = self.inner.query_typed(sql, &parameters).await.map_err(failed)?;
        if open.len() == rows.len() {
            return Ok(rows.to_vec());
        }
        let mut keys: HashMap<&str, HashSet<&str>> = HashMap::new();
        for row in &open {
            if let Some(key) = row.get::<_, Option<&str>>(1) {
                keys.entry(row.get(0)).or_default().insert(key);
            }
        }
        let has_open = |row: &&AppliedRow| {
            let of_table = keys.get(self.schema.tables()[row.table].name.as_str());
            of_table.is_some_and(|keys| keys.contains(row.key.to_string().as_str()))
        };
        Ok(rows.iter().filter(has_open).copied().collect())
    }
}

impl PostgresUpstream {
    /// Rows of `tidemark.rejects AS r`, restricted by a filter.
    async fn select_rejects(&self, columns: &str, order: &str, filter: &RejectFilter) -> Result<Vec<Row>, StoreError> {
        let sql = format!("SELECT {columns} FROM tidemark.rejects AS r WHERE {FILTER} ORDER BY {order} LIMIT $7");
        let number = filter.station.map(|station| station.get().cast_signed());
        let (seqs, parents) = (filter.seqs.as_deref().map(signed), filter.children_of.as_deref().map(signed));
        let state = filter.state.map(RejectState::as_str);
        let limit = filter.limit.map(i64::from);
        let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
            (&number, Type::INT4),
            (&seqs, Type::INT8_ARRAY),
            (&parents, Type::INT8_ARRAY),
            (&filter.table, Type::TEXT),
            (&filter.code, Type::TEXT),
            (&state, Type::TEXT),
            (&limit, Type::INT8),
        ];
        self.client().await?.query_typed(&sql, &parameters).await.map_err(failed)
    }
}

#[async_trait]
impl RejectStore for PostgresUpstream {
    async fn list_rejects(&self, filter: &RejectFilter) -> Result<Vec<Reject>, StoreError> {
        let order = "received_at DESC, station DESC, seq DESC";
        Ok(self.select_rejects(REJECT_COLUMNS, order, filter).await?.iter().filter_map(reject_of).collect())
    }

    async fn reject_heads(&self, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError> {
        let columns = "station, seq, state, octet_length(image::text)::bigint";
        Ok(self.select_rejects(columns, "station, seq", filter).await?.iter().filter_map(head_of).collect())
    }

    async fn replay(&self, replay: Arc<Replay>) -> Result<ReplayOutcome, StoreError> {
        self.transact(|tx| {
            let replay = Arc::clone(&replay);
            Box::pin(async move { replay::replay(tx, &replay).await })
        })
        .await
    }

    async fn close(
        &self,
        station: StationNumber,
        seqs: &[u64],
        state: RejectState,
        now_ms: i64,
    ) -> Result<Vec<u64>, StoreError> {
        self.transact(|tx| {
            let seqs = seqs.to_vec();
            Box::pin(async move { replay::close(tx, station, &seqs, state, now_ms).await })
        })
        .await
    }
}
