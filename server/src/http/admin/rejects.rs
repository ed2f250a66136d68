//! `/v1/admin/rejects…`: what was rejected, applied again and given up. A reject's id is its station's number and its
//! seq, `3-17`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode};
use tokio::sync::OwnedSemaphorePermit;

use super::super::asked::Asked;
use super::super::endpoint::Endpoint;
use super::super::operators::to_its_end;
use super::words::{Query, bad, body};
use crate::ingest::replay::replay_all;
use crate::ingest::{Ingest, store_problem};
use crate::ledger::rejects::{Reject, RejectFilter, RejectHead, RejectState};
use crate::ledger::stations::StationBy;
use crate::upstream::Upstream;

/// Rejects in one answer, unless fewer are asked for.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 500;
/// Largest image that is shown, in bytes.
const IMAGE_BYTES_MAX: u64 = 1 << 20;
/// Most rejects that one request settles.
const IDS_MAX: usize = 500;
/// Longest reason that is kept, in characters.
const REASON_MAX: usize = 500;

/// A reject.
#[derive(Serialize)]
pub(super) struct Listed {
    id: String,
    station: StationNumber,
    station_name: Option<String>,
    seq: u64,
    table: String,
    op: String,
    code: String,
    message: String,
    /// When it was captured, by the station's clock.
    at_ms: i64,
    /// When the server got it.
    received_at_ms: i64,
    state: &'static str,
    resolved_at_ms: Option<i64>,
    key: Option<String>,
    parent: Option<u64>,
    /// `server` or `station`: where it was rejected.
    origin: String,
}

#[derive(Serialize)]
pub(super) struct ListReply {
    rejects: Vec<Listed>,
    more: bool,
}

#[derive(Serialize)]
pub(super) struct ShowReply {
    #[serde(flatten)]
    reject: Listed,
    image: Option<Json>,
    /// How many bytes the image has; one that is too large is not shown.
    image_bytes: Option<u64>,
}

/// What became of one reject.
#[derive(Serialize)]
pub(super) struct Settled {
    id: String,
    /// `replayed`, `superseded`, `discarded`, `open`; `settled`: it was not open any more; `unknown`.
    outcome: &'static str,
    code: Option<String>,
    message: Option<String>,
}

