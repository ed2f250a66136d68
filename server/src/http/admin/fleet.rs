//! `GET /v1/admin/fleet`: all stations, the silent ones first.

use serde::Serialize;
use tidemark_core::protocol::Problem;

use super::super::endpoint::Endpoint;
use crate::fleet::view::{self, Counts, Station};
use crate::ingest::store_problem;

/// Most stations in one answer.
const STATIONS_MAX: usize = 10_000;

/// The server and its schema.
#[derive(Serialize)]
pub(super) struct ServerFacts {
    version: &'static str,
    schema: SchemaFacts,
    started_at_ms: i64,
}

#[derive(Serialize)]
struct SchemaFacts {
    name: String,
    version: u32,
    fingerprint: String,
}

/// All stations.
#[derive(Serialize)]
pub(super) struct FleetReply {
    server: ServerFacts,
    counts: Counts,
    stations: Vec<Station>,
    /// There are more stations than an answer has.
    more: bool,
}

pub(super) async fn fleet(endpoint: &Endpoint, now_ms: i64) -> Result<FleetReply, Problem> {
    let (ingest, fleet) = (&endpoint.ingest, &endpoint.fleet);
    let stations = view::stations(ingest.upstream().as_ref(), Some(fleet), now_ms).await;
    let mut stations = stations.map_err(store_problem)?;
    let (counts, more) = (Counts::of(&stations), stations.len() > STATIONS_MAX);
    stations.truncate(STATIONS_MAX);
    let schema = ingest.schema();
    let schema = SchemaFacts {
        name: schema.name().to_owned(),
        version: schema.version(),
        fingerprint: schema.fingerprint().to_hex(),
    };
    let version = env!("CARGO_PKG_VERSION");
    let server = ServerFacts { version, schema, started_at_ms: fleet.started_at_ms() };
    Ok(FleetReply { server, counts, stations, more })
}
