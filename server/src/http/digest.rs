//! `POST /v1/digest`: questions about a station's rows in, answers out.

use std::sync::Arc;

use tidemark_core::protocol::{Problem, ProblemCode, UnavailableReason};
use tidemark_core::schema::Fingerprint;
use tidemark_core::survey::{DigestReply, DigestRequest};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asked::Asked;
use super::memory::Holder;
use super::push::number_of;
use super::turns::Want;
use crate::ingest::store_problem;
use crate::metrics::Queue;
use crate::stations::StationRecord;
use crate::survey::{SURVEY_TIME, Survey};

/// The memory that a survey may take, in bytes: what is asked, as many rows as a reply lists, and the reply.
const SURVEY_BYTES: usize = 16 << 20;

fn busy() -> Problem {
    let detail = "the server verifies as many stations as it can; try again soon";
    Problem::unavailable(UnavailableReason::ServerBusy, detail)
}

pub(super) async fn digest(mut asked: Asked<'_>, station: Arc<StationRecord>) -> Result<DigestReply, Problem> {
    let endpoint = asked.endpoint;
    let answered_by = Instant::now() + SURVEY_TIME;
    let number = number_of(&station)?;
    if endpoint.surveys.is_late(endpoint.limits().turn_timeout) {
        return Err(busy());
    }
    let held = asked.body(Holder::Station(number)).await?;
    let bad = |what: String| Problem::new(ProblemCode::BadRequest, format!("the question is not well formed: {what}"));
    let request: DigestRequest = serde_json::from_slice(&held.bytes).map_err(|error| bad(error.to_string()))?;
    drop(held);
    let fingerprint =
        Fingerprint::from_hex(&request.fingerprint).ok_or_else(|| bad("`fingerprint` is not 64 hex digits".into()))?;
    endpoint.ingest.accepts(fingerprint).await?;
    let schema = endpoint.ingest.schema_of(fingerprint).await?;
    request.check(&schema).map_err(bad)?;
    let want = Want { station: number, cost: 0, bytes: SURVEY_BYTES, tables: Arc::default() };
    let until = Instant::now() + endpoint.limits().turn_timeout;
    let asked_at = Instant::now();
    let turn = endpoint.surveys.turn(want, until).await;
    endpoint.ingest.metrics().requests.waited(Queue::Survey, asked_at.elapsed());
    let turn = turn.map_err(|_| busy())?;
    let upstream = Arc::clone(endpoint.ingest.upstream());
    // A task of its own, for a panic to end in; it ends with this request, and gives its turn back then.
    let mut surveying = JoinSet::new();
    surveying.spawn(async move {
        let _turn = turn;
        let survey = Survey::new(schema, request.asks).until(answered_by);
        upstream.survey(number, survey).await.map_err(store_problem)
    });
    let surveyed = surveying.join_next().await.expect("BUG: it was spawned");
    let (cursor, survey) = endpoint.ingest.panics().joined("surveying rows", &number, surveyed)??;
    Ok(DigestReply { tidemark: cursor.seq, chain: cursor.chain, answers: survey.answers() })
}
