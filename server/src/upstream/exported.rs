//! Reading all rows for an export.

use async_trait::async_trait;

use super::StoreError;
use crate::export::Export;

/// A store whose rows can be exported.
#[async_trait]
pub trait Exportable: Send + Sync {
    /// Gives the export what it asks for, all of one snapshot. Rows stream: none is kept here. Holds no lock that a push waits for.
    async fn export(&self, export: Export) -> Result<Export, StoreError>;
}