#[derive(Serialize)]
pub(super) struct SettledReply {
    results: Vec<Settled>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settle {
    ids: Vec<String>,
    #[serde(default)]
    reason: Option<String>,
    /// Takes any time, also one that the server's clock calls wrong.
    #[serde(default)]
    ignore_clock: bool,
}

fn id_of(station: StationNumber, seq: u64) -> String {
    format!("{station}-{seq}")
}

fn parse_id(id: &str) -> Option<(StationNumber, u64)> {
    let (station, seq) = id.split_once('-')?;
    Some((StationNumber::new(station.parse().ok()?).ok()?, seq.parse().ok()?))
}

fn view(reject: Reject, names: &HashMap<StationNumber, Option<String>>) -> Listed {
    Listed {
        id: id_of(reject.station, reject.seq),
        station: reject.station,
        station_name: names.get(&reject.station).cloned().flatten(),
        seq: reject.seq,
        table: reject.table,
        op: reject.op,
        code: reject.code,
        message: reject.message,
        at_ms: reject.at_ms,
        received_at_ms: reject.received_at_ms,
        state: reject.state.as_str(),
        resolved_at_ms: reject.resolved_at_ms,
        key: reject.key,
        parent: reject.parent,
        origin: reject.origin,
    }
}

/// The rejects of a filter, without images, with the names of their stations.
pub(super) async fn listed(endpoint: &Endpoint, filter: RejectFilter) -> Result<Vec<Listed>, Problem> {
    let upstream = endpoint.ingest.upstream();
    let filter = RejectFilter { without_images: true, ..filter };
    let rejects = upstream.list_rejects(&filter).await.map_err(store_problem)?;
    let mut names = HashMap::new();
    for reject in &rejects {
        if let Entry::Vacant(vacant) = names.entry(reject.station) {
            let record = upstream.ledger().station(StationBy::Number(reject.station)).await.map_err(store_problem)?;
            vacant.insert(record.map(|record| record.name));
        }
    }
    Ok(rejects.into_iter().map(|reject| view(reject, &names)).collect())
}

/// `GET /v1/admin/rejects`.
pub(super) async fn list(asked: &Asked<'_>) -> Result<ListReply, Problem> {
    let mut query = Query::of(asked)?;
    let station = query.number("station")?.map(|number| {
        let number = u32::try_from(number).ok().and_then(|number| StationNumber::new(number).ok());
        number.ok_or_else(|| bad("station is the number of none"))
    });
    let state = match query.take("state").as_deref() {
        Some("all") => None,
        None => Some(RejectState::Open),
        Some(word) => Some(RejectState::from_text(word).ok_or_else(|| bad("there is no such state"))?),
    };
    let before = query.take("before").map(|id| parse_id(&id).ok_or_else(|| bad("before is no id of a reject")));
    let limit = query.number("limit")?.unwrap_or(LIMIT).clamp(1, LIMIT_MAX) as u32;
    let filter = RejectFilter {
        station: station.transpose()?,
        code: query.take("code"),
        table: query.take("table"),
        state,
        before: before.transpose()?,
        limit: Some(limit + 1),
        ..RejectFilter::default()
    };
    query.end()?;
    let mut rejects = listed(asked.endpoint, filter).await?;
    let more = rejects.len() > limit as usize;
    rejects.truncate(limit as usize);
    Ok(ListReply { rejects, more })
}

/// `GET /v1/admin/rejects/ID`.
pub(super) async fn show(endpoint: &Endpoint, id: &str) -> Result<ShowReply, Problem> {
    let none = || Problem::new(ProblemCode::NotFound, "there is no such reject");
    let (station, seq) = parse_id(id).ok_or_else(none)?;
    let upstream = endpoint.ingest.upstream();
    let one = RejectFilter { station: Some(station), seqs: Some(vec![seq]), ..RejectFilter::default() };
    let head = upstream.reject_heads(&one).await.map_err(store_problem)?.pop().ok_or_else(none)?;
    let image = match head.image_bytes {
        Some(bytes) if bytes <= IMAGE_BYTES_MAX => {
            let reject = upstream.list_rejects(&one).await.map_err(store_problem)?.pop();
            reject.and_then(|reject| reject.image).and_then(|image| serde_json::from_str(&image).ok())
        }
        _ => None,
    };
    let reject = listed(endpoint, one).await?.pop().ok_or_else(none)?;
    Ok(ShowReply { reject, image, image_bytes: head.image_bytes })
}

/// The rejects that a request names: for each station its seqs, and every id in its order.
type Chosen = (Vec<(String, Option<(StationNumber, u64)>)>, BTreeMap<StationNumber, Vec<u64>>);

fn chosen(ids: Vec<String>) -> Result<Chosen, Problem> {
    if ids.is_empty() || ids.len() > IDS_MAX {
        return Err(bad(format_args!("it names {} rejects; 1 to {IDS_MAX} go at once", ids.len())));
    }
    let mut by_station: BTreeMap<StationNumber, Vec<u64>> = BTreeMap::new();
    let ids: Vec<_> = ids.into_iter().map(|id| (parse_id(&id), id)).map(|(parsed, id)| (id, parsed)).collect();
    for (station, seq) in ids.iter().filter_map(|(_, parsed)| *parsed) {
        by_station.entry(station).or_default().push(seq);
    }
    Ok((ids, by_station))
}

/// The states of rejects, by id.
type States = HashMap<(StationNumber, u64), RejectState>;

async fn states(upstream: &dyn Upstream, by_station: &BTreeMap<StationNumber, Vec<u64>>) -> Result<States, Problem> {
    let mut states = HashMap::new();
    for (&station, seqs) in by_station {
        let of = RejectFilter { station: Some(station), seqs: Some(seqs.clone()), ..RejectFilter::default() };
        let heads = upstream.reject_heads(&of).await.map_err(store_problem)?;
        states.extend(heads.into_iter().map(|head: RejectHead| ((head.station, head.seq), head.state)));
    }
    Ok(states)
}

/// The word for a reject whose state was one and is another.
const fn outcome(before: Option<RejectState>, after: Option<RejectState>) -> &'static str {
    match (before, after) {
        (None, _) => "unknown",
        (Some(RejectState::Open), Some(after)) => after.as_str(),
        _ => "settled",
    }
}

