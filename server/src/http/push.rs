//! `POST /v1/push`: a frame in, the tidemark out.

use std::sync::Arc;

use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode, PushReply};

use super::asked::Asked;
use super::endpoint::Endpoint;
use crate::stations::StationRecord;

/// The refusal of a batch that cannot be applied soon.
const BUSY: &str = "the server applies as many batches as it can; try again soon";

/// Refuses while a batch would wait for its turn in vain; before it is read, and before a station that asks where it
/// stands sends it.
pub(super) fn admit(endpoint: &Endpoint) -> Result<(), Problem> {
    endpoint.load.shed(&endpoint.turns, endpoint.limits.turn_timeout, BUSY)
}

pub(super) async fn push(mut asked: Asked<'_>, station: StationRecord) -> Result<PushReply, Problem> {
    let endpoint = asked.endpoint;
    let number = number_of(&station)?;
    admit(endpoint)?;
    let held = asked.body().await?;
    let clock = endpoint.ingest.clock();
    let turn = endpoint.load.turn(&endpoint.turns, endpoint.limits.turn_timeout, &|| clock.now_ms(), BUSY).await?;
    let ingest = Arc::clone(&endpoint.ingest);
    // A task of its own: a client that hangs up drops this request, and must not cut a transaction in half.
    let applying = tokio::spawn(async move {
        let _turn = turn;
        let header = ingest.open(number, &held.bytes)?;
        let schema = ingest.schema_of(header.fingerprint).await?;
        let decoding = Arc::clone(&ingest);
        let job = tokio::task::spawn_blocking(move || {
            let _share = held.share;
            decoding.decode(schema, &held.bytes)
        });
        let decoded = job.await;
        let job = ingest.panics().joined("decoding a frame", &number, decoded)??;
        ingest.apply(job).await
    });
    let applied = applying.await;
    endpoint.ingest.panics().joined("taking a frame", &number, applied)?
}

pub(super) fn number_of(station: &StationRecord) -> Result<StationNumber, Problem> {
    station.number.ok_or_else(|| Problem::new(ProblemCode::Unauthorized, "the station has not joined yet"))
}
