//! A backup that was made, in the database itself: so a server can tell its operators when the last one was.

use std::sync::Arc;

use super::manifest::{Checked, Made};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{DatabaseUrl, ServerConfig};
use crate::ledger::fleet::BackupMade;
use crate::server::{open_upstream, schema_of_database};

/// Notes in a database that a copy of it was made, from where the fleet page, the metrics and their alert have it. One
/// that takes no writes, or is of an older version, has no note of it; the copy is as good.
pub async fn record(database: &DatabaseUrl, made: &Made) {
    if let Err(error) = try_to(database, made).await {
        tracing::warn!("the backup is good, and is not noted in {database}, so that no server knows of it: {error:#}");
    }
}

async fn try_to(database: &DatabaseUrl, made: &Made) -> anyhow::Result<()> {
    let Some(schema) = schema_of_database(database).await? else { return Ok(()) };
    let mut config = ServerConfig::new(database.clone());
    config.schema = Arc::new(schema);
    config.pool_max = 2;
    let upstream = open_upstream(&config).await?;
    let now_ms = SystemClock.now_ms();
    let backup = BackupMade {
        at_ms: now_ms,
        file: made.path.display().to_string(),
        size_bytes: made.bytes,
        checked_at_ms: now_ms,
        restored: made.checked == Checked::Restored,
    };
    Ok(upstream.ledger().note_backup(&backup).await?)
}
