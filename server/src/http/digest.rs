//! `POST /v1/digest`: questions about a station's rows in, answers out.

use std::sync::Arc;

use tidemark_core::protocol::{Problem, ProblemCode};
use tidemark_core::schema::Fingerprint;
use tidemark_core::survey::{DigestReply, DigestRequest};

use super::asked::Asked;
use super::push::number_of;
use crate::ingest::store_problem;
use crate::stations::StationRecord;
use crate::survey::Survey;

pub(super) async fn digest(mut asked: Asked<'_>, station: StationRecord) -> Result<DigestReply, Problem> {
    let endpoint = asked.endpoint;
    let number = number_of(&station)?;
    let held = asked.body().await?;
    let turn = tokio::time::timeout(endpoint.limits.turn_timeout, Arc::clone(&endpoint.surveys).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Problem::new(
            ProblemCode::Unavailable,
            "the server verifies as many stations as it can; try again soon",
        ));
    };
    let bad = |what: String| Problem::new(ProblemCode::BadRequest, format!("the question is not well formed: {what}"));
    let request: DigestRequest = serde_json::from_slice(&held.bytes).map_err(|error| bad(error.to_string()))?;
    drop(held);
    let fingerprint =
        Fingerprint::from_hex(&request.fingerprint).ok_or_else(|| bad("`fingerprint` is not 64 hex digits".into()))?;
    endpoint.ingest.accepts(fingerprint).await?;
    let schema = endpoint.ingest.schema_of(fingerprint).await?;
    request.check(&schema).map_err(bad)?;
    let upstream = Arc::clone(endpoint.ingest.upstream());
    // A task of its own, with its turn: clients that ask and hang up cannot pile up readings.
    let surveying = tokio::spawn(async move {
        let _turn = turn;
        upstream.survey(number, Survey::new(schema, request.asks)).await.map_err(store_problem)
    });
    let surveyed = surveying.await;
    let (cursor, survey) = endpoint.ingest.panics().joined("surveying rows", &number, surveyed)??;
    Ok(DigestReply { tidemark: cursor.seq, chain: cursor.chain, answers: survey.answers() })
}
