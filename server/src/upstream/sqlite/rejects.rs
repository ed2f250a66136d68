//! Rejected changes in the embedded upstream.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, named_params};
use tidemark_core::batch::Group;
use tidemark_core::ids::StationNumber;

use super::records::{REJECT_COLUMNS, reject_of};
use super::transaction::SqliteTransaction;
use super::values::at_text;
use super::{SqliteUpstream, failed};
use crate::ingest::plan::Step;
use crate::ingest::questions::Key;
use crate::ingest::replay::{self, Replay, ReplayOutcome};
use crate::lines::Line;
use crate::upstream::StoreError;
use crate::upstream::isolate::{IsolateTransaction, Isolated, one_by_one};
use crate::upstream::rejects::{
    AppliedRow, Reject, RejectFilter, RejectHead, RejectState, RejectStore, RejectTransaction, RejectedRow, Settled,
};

/// The condition of a [`RejectFilter`] on `tidemark_rejects AS r`.
const FILTER: &str = "(:station IS NULL OR r.station = :station)
    AND (:seqs IS NULL OR r.seq IN (SELECT value FROM json_each(:seqs)))
    AND (:children_of IS NULL OR EXISTS (
        SELECT 1 FROM tidemark_rejects AS p JOIN tidemark_rejects AS s ON s.station = p.station AND s.tbl = p.tbl AND s.key = p.key
        WHERE p.station = r.station AND p.seq = r.parent AND s.seq IN (SELECT value FROM json_each(:children_of))))
    AND (:tbl IS NULL OR r.tbl = :tbl) AND (:code IS NULL OR r.code = :code) AND (:state IS NULL OR r.state = :state)";

/// Numbers as a JSON array, which SQLite takes apart.
fn array(seqs: &[u64]) -> String {
    serde_json::to_string(seqs).expect("BUG: numbers serialise")
}

/// Runs a query over `tidemark_rejects AS r`, restricted by a filter.
fn select<R>(
    connection: &Connection,
    columns: &str,
    order: &str,
    filter: &RejectFilter,
    read: fn(&rusqlite::Row<'_>) -> rusqlite::Result<Option<R>>,
) -> rusqlite::Result<Vec<R>> {
    let sql = format!("SELECT {columns} FROM tidemark_rejects AS r WHERE {FILTER} ORDER BY {order} LIMIT :limit");
    let mut select = connection.prepare_cached(&sql)?;
    let parameters = named_params! {
        ":station": filter.station.map(StationNumber::get),
        ":seqs": filter.seqs.as_deref().map(array),
        ":children_of": filter.children_of.as_deref().map(array),
        ":tbl": filter.table,
        ":code": filter.code,
        ":state": filter.state.map(RejectState::as_str),
        ":limit": filter.limit.map_or(-1, i64::from),
    };
    let rows: Vec<Option<R>> = select.query_map(parameters, read)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn head_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<RejectHead>> {
    let (Ok(station), Some(state)) =
        (StationNumber::new(row.get(0)?), RejectState::from_text(&row.get::<_, String>(2)?))
    else {
        return Ok(None);
    };
    let image_bytes = row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs);
    Ok(Some(RejectHead { station, seq: row.get::<_, i64>(1)?.unsigned_abs(), state, image_bytes }))
}

impl SqliteTransaction<'_> {
    fn newest_open(&self, station: StationNumber, table: &str, key: &Key) -> rusqlite::Result<Option<RejectedRow>> {
        let mut newest = self.connection.prepare_cached(
            "SELECT seq, code FROM tidemark_rejects
             WHERE station = ?1 AND tbl = ?2 AND key = ?3 AND state = 'open' AND op <> 'delete' ORDER BY seq DESC LIMIT 1",
        )?;
        let row =
            |row: &rusqlite::Row<'_>| Ok(RejectedRow { seq: row.get::<_, i64>(0)?.unsigned_abs(), code: row.get(1)? });
        newest.query_row((station.get(), table, key.to_string()), row).optional()
    }
}

