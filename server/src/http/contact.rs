//! `POST /v1/contact`: a station says how it fares. It is shown to operators and nothing is decided by it.

use std::sync::Arc;

use tidemark_core::protocol::{ContactReply, ContactRequest, Problem, ProblemCode};

use super::asked::Asked;
use super::memory::Holder;
use super::push::number_of;
use crate::ledger::fleet::Reported;
use crate::stations::StationRecord;

pub(super) async fn contact(mut asked: Asked<'_>, station: Arc<StationRecord>) -> Result<ContactReply, Problem> {
    let number = number_of(&station)?;
    let held = asked.body(Holder::Station(number)).await?;
    let request: ContactRequest = serde_json::from_slice(&held.bytes).map_err(|error| {
        let at = format!("the report is not well formed, at line {} column {}", error.line(), error.column());
        Problem::new(ProblemCode::BadRequest, at)
    })?;
    let now_ms = asked.endpoint.ingest.clock().now_ms();
    let said = request.bounded();
    let reported = Reported {
        pending: said.pending,
        oldest_ms: said.oldest_ms,
        free_disk_bytes: said.free_disk_bytes,
        client_version: said.client_version,
        schema_version: said.schema_version,
        clock_offset_ms: said.now_ms.map(|station_ms| now_ms.saturating_sub(station_ms)),
    };
    asked.endpoint.fleet.reported(number, now_ms, reported);
    Ok(ContactReply { server_time_ms: now_ms })
}
