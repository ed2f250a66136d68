//! `POST /v1/rejects`: which of a station's rejects the operator, or a later change, has settled upstream, and which
//! the station.

use std::collections::HashSet;
use std::sync::Arc;

use tidemark_core::ids::StationNumber;
use tidemark_core::limits::ASKED_REJECTS_MAX;
use tidemark_core::protocol::{Problem, ProblemCode, RejectFate, RejectsReply, RejectsRequest, SettledReject};

use super::asked::Asked;
use super::endpoint::Endpoint;
use super::memory::Holder;
use super::push::number_of;
use crate::ingest::store_problem;
use crate::ledger::rejects::{RejectFilter, RejectState};
use crate::stations::StationRecord;

pub(super) async fn rejects(mut asked: Asked<'_>, station: Arc<StationRecord>) -> Result<RejectsReply, Problem> {
    let endpoint = asked.endpoint;
    let number = number_of(&station)?;
    let held = asked.body(Holder::Station(number)).await?;
    let bad = |what: String| Problem::new(ProblemCode::BadRequest, format!("the question is not well formed: {what}"));
    let request: RejectsRequest = serde_json::from_slice(&held.bytes).map_err(|error| bad(error.to_string()))?;
    if request.open.len() > ASKED_REJECTS_MAX {
        return Err(bad(format!("it asks about {} rejects, at most {ASKED_REJECTS_MAX} go", request.open.len())));
    }
    if request.settled.len() > ASKED_REJECTS_MAX {
        return Err(bad(format!("it settles {} rejects, at most {ASKED_REJECTS_MAX} go", request.settled.len())));
    }
    settle(endpoint, number, &request.settled).await?;
    let upstream = endpoint.ingest.upstream();
    let of = RejectFilter { station: Some(number), seqs: Some(request.open.clone()), ..RejectFilter::default() };
    let heads = upstream.reject_heads(&of).await.map_err(store_problem)?;
    let kept: HashSet<u64> = heads.iter().map(|head| head.seq).collect();
    let mut forgotten: Vec<u64> = request.open.into_iter().filter(|seq| !kept.contains(seq)).collect();
    if !forgotten.is_empty() {
        let heard = upstream.heard(number).await.map_err(store_problem)?;
        forgotten.retain(|seq| *seq <= heard);
    }
    let fate = |state| match state {
        RejectState::Open => None,
        RejectState::Replayed => Some(RejectFate::Replayed),
        RejectState::Superseded => Some(RejectFate::Superseded),
        RejectState::Discarded => Some(RejectFate::Discarded),
    };
    let settled = heads.iter().filter_map(|head| Some(SettledReject { seq: head.seq, fate: fate(head.state)? }));
    Ok(RejectsReply { settled: settled.collect(), forgotten })
}

/// Closes what the station settled, of the rejects it made itself: of those no image is kept here.
async fn settle(endpoint: &Endpoint, number: StationNumber, settled: &[SettledReject]) -> Result<(), Problem> {
    if settled.is_empty() {
        return Ok(());
    }
    let upstream = endpoint.ingest.upstream();
    let of = RejectFilter {
        station: Some(number),
        seqs: Some(settled.iter().map(|settled| settled.seq).collect()),
        state: Some(RejectState::Open),
        ..RejectFilter::default()
    };
    let heads = upstream.reject_heads(&of).await.map_err(store_problem)?;
    let own: HashSet<u64> = heads.iter().filter(|head| head.image_bytes.is_none()).map(|head| head.seq).collect();
    let (given_up, superseded): (Vec<_>, Vec<_>) = settled
        .iter()
        .filter(|settled| own.contains(&settled.seq))
        .partition(|settled| settled.fate == RejectFate::Discarded);
    for (state, settled) in [(RejectState::Discarded, given_up), (RejectState::Superseded, superseded)] {
        if !settled.is_empty() {
            let seqs: Vec<u64> = settled.iter().map(|settled| settled.seq).collect();
            let now_ms = endpoint.ingest.clock().now_ms();
            upstream.close(number, &seqs, state, now_ms).await.map_err(store_problem)?;
        }
    }
    Ok(())
}
