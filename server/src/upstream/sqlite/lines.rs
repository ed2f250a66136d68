//! Lines of stations in the embedded upstream.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row};
use tidemark_core::chain::{Chain, Print};
use tidemark_core::ids::StationNumber;

use super::records::cursor_of;
use super::transaction::SqliteTransaction;
use super::values::{at_text, ms_of};
use super::{SqliteUpstream, failed};
use crate::lines::{
    Fork, Former, History, Line, LineSummary, Parting, RejoinAsk, RejoinOutcome, ReplacementOutcome, rejoin,
};
use crate::stations::NewStation;
use crate::upstream::lines::prints_after;
use crate::upstream::{LineTransaction, Lines, StoreError};

/// The history after a seq: where it begins, and prints of contiguous changes.
fn stored(
    connection: &Connection,
    station: StationNumber,
    after: u64,
    limit: usize,
) -> rusqlite::Result<(u64, Vec<Print>)> {
    let mut select = connection.prepare_cached(
        "SELECT first_seq, prints FROM tidemark_history WHERE station = ?1 AND first_seq >= coalesce(
             (SELECT CASE WHEN first_seq + count > ?2 THEN first_seq END FROM tidemark_history
              WHERE station = ?1 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1), ?2) ORDER BY first_seq",
    )?;
    let mut rows = select.query((station.get(), after.saturating_add(1).cast_signed()))?;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while bytes / size_of::<Print>() < limit
        && let Some(row) = rows.next()?
    {
        let prints: Vec<u8> = row.get(1)?;
        bytes += prints.len();
        batches.push((row.get::<_, i64>(0)?.unsigned_abs(), prints));
    }
    Ok(prints_after(batches, after, limit))
}

fn former_of(row: &Row<'_>, number: usize, owned: usize) -> rusqlite::Result<Option<Former>> {
    let number = row.get::<_, Option<u32>>(number)?.and_then(|number| StationNumber::new(number).ok());
    let Some(number) = number else { return Ok(None) };
    Ok(Some(Former { number, owned: row.get(owned)? }))
}

fn line_of(connection: &Connection, station: StationNumber) -> rusqlite::Result<Line> {
    let mut line = Line::new(station);
    let sql = "SELECT revoked_at IS NOT NULL FROM tidemark_station WHERE number = ?1";
    line.revoked =
        connection.prepare_cached(sql)?.query_row([station.get()], |row| row.get(0)).optional()?.unwrap_or(false);
    let mut select =
        connection.prepare_cached("SELECT former, owned FROM tidemark_line WHERE station = ?1 ORDER BY distance")?;
    for former in select.query_map([station.get()], |row| former_of(row, 0, 1))? {
        line.former.extend(former?);
    }
    Ok(line)
}

fn lines_of(connection: &Connection) -> rusqlite::Result<Vec<LineSummary>> {
    let mut select = connection.prepare(
        "SELECT s.number, l.former, l.owned, f.seq, f.seen_at FROM tidemark_station s
         LEFT JOIN tidemark_line l ON l.station = s.number AND l.distance = 1
         LEFT JOIN tidemark_fork f ON f.station = s.number
         WHERE l.station IS NOT NULL OR f.station IS NOT NULL ORDER BY s.number",
    )?;
    let rows = select.query_map([], |row| {
        let Ok(station) = StationNumber::new(row.get(0)?) else { return Ok(None) };
        let fork = match row.get::<_, Option<i64>>(3)? {
            Some(seq) => Some(Fork { seq: seq.unsigned_abs(), seen_at_ms: ms_of(&row.get::<_, String>(4)?) }),
            None => None,
        };
        Ok(Some(LineSummary { station, former: former_of(row, 1, 2)?, fork }))
    })?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn descend(connection: &Connection, station: StationNumber, former: Former, parting: Parting) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO tidemark_line (station, former, distance, owned, common, next_chain) VALUES (?1, ?2, 1, ?3, ?4, ?5)
         ON CONFLICT (station, former) DO UPDATE SET common = excluded.common, next_chain = excluded.next_chain",
        (
            station.get(),
            former.number.get(),
            former.owned,
            parting.common.cast_signed(),
            parting.next.map(|chain| chain.0),
        ),
    )?;
    connection.execute(
        "INSERT INTO tidemark_line (station, former, distance, owned)
         SELECT ?1, former, distance + 1, owned AND ?3 FROM tidemark_line WHERE station = ?2 ON CONFLICT DO NOTHING",
        (station.get(), former.number.get(), former.owned),
    )?;
    Ok(())
}

