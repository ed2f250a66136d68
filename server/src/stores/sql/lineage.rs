//! The lineages of the ledger, in SQL.

use async_trait::async_trait;
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;

use super::value::{Ms, params};
use super::{Param, Record, Sql, first, value};
use crate::ledger::lineage::{Fork, Former, Lineage, LineageLedger, LineageSummary, Parting};
use crate::upstream::error::StoreError;

fn former_of(row: &mut Record) -> Result<Option<Former>, StoreError> {
    let (number, owned) = (row.station()?, row.column::<Option<bool>>()?);
    Ok(number.map(|number| Former { number, owned: owned.unwrap_or(false) }))
}

/// One station's summary; `None` of a row whose number is none.
fn summary_of(mut row: Record) -> Result<Option<LineageSummary>, StoreError> {
    let (station, former) = (row.station()?, former_of(&mut row)?);
    let (seq, seen_at) = (row.column::<Option<u64>>()?, row.column::<Option<Ms>>()?);
    let fork = seq.zip(seen_at).map(|(seq, Ms(seen_at_ms))| Fork { seq, seen_at_ms });
    Ok(station.map(|station| LineageSummary { station, former, fork }))
}

/// The lineage of the station ?1, and behind its columns `$more`.
macro_rules! lineage_sql {
    ($more:literal) => {
        concat!(
            "SELECT s.revoked_at IS NOT NULL, l.former, l.owned",
            $more,
            " FROM tidemark.station AS s LEFT JOIN tidemark.line AS l ON l.station = s.number
            WHERE s.number = ?1 ORDER BY l.distance"
        )
    };
}
pub(super) use lineage_sql;

/// The lineage of a station that the rows of [`lineage_sql`] tell.
pub(super) fn lineage_of(station: StationNumber, rows: &mut [Record]) -> Result<Lineage, StoreError> {
    let mut lineage = Lineage::new(station);
    for row in rows {
        lineage.revoked = row.column()?;
        lineage.former.extend(former_of(row)?);
    }
    Ok(lineage)
}

#[async_trait]
impl<T: Sql> LineageLedger for T {
    async fn lineage(&mut self, station: StationNumber) -> Result<Lineage, StoreError> {
        lineage_of(station, &mut self.query(lineage_sql!(""), params![station]).await?)
    }

    async fn lineages(&mut self) -> Result<Vec<LineageSummary>, StoreError> {
        let sql = "SELECT s.number, l.former, l.owned, f.seq, f.seen_at FROM tidemark.station AS s
                   LEFT JOIN tidemark.line AS l ON l.station = s.number AND l.distance = 1
                   LEFT JOIN tidemark.fork AS f ON f.station = s.number
                   WHERE l.station IS NOT NULL OR f.station IS NOT NULL ORDER BY s.number";
        self.query(sql, Vec::new()).await?.into_iter().filter_map(|row| summary_of(row).transpose()).collect()
    }

    async fn note_fork(&mut self, station: StationNumber, seq: u64, now_ms: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.fork (station, seq, seen_at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (station) DO UPDATE SET seq = EXCLUDED.seq, seen_at = EXCLUDED.seen_at";
        self.execute(sql, params![station, seq, Param::ms(now_ms)]).await?;
        Ok(())
    }

    async fn successor(&mut self, station: StationNumber) -> Result<Option<StationNumber>, StoreError> {
        let sql = "SELECT station FROM tidemark.line WHERE former = ?1 AND distance = 1 AND owned";
        Ok(first(self, sql, params![station], |mut row| row.station()).await?.flatten())
    }

    async fn replaces(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        value(self, "SELECT replaces FROM tidemark.replacement WHERE name = ?1", params![name]).await
    }

    async fn set_replaces(&mut self, name: &str, replaces: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.replacement (name, replaces) VALUES (?1, ?2)";
        self.execute(sql, params![name, replaces]).await?;
        Ok(())
    }

    async fn continued(
        &mut self,
        former: StationNumber,
        common: u64,
        next: Chain,
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT s.name FROM tidemark.line AS l JOIN tidemark.station AS s ON s.number = l.station
                   WHERE l.former = ?1 AND l.distance = 1 AND l.common = ?2 AND l.next_chain = ?3
                   ORDER BY s.number LIMIT 1";
        value(self, sql, params![former, common, next]).await
    }

    async fn descend(&mut self, station: StationNumber, former: Former, parting: Parting) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.line (station, former, distance, owned, common, next_chain)
                   VALUES (?1, ?2, 1, ?3, ?4, ?5)
                   ON CONFLICT (station, former) DO UPDATE SET common = EXCLUDED.common, next_chain = EXCLUDED.next_chain";
        let owned = former.owned;
        self.execute(sql, params![station, former.number, owned, parting.common, parting.next]).await?;
        let sql = "INSERT INTO tidemark.line (station, former, distance, owned)
                   SELECT ?1, former, distance + 1, owned AND ?3 FROM tidemark.line WHERE station = ?2
                   ON CONFLICT DO NOTHING";
        self.execute(sql, params![station, former.number, owned]).await?;
        Ok(())
    }
}
