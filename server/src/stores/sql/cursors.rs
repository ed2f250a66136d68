//! The cursors and histories of the ledger, in SQL.

use async_trait::async_trait;
use tidemark_core::chain::Print;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use super::value::params;
use super::{Param, Record, Sql, first, value};
use crate::ledger::cursors::{Advance, CursorLedger, History, Thinned, Thinning, prints_after};
use crate::upstream::error::StoreError;

/// The cursor of the station ?1, locked.
pub(super) const LOCK: &str = "SELECT seq, chain FROM tidemark.cursor WHERE station = ?1 {locked}";
/// Its table.
pub(super) const TABLE: &str = "tidemark.cursor";

/// Batches read for one page of a history: each has at least one print, most have thousands.
const BATCHES_PER_PAGE: i64 = 4096;

/// A page of a history, and the cursor, of one snapshot. ?1 the station, ?2 the first seq wanted, ?3 most batches, ?4
/// most prints: the running sum keeps a page of large batches from being read whole, and the prints are fetched last.
const PAGE: &str = "SELECT c.seq, c.chain, h.first_seq, h.prints FROM tidemark.cursor AS c LEFT JOIN (
        SELECT first_seq, sum(count) OVER (ORDER BY first_seq) - count AS before FROM (
            SELECT first_seq, count FROM tidemark.history WHERE station = ?1 AND first_seq >= coalesce(
                (SELECT CASE WHEN first_seq + count > ?2 THEN first_seq END FROM tidemark.history
                 WHERE station = ?1 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1), ?2)
            ORDER BY first_seq LIMIT ?3) AS batch) AS page ON page.before < ?4
    LEFT JOIN tidemark.history AS h ON h.station = c.station AND h.first_seq = page.first_seq
    WHERE c.station = ?1 ORDER BY page.first_seq";

/// ?1 the station, ?2 settled before, ?3 at most. Rows that another server takes away just now are passed over.
/// Materialised: a subquery with LIMIT and SKIP LOCKED may be run again and again, each time for other rows.
const THIN_REJECTS: &str = "WITH old AS MATERIALIZED (
    SELECT r.seq FROM tidemark.rejects AS r
    WHERE r.station = ?1 AND r.state <> 'open' AND r.resolved_at < ?2
        AND r.seq <= (SELECT heard FROM tidemark.cursor WHERE station = ?1)
        AND NOT EXISTS (SELECT 1 FROM tidemark.rejects AS child
                        WHERE child.station = ?1 AND child.parent = r.seq AND child.state = 'open')
    LIMIT ?3 {locked r, others passed over})
    DELETE FROM tidemark.rejects WHERE station = ?1 AND seq IN (SELECT seq FROM old)";
/// The same, and ?4: how many of the newest changes keep their prints.
const THIN_HISTORY: &str = "WITH first AS MATERIALIZED (
    SELECT first_seq FROM tidemark.history WHERE station = ?1 ORDER BY first_seq LIMIT ?3)
    DELETE FROM tidemark.history WHERE station = ?1 AND first_seq IN (SELECT first_seq FROM first)
    AND applied_at < ?2 AND first_seq + count - 1 <= (SELECT seq FROM tidemark.cursor WHERE station = ?1) - ?4";

pub(super) fn cursor_of(row: &mut Record) -> Result<Cursor, StoreError> {
    Ok(Cursor { seq: row.column()?, chain: row.column()? })
}

#[async_trait]
impl<T: Sql> CursorLedger for T {
    async fn cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        let sql = "SELECT seq, chain FROM tidemark.cursor WHERE station = ?1";
        first(self, sql, params![station], |mut row| cursor_of(&mut row)).await
    }

    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        let locked = first(self, LOCK, params![station], |mut row| cursor_of(&mut row)).await;
        locked.map_err(|error| error.of_table(TABLE))
    }

    async fn advance(&mut self, advance: &Advance) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark.cursor SET seq = ?2, chain = ?3, updated_at = ?4, clock_offset_ms = ?5,
                       heard = CASE WHEN began < ?6 AND heard < began THEN began ELSE heard END, began = ?6
                   WHERE station = ?1";
        let Advance { station, cursor, began, now_ms, clock_offset_ms } = *advance;
        let now = Param::ms(now_ms);
        self.send(sql, params![station, cursor.seq, cursor.chain, now, clock_offset_ms, began]).await
    }

    async fn heard(&mut self, station: StationNumber) -> Result<u64, StoreError> {
        let sql = "SELECT heard FROM tidemark.cursor WHERE station = ?1";
        Ok(value(self, sql, params![station]).await?.unwrap_or(0))
    }

    async fn keep_history(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        prints: &[Print],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.history (station, first_seq, count, prints, applied_at)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let count = Param::Number(Some(u32::try_from(prints.len()).unwrap_or(u32::MAX)));
        let params = params![station, first_seq, count, prints.as_flattened(), Param::ms(now_ms)];
        self.send(sql, params).await
    }

    async fn history(
        &mut self,
        station: StationNumber,
        after: u64,
        limit: usize,
    ) -> Result<Option<History>, StoreError> {
        let limit_prints = i64::try_from(limit).unwrap_or(i64::MAX);
        let params = params![station, after.saturating_add(1), BATCHES_PER_PAGE, limit_prints];
        let mut found = None;
        let mut batches = Vec::new();
        for mut row in self.query(PAGE, params).await? {
            found = Some(cursor_of(&mut row)?);
            batches.extend(row.column::<Option<u64>>()?.zip(row.column::<Option<Vec<u8>>>()?));
        }
        let Some(cursor) = found else { return Ok(None) };
        let (first_seq, prints) = prints_after(batches, after, limit);
        Ok(Some(History { cursor, first_seq, prints }))
    }

    async fn thin(&mut self, thinning: &Thinning) -> Result<Thinned, StoreError> {
        let Thinning { station, before_ms, prints_kept, rows_max } = *thinning;
        let mut params = params![station, Param::ms(before_ms), i64::from(rows_max)];
        let rejects = self.execute(THIN_REJECTS, params.clone()).await?;
        params.push(Param::from(prints_kept));
        let batches = self.execute(THIN_HISTORY, params).await?;
        Ok(Thinned { rejects, batches })
    }
}
