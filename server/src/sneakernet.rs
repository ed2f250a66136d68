//! Sneakernet: a bundle that a station exported is applied as if its frames had been pushed, and answered with a
//! receipt.
//!
//! ```text
//! pass 1  head → whose is it? → every seal, every frame's header, the end   stops at a file that is not authentic
//!         schema, gap                                                       stops at one that cannot be applied
//! pass 2  frame by frame: proved again, pushed (decide, apply), its verdicts written into the receipt
//! ```
//!
//! The second pass is the ordinary ingest, so cursor, chain, duplicates and rejects are those of online pushes, in
//! any mix with them. Each seal proves its frame and all before it: a file that changes between the passes stops at
//! the first altered byte.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use thiserror::Error;
use tidemark_core::bundle::{BundleHead, BundleReader, UnprovedBundle};
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode, PushReply, Remedy};
use tidemark_core::receipt::{ReceiptEnd, ReceiptHead, ReceiptWriter, Verdicts};
use tidemark_core::sealed::SealError;
use tidemark_core::value::format_uuid;

use crate::ingest::{Ingest, store_problem};

/// A frame is pushed so often without its station's cursor moving: enough to come down from the largest batch to one
/// change, twice.
const TRIES_MAX: u32 = 16;
/// The time between two pushes.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// The reason that a bundle was not taken, or not to its end.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It is damaged, or none.
    #[error("{0}. Nothing was applied")]
    Bundle(SealError),
    /// No station of this database made it.
    #[error(
        "the bundle says it is of station {station}, uuid {uuid}, which this database does not know: is it the server that the station joined, \
         and the right --database? Nothing was applied"
    )]
    Foreign {
        /// The number in the bundle.
        station: u32,
        /// The uuid in the bundle.
        uuid: String,
    },
    /// The station was revoked.
    #[error(
        "station {name:?} was revoked by the server's operator; its bundles are not taken any more. Nothing was applied"
    )]
    Revoked {
        /// Its name.
        name: String,
    },
    /// Its token was taken away, and with it the key of its bundles.
    #[error("the token of station {name:?} was taken away, and its bundles are sealed with it. Nothing was applied")]
    TokenEnded {
        /// Its name.
        name: String,
    },
    /// The refusal that an online push would get, too.
    #[error("{}. Nothing was applied", told(.0))]
    Refused(Problem),
    /// Bundles before this one are missing.
    #[error(
        "changes are missing before this bundle: it begins at change {first_seq}, and change {expected} comes next. Import the bundle before \
         it first, or export again on the station. Nothing was applied"
    )]
    Gap {
        /// The bundle's first seq.
        first_seq: u64,
        /// The seq that comes next.
        expected: u64,
    },
    /// It stopped in the middle.
    #[error("stopped after change {seq}, up to which all is applied: {why}. Import the same bundle again")]
    Stopped {
        /// The last seq of the last frame that is durable.
        seq: u64,
        /// The cause.
        why: String,
        /// The remedy for it, where the server knows one.
        remedy: Option<Box<Remedy>>,
    },
    /// The receipt cannot be written.
    #[error(
        "the bundle's changes are applied up to {seq}, but the receipt cannot be written: {why}. Import the same bundle again"
    )]
    Receipt {
        /// The last seq of the last frame that is durable.
        seq: u64,
        /// The cause.
        why: io::Error,
    },
}

/// Not `#[from]`: the words of the cause stand in the message already, and would be said twice.
impl From<SealError> for ImportError {
    fn from(error: SealError) -> Self {
        Self::Bundle(error)
    }
}

/// A bundle that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The station's name.
    pub name: String,
    /// The head of the bundle.
    pub head: BundleHead,
    /// The number of its frames.
    pub frames: u64,
    /// Changes applied now.
    pub applied: u64,
    /// Changes that had been dealt with before.
    pub duplicate: u64,
    /// Changes that are rejected, now or before.
    pub rejected: u64,
    /// The station's cursor.
    pub cursor: Cursor,
}