#[async_trait]
impl RejectTransaction for SqliteTransaction<'_> {
    async fn has_open_rejects(&mut self, line: &Line) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM tidemark_rejects WHERE station = ?1 AND state = 'open')";
        let mut exists = self.connection.prepare_cached(sql).map_err(failed)?;
        for number in line.owned() {
            if exists.query_row([number], |row| row.get(0)).map_err(failed)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn rejected_rows(
        &mut self,
        station: StationNumber,
        keys: &BTreeMap<usize, BTreeSet<Key>>,
    ) -> Result<HashMap<(usize, Key), RejectedRow>, StoreError> {
        let mut rows = HashMap::new();
        for (&table, keys) in keys {
            let name = &self.schema.tables()[table].name;
            for key in keys {
                let row = self.newest_open(station, name, key).map_err(failed)?;
                rows.extend(row.map(|row| ((table, *key), row)));
            }
        }
        Ok(rows)
    }

    async fn supersede(&mut self, line: &Line, applied: &[AppliedRow], now_ms: i64) -> Result<(), StoreError> {
        let mut update = self
            .connection
            .prepare_cached(
                "UPDATE tidemark_rejects SET state = 'superseded', resolved_at = ?5
                 WHERE station = ?1 AND tbl = ?2 AND key = ?3 AND seq < ?4 AND state = 'open'",
            )
            .map_err(failed)?;
        let now = at_text(now_ms);
        for row in applied {
            let (name, key) = (&self.schema.tables()[row.table].name, row.key.to_string());
            for number in line.owned() {
                let before = if number == line.station.get() { row.seq.cast_signed() } else { i64::MAX };
                update.execute((number, name, &key, before, &now)).map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn open_rejects(&mut self, station: StationNumber, seqs: &[u64]) -> Result<Vec<Reject>, StoreError> {
        let filter = RejectFilter {
            station: Some(station),
            seqs: Some(seqs.to_vec()),
            state: Some(RejectState::Open),
            ..RejectFilter::default()
        };
        select(self.connection, REJECT_COLUMNS, "seq", &filter, reject_of).map_err(failed)
    }

    async fn settle(&mut self, station: StationNumber, settled: &[Settled], now_ms: i64) -> Result<(), StoreError> {
        let mut update = self
            .connection
            .prepare_cached(
                "UPDATE tidemark_rejects SET state = ?3, resolved_at = ?4, code = coalesce(?5, code),
                     message = coalesce(?6, message), parent = CASE WHEN ?5 IS NULL THEN parent ELSE ?7 END
                 WHERE station = ?1 AND seq = ?2 AND state = 'open'",
            )
            .map_err(failed)?;
        for change in settled {
            let resolved_at = (change.state != RejectState::Open).then(|| at_text(now_ms));
            let (code, message) = change.reason.as_ref().map(|(code, message)| (code, message)).unzip();
            let parent = change.parent.map(u64::cast_signed);
            let seq = change.seq.cast_signed();
            let values = (station.get(), seq, change.state.as_str(), resolved_at, code, message, parent);
            update.execute(values).map_err(failed)?;
        }
        Ok(())
    }
}

#[async_trait]
impl IsolateTransaction for SqliteTransaction<'_> {
    async fn write_each(&mut self, line: &Line, groups: &[Group], steps: &[Step]) -> Result<Isolated, StoreError> {
        let schema = self.schema;
        one_by_one(self, schema, line, groups, steps).await
    }
}

#[async_trait]
impl RejectStore for SqliteUpstream {
    async fn list_rejects(&self, filter: &RejectFilter) -> Result<Vec<Reject>, StoreError> {
        let filter = filter.clone();
        Self::with(&self.reader, move |connection| {
            let order = "received_at DESC, station DESC, seq DESC";
            select(connection, REJECT_COLUMNS, order, &filter, reject_of).map_err(failed)
        })
        .await
    }

    async fn reject_heads(&self, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError> {
        let filter = filter.clone();
        Self::with(&self.reader, move |connection| {
            let columns = "station, seq, state, length(CAST(image AS BLOB))";
            select(connection, columns, "station, seq", &filter, head_of).map_err(failed)
        })
        .await
    }

    async fn replay(&self, replay: Arc<Replay>) -> Result<ReplayOutcome, StoreError> {
        self.transact(move |tx| Box::pin(async move { replay::replay(tx, &replay).await })).await
    }

    async fn close(
        &self,
        station: StationNumber,
        seqs: &[u64],
        state: RejectState,
        now_ms: i64,
    ) -> Result<Vec<u64>, StoreError> {
        let seqs = seqs.to_vec();
        self.transact(move |tx| Box::pin(async move { replay::close(tx, station, &seqs, state, now_ms).await })).await
    }
}
