//! `GET /v1/station`: where a station's log stands. A lost reply is repaired by asking this; and after an outage it
//! is asked before a batch is sent, so it is refused while a batch would be.

use std::sync::Arc;

use tidemark_core::protocol::{Problem, ProblemCode, StationReply};

use super::asked::Asked;
use super::push::{admit, number_of};
use crate::ingest::store_problem;
use crate::stations::StationRecord;

pub(super) async fn station(asked: Asked<'_>, station: Arc<StationRecord>) -> Result<StationReply, Problem> {
    let ingest = &asked.endpoint.ingest;
    let number = number_of(&station)?;
    admit(asked.endpoint)?;
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
