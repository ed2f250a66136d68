//! `GET /v1/admin/ingest`, `/database`, `/audit`: what came in over time, the database, what operators did.

use serde::Serialize;
use tidemark_core::protocol::Problem;

use super::super::asked::Asked;
use super::super::endpoint::Endpoint;
use super::words::Query;
use crate::ingest::store_problem;
use crate::ledger::fleet::Ingested;
use crate::ledger::operators::{Act, ActFilter};
use crate::upstream::size::DatabaseFacts;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// The span of the figures, in hours, unless another is asked for; and the longest.
const HOURS: u64 = 24;
const HOURS_MAX: u64 = 31 * 24;
/// About as many buckets are answered.
const BUCKETS: i64 = 144;
const ACTS: u64 = 100;
const ACTS_MAX: u64 = 500;

/// What came in.
#[derive(Serialize)]
pub(super) struct IngestReply {
    bucket_ms: i64,
    buckets: Vec<Ingested>,
}

/// The database, and its last backup.
#[derive(Serialize)]
pub(super) struct DatabaseReply {
    #[serde(flatten)]
    facts: DatabaseFacts,
    backup: Option<Backup>,
}

/// The last backup of which the database knows, and when one was last restored to check it.
#[derive(Serialize)]
struct Backup {
    last_at_ms: i64,
    file: String,
    size_bytes: u64,
    checked_at_ms: i64,
    restored_at_ms: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct AuditReply {
    acts: Vec<Act>,
    more: bool,
}

/// Every bucket of a span, also those in which nothing came.
fn buckets(minutes: &[Ingested], from_ms: i64, now_ms: i64, bucket_ms: i64) -> Vec<Ingested> {
    let count = usize::try_from((now_ms - from_ms) / bucket_ms + 1).unwrap_or(0);
    let mut buckets: Vec<Ingested> =
        (0..count as i64).map(|at| Ingested { at_ms: from_ms + at * bucket_ms, ..Ingested::default() }).collect();
    for minute in minutes {
        let at = usize::try_from((minute.at_ms - from_ms).div_euclid(bucket_ms)).ok();
        if let Some(bucket) = at.and_then(|at| buckets.get_mut(at)) {
            bucket.batches += minute.batches;
            bucket.changes += minute.changes;
            bucket.rejected += minute.rejected;
            bucket.bytes += minute.bytes;
        }
    }
    buckets
}

/// `GET /v1/admin/ingest`.
pub(super) async fn ingest(asked: &Asked<'_>, now_ms: i64) -> Result<IngestReply, Problem> {
    let mut query = Query::of(asked)?;
    let hours = query.number("hours")?.unwrap_or(HOURS).clamp(1, HOURS_MAX) as i64;
    query.end()?;
    let bucket_ms = (hours * HOUR_MS / BUCKETS).max(MINUTE_MS);
    let bucket_ms = bucket_ms - bucket_ms % MINUTE_MS;
    let from_ms = now_ms.saturating_sub(hours * HOUR_MS);
    let from_ms = from_ms - from_ms.rem_euclid(bucket_ms);
    let most = (hours as u32 + 1) * 61;
    let minutes = asked.endpoint.ingest.upstream().ledger().ingested(from_ms, most).await.map_err(store_problem)?;
    Ok(IngestReply { bucket_ms, buckets: buckets(&minutes, from_ms, now_ms, bucket_ms) })
}

/// `GET /v1/admin/database`.
pub(super) async fn database(endpoint: &Endpoint, now_ms: i64) -> Result<DatabaseReply, Problem> {
    let upstream = endpoint.ingest.upstream();
    let facts = upstream.database().await.map_err(store_problem)?;
    let last = upstream.ledger().last_backup(now_ms).await.map_err(store_problem)?;
    let restored = upstream.ledger().last_restored_backup().await.map_err(store_problem)?;
    let backup = last.map(|last| Backup {
        last_at_ms: last.at_ms,
        file: last.file,
        size_bytes: last.size_bytes,
        checked_at_ms: last.checked_at_ms,
        restored_at_ms: restored.map(|restored| restored.checked_at_ms),
    });
    Ok(DatabaseReply { facts, backup })
}

/// `GET /v1/admin/audit`.
pub(super) async fn audit(asked: &Asked<'_>) -> Result<AuditReply, Problem> {
    let mut query = Query::of(asked)?;
    let before = query.number("before")?.map(|before| before.min(i64::MAX as u64));
    let limit = query.number("limit")?.unwrap_or(ACTS).clamp(1, ACTS_MAX) as u32;
    query.end()?;
    let of = ActFilter { station: None, before, limit: limit + 1 };
    let mut acts = asked.endpoint.ingest.upstream().ledger().acts(&of).await.map_err(store_problem)?;
    let more = acts.len() > limit as usize;
    acts.truncate(limit as usize);
    Ok(AuditReply { acts, more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_is_there_and_nothing_is_counted_twice() {
        let minute = |at_ms| Ingested { at_ms, batches: 1, changes: 10, rejected: 1, bytes: 100 };
        let minutes = [minute(0), minute(60_000), minute(600_000), minute(1_800_000), minute(-60_000)];
        let buckets = buckets(&minutes, 0, 1_799_999, 600_000);
        let batches: Vec<(i64, u64)> = buckets.iter().map(|bucket| (bucket.at_ms, bucket.batches)).collect();
        assert_eq!(batches, [(0, 2), (600_000, 1), (1_200_000, 0)]);
    }
}
