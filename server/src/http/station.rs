//! `GET /v1/station`: where a station's log stands. A lost reply is repaired by asking this.

use tidemark_core::protocol::{Problem, ProblemCode, StationReply};

use super::Endpoint;
use super::push::number_of;
use crate::ingest::store_problem;
use crate::stations::StationRecord;

pub(super) async fn station(endpoint: &Endpoint, station: &StationRecord) -> Result<StationReply, Problem> {
    let ingest = &endpoint.ingest;
    let number = number_of(station)?;
    let cursor = ingest.upstream().cursor(number).await.map_err(store_problem)?;
    let cursor = cursor
        .ok_or_else(|| Problem::new(ProblemCode::Internal, format!("the server has no cursor of station {number}")))?;
    Ok(StationReply {
        station: number,
        name: station.name.clone(),
        tidemark: cursor.seq,
        chain: cursor.chain,
        limits: ingest.limits(),
        server_time_ms: ingest.clock().now_ms(),
    })
}
