//! `POST /v1/push`: a frame in, the tidemark out.
//!
//! ```text
//! head: token · load · schema · memory ─▶ body ─▶ in order ─▶ turn to decode ─▶ Decoded
//!     ─▶ in order ─▶ turn to apply ─▶ apply ─▶ reply
//! ```

use std::sync::Arc;

use tidemark_core::frame::FrameHeader;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{AFTER_HEADER, Problem, ProblemCode, PushReply, SCHEMA_HEADER, UnavailableReason};
use tidemark_core::schema::Fingerprint;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::asked::Asked;
use super::body::Held;
use super::endpoint::Endpoint;
use super::memory::Holder;
use super::noted::noted;
use super::order::Until;
use super::turns::{NoTurn, Turn, Want};
use crate::ingest::{Decoded, ROW_BYTES};
use crate::ledger::fleet::Pushed;
use crate::metrics::Queue;
use crate::panics::{caught, fault};
use crate::spans::span;
use crate::stations::StationRecord;

/// A frame that takes no more memory than this is decoded where it is: to hand it to another thread takes longer.
const SMALL_BYTES: usize = 128 << 10;

/// Refuses while a batch would wait for its turn in vain; before it is read, and before a station that asks where it
/// stands sends it.
pub(super) fn admit(endpoint: &Endpoint) -> Result<(), Problem> {
    let timeout = endpoint.limits().turn_timeout;
    if endpoint.applying.is_late(timeout) || endpoint.decoding.is_late(timeout) {
        return Err(no_turn(NoTurn::Busy));
    }
    Ok(())
}

/// The refusal of a batch that cannot be applied soon.
fn no_turn(reason: NoTurn) -> Problem {
    let (reason, detail) = match reason {
        NoTurn::Busy => (UnavailableReason::ServerBusy, "the server applies as many batches as it can; try again soon"),
        NoTurn::Locked => (
            UnavailableReason::DatabaseLocked,
            "somebody holds a lock on a table of the server's database that this batch writes; try again soon",
        ),
    };
    Problem::unavailable(reason, detail)
}

/// The schema that a frame follows, where the head of its request says so: one that the server does not take is refused
/// before it is read.
async fn judge_schema(asked: &Asked<'_>) -> Result<(), Problem> {
    let Some(said) = asked.request.headers().get(SCHEMA_HEADER) else { return Ok(()) };
    let fingerprint = said.to_str().ok().and_then(Fingerprint::from_hex);
    let bad = || Problem::new(ProblemCode::BadRequest, format!("`{SCHEMA_HEADER}` is not 64 hex digits"));
    asked.endpoint.ingest.accepts(fingerprint.ok_or_else(bad)?).await
}

/// The change that a push follows, where it was sent before that change was acknowledged.
fn after(asked: &Asked<'_>) -> Result<Option<u64>, Problem> {
    let Some(said) = asked.request.headers().get(AFTER_HEADER) else { return Ok(None) };
    let seq = said.to_str().ok().and_then(|text| text.parse().ok());
    let bad = || Problem::new(ProblemCode::BadRequest, format!("`{AFTER_HEADER}` is not the number of a change"));
    seq.map(Some).ok_or_else(bad)
}

