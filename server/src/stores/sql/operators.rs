//! The operators of the ledger, in SQL.

use async_trait::async_trait;

use super::value::{Ms, params};
use super::{Param, Record, Sql, first, value};
use crate::ledger::operators::{Act, ActFilter, ActedOn, NewAct, Operator, OperatorLedger};
use crate::upstream::error::StoreError;

const OPERATORS: &str = "SELECT o.name, o.created_at, o.revoked_at FROM tidemark.operator AS o";

fn operator_of(mut row: Record) -> Result<Operator, StoreError> {
    Ok(Operator {
        name: row.column()?,
        created_at_ms: row.column::<Ms>()?.0,
        revoked_at_ms: row.column::<Option<Ms>>()?.map(|at| at.0),
    })
}

fn act_of(mut row: Record) -> Result<Act, StoreError> {
    Ok(Act {
        id: row.column()?,
        at_ms: row.column::<Ms>()?.0,
        operator: row.column()?,
        act: row.column()?,
        station: row.station()?,
        detail: row.column()?,
    })
}

#[async_trait]
impl<T: Sql> OperatorLedger for T {
    async fn add_operator(&mut self, name: &str, token_hash: [u8; 32], now_ms: i64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO tidemark.operator (name, token_hash, created_at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (name) DO NOTHING";
        Ok(self.execute(sql, params![name, token_hash, Param::ms(now_ms)]).await? == 1)
    }

    async fn revoke_operator(&mut self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE tidemark.operator SET revoked_at = coalesce(revoked_at, ?2) WHERE name = ?1";
        let there = self.execute(sql, params![name, Param::ms(now_ms)]).await? == 1;
        self.execute("DELETE FROM tidemark.session WHERE operator = ?1", params![name]).await?;
        Ok(there)
    }

    async fn operators(&mut self) -> Result<Vec<Operator>, StoreError> {
        let rows = self.query(&format!("{OPERATORS} ORDER BY o.name"), Vec::new()).await?;
        rows.into_iter().map(operator_of).collect()
    }

    async fn has_operators(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM tidemark.operator WHERE revoked_at IS NULL)";
        Ok(value(self, sql, Vec::new()).await?.unwrap_or(false))
    }

    async fn operator_by_token(&mut self, token_hash: [u8; 32]) -> Result<Option<Operator>, StoreError> {
        first(self, &format!("{OPERATORS} WHERE o.token_hash = ?1"), params![token_hash], operator_of).await
    }

    async fn begin_session(
        &mut self,
        operator: &str,
        secret_hash: [u8; 32],
        now_ms: i64,
        expires_at_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM tidemark.session WHERE expires_at <= ?1";
        self.execute(sql, params![Param::ms(now_ms)]).await?;
        let sql = "INSERT INTO tidemark.session (secret_hash, operator, expires_at) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![secret_hash, operator, Param::ms(expires_at_ms)]).await?;
        Ok(())
    }

    async fn operator_by_session(
        &mut self,
        secret_hash: [u8; 32],
        now_ms: i64,
    ) -> Result<Option<Operator>, StoreError> {
        let sql = format!(
            "{OPERATORS} JOIN tidemark.session AS s ON s.operator = o.name WHERE s.secret_hash = ?1 AND s.expires_at > ?2"
        );
        first(self, &sql, params![secret_hash, Param::ms(now_ms)], operator_of).await
    }

    async fn end_session(&mut self, secret_hash: [u8; 32]) -> Result<bool, StoreError> {
        let sql = "DELETE FROM tidemark.session WHERE secret_hash = ?1";
        Ok(self.execute(sql, params![secret_hash]).await? == 1)
    }

    async fn note_act(&mut self, act: &NewAct) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.audit (at, operator, act, station, invited, detail)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (station, invited) = match &act.to {
            ActedOn::Station(number) => (Some(*number), None),
            ActedOn::Invited(name) => (None, Some(name.clone())),
            ActedOn::Else => (None, None),
        };
        let params = params![Param::ms(act.at_ms), &act.operator, act.act, station, invited, &act.detail];
        self.execute(sql, params).await?;
        Ok(())
    }

    async fn acts(&mut self, filter: &ActFilter) -> Result<Vec<Act>, StoreError> {
        let sql = "SELECT id, at, operator, act, station, detail FROM tidemark.audit
                   WHERE (?2 IS NULL OR station = ?1 OR invited = ?2) AND (?3 IS NULL OR id < ?3)
                   ORDER BY id DESC LIMIT ?4";
        let (number, name) = filter.station.clone().map(|on| (on.number, on.name)).unzip();
        let params = params![number.flatten(), name, filter.before, i64::from(filter.limit)];
        let rows = self.query(sql, params).await?;
        rows.into_iter().map(act_of).collect()
    }
}
