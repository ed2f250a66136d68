//! Lines of stations on PostgreSQL.

use async_trait::async_trait;
use tidemark_core::chain::{Chain, Print};
use tidemark_core::ids::StationNumber;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Row};

use super::transaction::{PostgresTransaction, StampMs, cursor_of};
use super::{PostgresUpstream, failed};
use crate::lines::{
    Fork, Former, History, Line, LineSummary, Parting, RejoinAsk, RejoinOutcome, ReplacementOutcome, rejoin,
};
use crate::stations::NewStation;
use crate::upstream::lines::prints_after;
use crate::upstream::{LineTransaction, Lines, StoreError};

/// Batches read for one page: each has at least one print, most have thousands.
const BATCHES_PER_PAGE: i64 = 4096;

fn former_of(row: &Row, number: usize, owned: usize) -> Option<Former> {
    let number = row.get::<_, Option<i32>>(number)?;
    let number = StationNumber::new(number.cast_unsigned()).ok()?;
    Some(Former { number, owned: row.get(owned) })
}

/// The history after a seq: where it begins, and prints of contiguous changes.
async fn stored(
    client: &impl GenericClient,
    station: StationNumber,
    after: u64,
    limit: usize,
) -> Result<(u64, Vec<Print>), StoreError> {
    // The running sum keeps a page of large batches from being read whole.
    let sql = "SELECT first_seq, prints FROM (
            SELECT first_seq, prints, sum(count) OVER (ORDER BY first_seq) - count AS before FROM (
                SELECT first_seq, count, prints FROM tidemark.history WHERE station = $1 AND first_seq >= coalesce(
                    (SELECT CASE WHEN first_seq + count > $2 THEN first_seq END FROM tidemark.history
                     WHERE station = $1 AND first_seq <= $2 ORDER BY first_seq DESC LIMIT 1), $2)
                ORDER BY first_seq LIMIT $3) AS batch) AS page
        WHERE before < $4 ORDER BY first_seq";
    let number = station.get().cast_signed();
    let next = after.saturating_add(1).cast_signed();
    let changes = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: [(&(dyn ToSql + Sync), Type); 4] =
        [(&number, Type::INT4), (&next, Type::INT8), (&BATCHES_PER_PAGE, Type::INT8), (&changes, Type::INT8)];
    let rows = client.query_typed(sql, &parameters).await.map_err(failed)?;
    let batches = rows.iter().map(|row| (row.get::<_, i64>(0).unsigned_abs(), row.get::<_, Vec<u8>>(1)));
    Ok(prints_after(batches, after, limit))
}

