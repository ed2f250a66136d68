//! The stations of the ledger, in SQL.

use async_trait::async_trait;
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;

use super::value::{Ms, params};
use super::{Param, Record, Sql, first, value};
use crate::ledger::stations::{JoinAsk, NewStation, StationBy, StationLedger, StationRecord, StationSummary};
use crate::upstream::error::StoreError;

const COLUMNS: &str =
    "s.name, s.number, s.station_uuid, s.token_hash, s.code_expires_at, s.joined_at, s.revoked_at, e.ended_at";
const STATIONS: &str = "tidemark.station AS s LEFT JOIN tidemark.ended_token AS e ON e.token_hash = s.token_hash";

fn station_of(row: &mut Record) -> Result<StationRecord, StoreError> {
    Ok(StationRecord {
        name: row.column()?,
        number: row.station()?,
        uuid: row.column()?,
        token_hash: row.column()?,
        code_expires_at_ms: row.column::<Option<Ms>>()?.map_or(0, |at| at.0),
        joined_at_ms: row.column::<Option<Ms>>()?.map(|at| at.0),
        revoked_at_ms: row.column::<Option<Ms>>()?.map(|at| at.0),
        token_ended_at_ms: row.column::<Option<Ms>>()?.map(|at| at.0),
    })
}

#[async_trait]
impl<T: Sql> StationLedger for T {
    async fn lock_stations(&mut self) -> Result<(), StoreError> {
        self.lock_table("tidemark.station").await
    }

    async fn stations(&mut self) -> Result<Vec<StationSummary>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, c.seq, c.updated_at,
                 (SELECT count(*) FROM tidemark.rejects AS r WHERE r.station = s.number AND r.state = 'open'), c.clock_offset_ms
             FROM {STATIONS} LEFT JOIN tidemark.cursor AS c ON c.station = s.number ORDER BY s.name"
        );
        let summary = |mut row: Record| {
            Ok(StationSummary {
                record: station_of(&mut row)?,
                tidemark: row.column::<Option<u64>>()?.unwrap_or(0),
                updated_at_ms: row.column::<Option<Ms>>()?.map(|at| at.0),
                rejects: row.column()?,
                clock_offset_ms: row.column()?,
            })
        };
        self.query(&sql, Vec::new()).await?.into_iter().map(summary).collect()
    }

    async fn station(&mut self, by: StationBy<'_>) -> Result<Option<StationRecord>, StoreError> {
        let (condition, param) = match by {
            StationBy::Code(hash) => ("s.code_hash = ?1", Param::from(hash)),
            StationBy::Name(name) => ("s.name = ?1", Param::from(name)),
            StationBy::Number(number) => ("s.number = ?1", Param::from(number)),
            // The station that has the token comes before one that had it.
            StationBy::Token(hash) => (
                "s.token_hash = ?1 OR s.number = (SELECT station FROM tidemark.ended_token WHERE token_hash = ?1)
                 ORDER BY CASE WHEN s.token_hash = ?1 THEN 0 ELSE 1 END",
                Param::from(hash),
            ),
            StationBy::Uuid(uuid) => ("s.station_uuid = ?1", Param::from(uuid)),
        };
        let sql = format!("SELECT {COLUMNS} FROM {STATIONS} WHERE {condition}");
        first(self, &sql, vec![param], |mut row| station_of(&mut row)).await
    }

    async fn last_number(&mut self) -> Result<u32, StoreError> {
        let sql = "SELECT coalesce(max(number), 0) FROM tidemark.station";
        Ok(value(self, sql, Vec::new()).await?.unwrap_or(0))
    }

    async fn invite(&mut self, station: &NewStation) -> Result<bool, StoreError> {
        let sql = "INSERT INTO tidemark.station (name, code_hash, code_expires_at, created_at) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (name) DO NOTHING";
        let (expires, now) = (Param::ms(station.code_expires_at_ms), Param::ms(station.now_ms));
        Ok(self.execute(sql, params![&station.name, station.code_hash, expires, now]).await? == 1)
    }

    async fn assign(
        &mut self,
        name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark.station SET number = ?2, station_uuid = ?3, token_hash = ?4, joined_at = ?5
                   WHERE name = ?1";
        self.execute(sql, params![name, number, ask.uuid, ask.token_hash, Param::ms(ask.now_ms)]).await?;
        let sql = "INSERT INTO tidemark.cursor (station, seq, chain, updated_at) VALUES (?1, 0, ?2, ?3)";
        self.execute(sql, params![number, start, Param::ms(ask.now_ms)]).await?;
        Ok(())
    }

    async fn renew_code(&mut self, code: &NewStation) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.ended_token (token_hash, station, ended_at)
                   SELECT token_hash, number, ?2 FROM tidemark.station WHERE name = ?1 AND number IS NOT NULL
                   ON CONFLICT DO NOTHING";
        self.execute(sql, params![&code.name, Param::ms(code.now_ms)]).await?;
        let sql = "UPDATE tidemark.station SET code_hash = ?2, code_expires_at = ?3, revoked_at = NULL WHERE name = ?1";
        self.execute(sql, params![&code.name, code.code_hash, Param::ms(code.code_expires_at_ms)]).await?;
        Ok(())
    }

    async fn renew_token(&mut self, name: &str, token_hash: [u8; 32]) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark.station SET token_hash = ?2 WHERE name = ?1";
        self.execute(sql, params![name, token_hash]).await?;
        Ok(())
    }

    async fn revoke(&mut self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE tidemark.station SET revoked_at = coalesce(revoked_at, ?2) WHERE name = ?1";
        Ok(self.execute(sql, params![name, Param::ms(now_ms)]).await? == 1)
    }

    async fn rename(&mut self, name: &str, to: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE tidemark.station SET name = ?2 WHERE name = ?1";
        Ok(self.execute(sql, params![name, to]).await? == 1)
    }
}
