//! The schemas of the ledger, in SQL.

use async_trait::async_trait;

use super::Sql;
use crate::ledger::schemas::{KnownSchema, SchemaLedger};
use crate::upstream::error::StoreError;

#[async_trait]
impl<T: Sql> SchemaLedger for T {
    async fn schemas(&mut self) -> Result<Vec<KnownSchema>, StoreError> {
        let rows = self.query("SELECT fingerprint, toml FROM tidemark.schema", Vec::new()).await?;
        rows.into_iter().map(|mut row| Ok(KnownSchema { fingerprint: row.column()?, toml: row.column()? })).collect()
    }
}
