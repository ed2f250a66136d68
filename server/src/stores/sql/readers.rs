//! The readers of the ledger, in SQL.

use async_trait::async_trait;

use super::value::{Ms, params};
use super::{Param, Record, Sql, first};
use crate::ledger::readers::{Reader, ReaderLedger};
use crate::upstream::error::StoreError;

const READERS: &str = "SELECT name, created_at, revoked_at FROM tidemark.reader";

fn reader_of(mut row: Record) -> Result<Reader, StoreError> {
    Ok(Reader {
        name: row.column()?,
        created_at_ms: row.column::<Ms>()?.0,
        revoked_at_ms: row.column::<Option<Ms>>()?.map(|at| at.0),
    })
}

#[async_trait]
impl<T: Sql> ReaderLedger for T {
    async fn add_reader(&mut self, name: &str, token_hash: [u8; 32], now_ms: i64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO tidemark.reader (name, token_hash, created_at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (name) DO NOTHING";
        Ok(self.execute(sql, params![name, token_hash, Param::ms(now_ms)]).await? == 1)
    }

    async fn revoke_reader(&mut self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE tidemark.reader SET revoked_at = coalesce(revoked_at, ?2) WHERE name = ?1";
        Ok(self.execute(sql, params![name, Param::ms(now_ms)]).await? == 1)
    }

    async fn readers(&mut self) -> Result<Vec<Reader>, StoreError> {
        let rows = self.query(&format!("{READERS} ORDER BY name"), Vec::new()).await?;
        rows.into_iter().map(reader_of).collect()
    }

    async fn reader_by_token(&mut self, token_hash: [u8; 32]) -> Result<Option<Reader>, StoreError> {
        first(self, &format!("{READERS} WHERE token_hash = ?1"), params![token_hash], reader_of).await
    }
}