/// Why rejects are still open: code and message, by id.
type Reasons = HashMap<(StationNumber, u64), (String, String)>;

/// What became of the rejects that a request names, in its order.
fn results(
    ids: Vec<(String, Option<(StationNumber, u64)>)>,
    (before, after): (&States, &States),
    mut reasons: Reasons,
) -> SettledReply {
    let result = |(id, parsed): (String, Option<(StationNumber, u64)>)| {
        let of = |states: &States| parsed.and_then(|parsed| states.get(&parsed).copied());
        let (code, message) = parsed.and_then(|parsed| reasons.remove(&parsed)).unzip();
        Settled { id, outcome: outcome(of(before), of(after)), code, message }
    };
    SettledReply { results: ids.into_iter().map(result).collect() }
}

/// Settles the rejects of a request to the end, and tells what became of each. `act` says why some are still open.
async fn settled<F>(
    asked: &Asked<'_>,
    turn: OwnedSemaphorePermit,
    ids: Vec<String>,
    act: impl FnOnce(Arc<Ingest>, BTreeMap<StationNumber, Vec<u64>>) -> F + Send + 'static,
) -> Result<SettledReply, Problem>
where
    F: Future<Output = Result<Reasons, Problem>> + Send + 'static,
{
    let (ids, by_station) = chosen(ids)?;
    let ingest = Arc::clone(&asked.endpoint.ingest);
    let acting = async move {
        let upstream = Arc::clone(ingest.upstream());
        let before = states(upstream.as_ref(), &by_station).await?;
        let reasons = act(ingest, by_station.clone()).await?;
        let after = states(upstream.as_ref(), &by_station).await?;
        Ok(results(ids, (&before, &after), reasons))
    };
    to_its_end(&asked.endpoint.ingest, turn, acting).await
}

/// `POST /v1/admin/rejects/replay`.
pub(super) async fn replay(
    asked: &mut Asked<'_>,
    by: &str,
    turn: OwnedSemaphorePermit,
    now_ms: i64,
) -> Result<SettledReply, Problem> {
    let Settle { ids, ignore_clock, .. } = body(asked).await?;
    let by = by.to_owned();
    let act = move |ingest: Arc<Ingest>, by_station: BTreeMap<StationNumber, Vec<u64>>| async move {
        let (upstream, window) = (ingest.upstream(), (!ignore_clock).then_some(ingest.window()));
        let mut reasons = Reasons::new();
        for (station, seqs) in by_station {
            let filter = RejectFilter { station: Some(station), seqs: Some(seqs), ..RejectFilter::default() };
            let done = replay_all(upstream.as_ref(), ingest.schema(), &filter, window, &by, now_ms).await;
            let open = done.map_err(store_problem)?.still_open.into_iter();
            reasons.extend(open.map(|open| ((open.station, open.seq), (open.code, open.message))));
        }
        Ok(reasons)
    };
    settled(asked, turn, ids, act).await
}

/// `POST /v1/admin/rejects/discard`.
pub(super) async fn discard(
    asked: &mut Asked<'_>,
    by: &str,
    turn: OwnedSemaphorePermit,
    now_ms: i64,
) -> Result<SettledReply, Problem> {
    let Settle { ids, reason, .. } = body(asked).await?;
    let reason: String = reason.unwrap_or_default().chars().take(REASON_MAX).collect();
    let by = by.to_owned();
    let act = move |ingest: Arc<Ingest>, by_station: BTreeMap<StationNumber, Vec<u64>>| async move {
        for (station, seqs) in by_station {
            ingest.upstream().discard(station, &seqs, &reason, &by, now_ms).await.map_err(store_problem)?;
        }
        Ok(Reasons::new())
    };
    settled(asked, turn, ids, act).await
}