#[async_trait]
impl LineTransaction for PostgresTransaction<'_> {
    async fn line(&mut self, station: StationNumber) -> Result<Line, StoreError> {
        let sql = "SELECT s.revoked_at IS NOT NULL, l.former, l.owned FROM tidemark.station s
                   LEFT JOIN tidemark.line l ON l.station = s.number WHERE s.number = $1 ORDER BY l.distance";
        let number = station.get().cast_signed();
        let rows = self.inner.query_typed(sql, &[(&number, Type::INT4)]).await.map_err(failed)?;
        let revoked = rows.first().is_some_and(|row| row.get(0));
        Ok(Line { station, former: rows.iter().filter_map(|row| former_of(row, 1, 2)).collect(), revoked })
    }

    async fn keep_history(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        prints: &[Print],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO tidemark.history (station, first_seq, count, prints, applied_at) VALUES ($1, $2, $3, $4, $5)";
        let (number, first) = (station.get().cast_signed(), first_seq.cast_signed());
        let count = i32::try_from(prints.len()).unwrap_or(i32::MAX);
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&number, Type::INT4),
            (&first, Type::INT8),
            (&count, Type::INT4),
            (&prints.as_flattened(), Type::BYTEA),
            (&StampMs(now_ms), Type::TIMESTAMPTZ),
        ];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn print_at(&mut self, station: StationNumber, seq: u64) -> Result<Option<Print>, StoreError> {
        let Some(after) = seq.checked_sub(1) else { return Ok(None) };
        let (first_seq, prints) = stored(self.inner, station, after, 1).await?;
        Ok(prints.first().copied().filter(|_| first_seq == seq))
    }

    async fn note_fork(&mut self, station: StationNumber, seq: u64, now_ms: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.fork (station, seq, seen_at) VALUES ($1, $2, $3)
                   ON CONFLICT (station) DO UPDATE SET seq = EXCLUDED.seq, seen_at = EXCLUDED.seen_at";
        let (number, seq) = (station.get().cast_signed(), seq.cast_signed());
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&number, Type::INT4), (&seq, Type::INT8), (&StampMs(now_ms), Type::TIMESTAMPTZ)];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn successor(&mut self, station: StationNumber) -> Result<Option<StationNumber>, StoreError> {
        let sql = "SELECT station FROM tidemark.line WHERE former = $1 AND distance = 1 AND owned";
        let number = station.get().cast_signed();
        let row = self.inner.query_typed_opt(sql, &[(&number, Type::INT4)]).await.map_err(failed)?;
        Ok(row.and_then(|row| StationNumber::new(row.get::<_, i32>(0).cast_unsigned()).ok()))
    }

    async fn replaces(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT replaces FROM tidemark.replacement WHERE name = $1";
        let row = self.inner.query_typed_opt(sql, &[(&name, Type::TEXT)]).await.map_err(failed)?;
        Ok(row.map(|row| row.get(0)))
    }

    async fn continued(
        &mut self,
        former: StationNumber,
        common: u64,
        next: Chain,
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT s.name FROM tidemark.line l JOIN tidemark.station s ON s.number = l.station
                   WHERE l.former = $1 AND l.distance = 1 AND l.common = $2 AND l.next_chain = $3 ORDER BY s.number LIMIT 1";
        let (number, common) = (former.get().cast_signed(), common.cast_signed());
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&number, Type::INT4), (&common, Type::INT8), (&next.0.as_slice(), Type::BYTEA)];
        let row = self.inner.query_typed_opt(sql, &parameters).await.map_err(failed)?;
        Ok(row.map(|row| row.get(0)))
    }

    async fn descend(&mut self, station: StationNumber, former: Former, parting: Parting) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO tidemark.line (station, former, distance, owned, common, next_chain) VALUES ($1, $2, 1, $3, $4, $5)
             ON CONFLICT (station, former) DO UPDATE SET common = EXCLUDED.common, next_chain = EXCLUDED.next_chain";
        let (number, old) = (station.get().cast_signed(), former.number.get().cast_signed());
        let common = parting.common.cast_signed();
        let next = parting.next.map(|chain| chain.0.to_vec());
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&number, Type::INT4),
            (&old, Type::INT4),
            (&former.owned, Type::BOOL),
            (&common, Type::INT8),
            (&next, Type::BYTEA),
        ];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        let sql = "INSERT INTO tidemark.line (station, former, distance, owned)
                   SELECT $1, former, distance + 1, owned AND $3 FROM tidemark.line WHERE station = $2 ON CONFLICT DO NOTHING";
        self.inner.execute_typed(sql, &parameters[..3]).await.map_err(failed)?;
        Ok(())
    }

    async fn revoke(&mut self, station: StationNumber, now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark.station SET revoked_at = coalesce(revoked_at, $2) WHERE number = $1";
        let number = station.get().cast_signed();
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&number, Type::INT4), (&StampMs(now_ms), Type::TIMESTAMPTZ)];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl Lines for PostgresUpstream {
    async fn rejoin(&self, ask: &RejoinAsk) -> Result<RejoinOutcome, StoreError> {
        self.transact(|tx| {
            let ask = ask.clone();
            Box::pin(async move { rejoin(tx, &ask).await })
        })
        .await
    }

    async fn add_replacement(&self, station: &NewStation, replaces: &str) -> Result<ReplacementOutcome, StoreError> {
        let mut client = self.client().await?;
        let tx = client.transaction().await.map_err(failed)?;
        let sql = "SELECT number IS NOT NULL, EXISTS (SELECT FROM tidemark.line AS l
                       WHERE l.former = number AND l.distance = 1 AND l.owned)
                   FROM tidemark.station WHERE name = $1 FOR UPDATE";
        let old = tx.query_typed_opt(sql, &[(&replaces, Type::TEXT)]).await.map_err(failed)?;
        match old.map(|row| (row.get(0), row.get(1))) {
            Some((_, true)) => return Ok(ReplacementOutcome::Gone),
            Some((true, false)) => {}
            Some((false, false)) | None => return Ok(ReplacementOutcome::NoSuchStation),
        }
        if !super::add_station(&*tx, station).await? {
            return Ok(ReplacementOutcome::NameTaken);
        }
        let sql = "INSERT INTO tidemark.replacement (name, replaces) VALUES ($1, $2)";
        tx.execute_typed(sql, &[(&station.name, Type::TEXT), (&replaces, Type::TEXT)]).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(ReplacementOutcome::Added)
    }

    async fn replaced_by(&self, station: StationNumber) -> Result<Option<String>, StoreError> {
        let sql = "SELECT s.name FROM tidemark.line l JOIN tidemark.station s ON s.number = l.station
                   WHERE l.former = $1 AND l.distance = 1 AND l.owned";
        let client = self.client().await?;
        let number = station.get().cast_signed();
        let row = client.query_typed_opt(sql, &[(&number, Type::INT4)]).await.map_err(failed)?;
        Ok(row.map(|row| row.get(0)))
    }

    async fn history(&self, station: StationNumber, after: u64, limit: usize) -> Result<Option<History>, StoreError> {
        let mut client = self.client().await?;
        // One snapshot: a batch applied in between must not show in the prints and not in the cursor.
        let tx = client.build_transaction().read_only(true);
        let tx = tx.isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start().await.map_err(failed)?;
        let number = station.get().cast_signed();
        let sql = "SELECT seq, chain FROM tidemark.cursor WHERE station = $1";
        let cursor = tx.query_typed_opt(sql, &[(&number, Type::INT4)]).await.map_err(failed)?;
        let Some(cursor) = cursor.as_ref().map(cursor_of).transpose()? else { return Ok(None) };
        let (first_seq, prints) = stored(&*tx, station, after, limit).await?;
        tx.commit().await.map_err(failed)?;
        Ok(Some(History { cursor, first_seq, prints }))
    }

    async fn lines(&self) -> Result<Vec<LineSummary>, StoreError> {
        let sql = "SELECT s.number, l.former, l.owned, f.seq, f.seen_at FROM tidemark.station s
                   LEFT JOIN tidemark.line l ON l.station = s.number AND l.distance = 1
                   LEFT JOIN tidemark.fork f ON f.station = s.number
                   WHERE l.station IS NOT NULL OR f.station IS NOT NULL ORDER BY s.number";
        let client = self.client().await?;
        let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
        let summary = |row: &Row| {
            let station = StationNumber::new(row.get::<_, i32>(0).cast_unsigned()).ok()?;
            let fork = row
                .get::<_, Option<i64>>(3)
                .map(|seq| Fork { seq: seq.unsigned_abs(), seen_at_ms: row.get::<_, StampMs>(4).0 });
            Some(LineSummary { station, former: former_of(row, 1, 2), fork })
        };
        Ok(rows.iter().filter_map(summary).collect())
    }
}