pub(super) async fn push(mut asked: Asked<'_>, station: Arc<StationRecord>) -> Result<PushReply, Problem> {
    let endpoint = asked.endpoint;
    let number = number_of(&station)?;
    let began = Instant::now();
    admit(endpoint)?;
    judge_schema(&asked).await?;
    let under_way = endpoint.order.begin(number, after(&asked)?);
    let held = asked.body(Holder::Station(number)).await?;
    let until = Instant::now() + endpoint.limits().turn_timeout;
    let cost = held.bytes.len() as u64;
    if !under_way.turn(Until::Decoded, until).await {
        return Err(no_turn(NoTurn::Busy));
    }
    let (job, memory) = decode(endpoint, number, held, until).await?;
    under_way.is_decoded();
    let span = job.batch.span();
    let (first_seq, last_seq) = (span.first_seq, span.last_seq());
    let noted = noted(asked.request);
    let want = Want { station: number, cost, bytes: 0, tables: job.tables() };
    if !under_way.turn(Until::Durable, until).await {
        return Err(no_turn(NoTurn::Busy));
    }
    let asked_at = Instant::now();
    let turn = endpoint.applying.turn(want, until).await;
    endpoint.ingest.metrics().requests.waited(Queue::Apply, asked_at.elapsed());
    let turn = turn.map_err(no_turn)?;
    let ingest = Arc::clone(&endpoint.ingest);
    let fleet = Arc::clone(&endpoint.fleet);
    // A task of its own: a client that hangs up drops this request, and must not cut a transaction in half.
    let span = span!("apply", station = number.get(), first = first_seq, last = last_seq);
    let applying = async move {
        let (turn, _memory) = (turn, memory);
        let applied = ingest.apply(job).await;
        match &applied {
            Ok(reply) => {
                turn.went_through();
                fleet.pushed(Pushed {
                    station: number,
                    at_ms: ingest.clock().now_ms(),
                    first_seq,
                    last_seq,
                    applied: reply.applied.into(),
                    rejected: reply.rejected.len() as u64,
                    bytes: cost,
                    ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                });
            }
            Err(problem) if problem.reason == Some(UnavailableReason::DatabaseLocked) => turn.was_locked(),
            Err(_) => {}
        }
        applied
    };
    let applied = tokio::spawn(applying.instrument(span)).await;
    let applied = endpoint.ingest.panics().joined("taking a frame", &number, applied)?;
    noted.pushed((first_seq, last_seq), applied.as_ref().ok());
    if let Ok(reply) = &applied {
        under_way.reached(reply.tidemark);
    }
    applied
}

/// Decodes a frame in its turn. The memory of the batch is given back with the turn that is returned.
async fn decode(
    endpoint: &Endpoint,
    station: StationNumber,
    held: Held,
    until: Instant,
) -> Result<(Decoded, Turn), Problem> {
    let ingest = &endpoint.ingest;
    let header = ingest.open(station, &held.bytes)?;
    let schema = ingest.schema_of(header.fingerprint).await?;
    let want = Want { station, cost: held.bytes.len() as u64, bytes: expected_bytes(&header), tables: Arc::default() };
    let asked_at = Instant::now();
    let turn = endpoint.decoding.turn(want, until).await;
    ingest.metrics().requests.waited(Queue::Decode, asked_at.elapsed());
    let mut turn = turn.map_err(no_turn)?;
    let decoding = Arc::clone(ingest);
    let span = span!("decode", station = station.get(), bytes = held.bytes.len(), changes = header.count);
    let decode = move || {
        let Held { bytes, share } = held;
        let decoded = span.in_scope(|| decoding.decode(schema, &bytes))?;
        drop((bytes, share));
        turn.set_bytes(decoded.bytes());
        turn.leave_slot();
        Ok((decoded, turn))
    };
    let (doing, panics) = ("decoding a frame", ingest.panics());
    if expected_bytes(&header) <= SMALL_BYTES {
        caught(async { decode() }).await.map_err(|panic| {
            panics.caught(doing, Some(&station), &*panic);
            fault()
        })?
    } else {
        let decoded = tokio::task::spawn_blocking(decode).await;
        panics.joined(doing, &station, decoded)?
    }
}

/// The memory that a frame may take when it is unfolded, by its head, in bytes.
const fn expected_bytes(header: &FrameHeader) -> usize {
    2 * header.raw_bytes as usize + ROW_BYTES * header.count as usize
}

pub(super) fn number_of(station: &StationRecord) -> Result<StationNumber, Problem> {
    station.number.ok_or_else(|| Problem::new(ProblemCode::Unauthorized, "the station has not joined yet"))
}
