//! Isolating what PostgreSQL refuses.

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::ids::StationNumber;

use super::transaction::PostgresTransaction;
use crate::ingest::plan::Step;
use crate::upstream::StoreError;
use crate::upstream::isolate::{IsolateTransaction, Isolated, one_by_one};

#[async_trait]
impl IsolateTransaction for PostgresTransaction<'_> {
    async fn write_each(
        &mut self,
        station: StationNumber,
        groups: &[Group],
        steps: &[Step],
    ) -> Result<Isolated, StoreError> {
        one_by_one(self, station, groups, steps).await
    }
}