/// Applies a bundle and writes the receipt. Importing it again changes nothing and gives the same receipt, but for
/// its time and a cursor that online pushes have moved on. Takes no more memory than one frame needs.
///
/// # Errors
/// See [`ImportError`].
pub async fn import(
    ingest: &Ingest,
    mut bundle: impl Read + Seek,
    receipt: impl Write,
) -> Result<Imported, ImportError> {
    let unproved = UnprovedBundle::open(&mut bundle)?;
    let head = *unproved.head();
    let foreign = || ImportError::Foreign { station: head.station.get(), uuid: format_uuid(head.station_uuid) };
    let asked = ingest.upstream().station_by_uuid(head.station_uuid).await;
    let station = asked.map_err(|error| ImportError::Refused(store_problem(error)))?;
    let station = station.filter(|station| station.number == Some(head.station)).ok_or_else(foreign)?;
    let token_hash = station.token_hash.ok_or_else(foreign)?;
    if station.revoked_at_ms.is_some() {
        return Err(ImportError::Revoked { name: station.name });
    }
    if station.token_ended_at_ms.is_some() {
        return Err(ImportError::TokenEnded { name: station.name });
    }
    let frames = verify(ingest, unproved.prove(&token_hash, ingest.limits())?).await?;
    let cursor = ingest.upstream().cursor(head.station).await;
    let cursor = cursor.map_err(|error| ImportError::Refused(store_problem(error)))?.ok_or_else(foreign)?;
    if head.first_seq > cursor.seq + 1 {
        return Err(ImportError::Gap { first_seq: head.first_seq, expected: cursor.seq + 1 });
    }
    bundle.seek(SeekFrom::Start(0)).map_err(SealError::from)?;
    let reader = UnprovedBundle::open(&mut bundle)?.prove(&token_hash, ingest.limits())?;
    let imported = Imported { name: station.name, head, frames, applied: 0, duplicate: 0, rejected: 0, cursor };
    apply(ingest, reader, &token_hash, receipt, imported).await
}

/// Pass 1: reads a bundle to its end; returns how many frames it has. They follow one schema up to an upgrade of the
/// station, and the next one from there on.
async fn verify(ingest: &Ingest, mut bundle: BundleReader<impl Read>) -> Result<u64, ImportError> {
    let (mut frame, mut frames, mut accepted) = (Vec::new(), 0, None);
    while let Some(header) = bundle.next_frame(&mut frame)? {
        if accepted != Some(header.fingerprint) {
            ingest.accepts(header.fingerprint).await.map_err(ImportError::Refused)?;
            accepted = Some(header.fingerprint);
        }
        frames += 1;
    }
    Ok(frames)
}

/// Pushes a frame. What fails in a way that repeats itself is tried again soon, by then in smaller pieces, as long as
/// that leads somewhere.
async fn push(ingest: &Ingest, station: StationNumber, frame: &[u8]) -> Result<PushReply, Problem> {
    let (mut stood, mut tries) = (None, 0);
    loop {
        let problem = match ingest.push(station, frame).await {
            Err(problem) if matches!(problem.code, ProblemCode::Unavailable | ProblemCode::Internal) => problem,
            pushed => return pushed,
        };
        let stands = ingest.upstream().cursor(station).await.ok().flatten().map(|cursor| cursor.seq);
        tries = if stands == stood { tries + 1 } else { 1 };
        stood = stands;
        if !ingest.is_tried(station) || tries >= TRIES_MAX {
            return Err(problem);
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// The words of a problem, for the operator: also those that do not travel.
fn told(problem: &Problem) -> String {
    match &problem.for_log {
        Some(words) => format!("{} ({words})", problem.detail),
        None => problem.detail.clone(),
    }
}

/// Pass 2: pushes every frame, and writes down what became of it.
async fn apply(
    ingest: &Ingest,
    mut bundle: BundleReader<impl Read>,
    token_hash: &[u8; 32],
    receipt: impl Write,
    mut imported: Imported,
) -> Result<Imported, ImportError> {
    let BundleHead { station_uuid, station, first_seq, last_seq, .. } = *bundle.head();
    let mut done = first_seq - 1;
    let unwritten = |seq: u64| move |why: io::Error| ImportError::Receipt { seq, why };
    let receipt_head = ReceiptHead { station_uuid, station, first_seq, last_seq };
    let mut receipt = ReceiptWriter::begin(receipt, token_hash, &receipt_head).map_err(unwritten(done))?;
    let mut frame = Vec::new();
    loop {
        let header = bundle.next_frame(&mut frame);
        let Some(header) =
            header.map_err(|error| ImportError::Stopped { seq: done, why: error.to_string(), remedy: None })?
        else {
            break;
        };
        let reply = push(ingest, station, &frame).await.map_err(|problem| match problem.code {
            // A fork shows at the first frame that is not wholly known, so before anything is applied.
            ProblemCode::Forked if imported.applied == 0 => ImportError::Refused(problem),
            _ => ImportError::Stopped { seq: done, why: told(&problem), remedy: problem.remedy },
        })?;
        done = header.first_seq + u64::from(header.count) - 1;
        imported.cursor = Cursor { seq: reply.tidemark, chain: reply.chain };
        imported.applied += u64::from(reply.applied);
        imported.duplicate += u64::from(reply.duplicate);
        imported.rejected += reply.rejected.len() as u64;
        receipt.verdicts(&Verdicts { last_seq: done, rejected: reply.rejected }).map_err(unwritten(done))?;
    }
    let end = ReceiptEnd { cursor: imported.cursor, server_time_ms: ingest.clock().now_ms() };
    receipt.finish(&end).map_err(unwritten(done))?;
    Ok(imported)
}