#[async_trait]
impl LineTransaction for SqliteTransaction<'_> {
    async fn line(&mut self, station: StationNumber) -> Result<Line, StoreError> {
        line_of(self.connection, station).map_err(failed)
    }

    async fn keep_history(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        prints: &[Print],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO tidemark_history (station, first_seq, count, prints, applied_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut insert = self.connection.prepare_cached(sql).map_err(failed)?;
        let count = prints.len() as i64;
        let values = (station.get(), first_seq.cast_signed(), count, prints.as_flattened(), at_text(now_ms));
        insert.execute(values).map_err(failed)?;
        Ok(())
    }

    async fn print_at(&mut self, station: StationNumber, seq: u64) -> Result<Option<Print>, StoreError> {
        let Some(after) = seq.checked_sub(1) else { return Ok(None) };
        let (first_seq, prints) = stored(self.connection, station, after, 1).map_err(failed)?;
        Ok(prints.first().copied().filter(|_| first_seq == seq))
    }

    async fn note_fork(&mut self, station: StationNumber, seq: u64, now_ms: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark_fork (station, seq, seen_at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (station) DO UPDATE SET seq = excluded.seq, seen_at = excluded.seen_at";
        self.connection.execute(sql, (station.get(), seq.cast_signed(), at_text(now_ms))).map_err(failed)?;
        Ok(())
    }

    async fn successor(&mut self, station: StationNumber) -> Result<Option<StationNumber>, StoreError> {
        let sql = "SELECT station FROM tidemark_line WHERE former = ?1 AND distance = 1 AND owned = 1";
        let mut select = self.connection.prepare_cached(sql).map_err(failed)?;
        let number = select.query_row([station.get()], |row| row.get::<_, u32>(0)).optional().map_err(failed)?;
        Ok(number.and_then(|number| StationNumber::new(number).ok()))
    }

    async fn replaces(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT replaces FROM tidemark_replacement WHERE name = ?1";
        self.connection.query_row(sql, [name], |row| row.get(0)).optional().map_err(failed)
    }

    async fn continued(
        &mut self,
        former: StationNumber,
        common: u64,
        next: Chain,
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT s.name FROM tidemark_line l JOIN tidemark_station s ON s.number = l.station
                   WHERE l.former = ?1 AND l.distance = 1 AND l.common = ?2 AND l.next_chain = ?3 ORDER BY s.number LIMIT 1";
        let values = (former.get(), common.cast_signed(), next.0);
        self.connection.query_row(sql, values, |row| row.get(0)).optional().map_err(failed)
    }

    async fn descend(&mut self, station: StationNumber, former: Former, parting: Parting) -> Result<(), StoreError> {
        descend(self.connection, station, former, parting).map_err(failed)
    }

    async fn revoke(&mut self, station: StationNumber, now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark_station SET revoked_at = coalesce(revoked_at, ?2) WHERE number = ?1";
        self.connection.execute(sql, (station.get(), at_text(now_ms))).map_err(failed)?;
        Ok(())
    }
}

#[async_trait]
impl Lines for SqliteUpstream {
    async fn rejoin(&self, ask: &RejoinAsk) -> Result<RejoinOutcome, StoreError> {
        let ask = ask.clone();
        self.transact(move |tx| Box::pin(async move { rejoin(tx, &ask).await })).await
    }

    async fn add_replacement(&self, station: &NewStation, replaces: &str) -> Result<ReplacementOutcome, StoreError> {
        let (station, replaces) = (station.clone(), replaces.to_owned());
        Self::with(&self.writer, move |connection| {
            let add = || -> rusqlite::Result<ReplacementOutcome> {
                let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
                let sql = "SELECT number IS NOT NULL, EXISTS (SELECT 1 FROM tidemark_line AS l
                               WHERE l.former = number AND l.distance = 1 AND l.owned = 1)
                           FROM tidemark_station WHERE name = ?1";
                let old = tx.query_row(sql, [&replaces], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                match old {
                    Some((_, true)) => return Ok(ReplacementOutcome::Gone),
                    Some((true, false)) => {}
                    Some((false, false)) | None => return Ok(ReplacementOutcome::NoSuchStation),
                }
                if !super::add_station(&tx, &station)? {
                    return Ok(ReplacementOutcome::NameTaken);
                }
                let sql = "INSERT INTO tidemark_replacement (name, replaces) VALUES (?1, ?2)";
                tx.execute(sql, (station.name, replaces))?;
                tx.commit()?;
                Ok(ReplacementOutcome::Added)
            };
            add().map_err(failed)
        })
        .await
    }

    async fn replaced_by(&self, station: StationNumber) -> Result<Option<String>, StoreError> {
        Self::with(&self.reader, move |connection| {
            let sql = "SELECT s.name FROM tidemark_line l JOIN tidemark_station s ON s.number = l.station
                       WHERE l.former = ?1 AND l.distance = 1 AND l.owned = 1";
            connection.query_row(sql, [station.get()], |row| row.get(0)).optional().map_err(failed)
        })
        .await
    }

    async fn history(&self, station: StationNumber, after: u64, limit: usize) -> Result<Option<History>, StoreError> {
        Self::with(&self.reader, move |connection| {
            // One snapshot: a batch applied in between must not show in the prints and not in the cursor.
            let tx = connection.transaction().map_err(failed)?;
            let Some(cursor) = cursor_of(&tx, station)? else { return Ok(None) };
            let (first_seq, prints) = stored(&tx, station, after, limit).map_err(failed)?;
            Ok(Some(History { cursor, first_seq, prints }))
        })
        .await
    }

    async fn lines(&self) -> Result<Vec<LineSummary>, StoreError> {
        Self::with(&self.reader, |connection| lines_of(connection).map_err(failed)).await
    }
}
