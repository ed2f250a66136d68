//! Request bodies: never more than the bounds in memory, never longer than the bounds in time.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{Problem, ProblemCode};
use tokio::sync::OwnedSemaphorePermit;

use super::endpoint::{BODY_UNIT_BYTES, Endpoint, RequestBody};

/// A body in memory, and its share of what may be.
pub(super) struct Held {
    pub bytes: Vec<u8>,
    /// Gives the share back when it is dropped.
    pub share: OwnedSemaphorePermit,
}

/// Reads a body of at most `bytes_max`.
pub(super) async fn read(endpoint: &Endpoint, body: &mut RequestBody, bytes_max: usize) -> Result<Held, Problem> {
    // A declared length is judged before a byte is read.
    let declared = body.size_hint().exact();
    if declared.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(endpoint.ingest.limits(), bytes_max));
    }
    let expected = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(bytes_max);
    let units = u32::try_from(expected.div_ceil(BODY_UNIT_BYTES)).unwrap_or(u32::MAX);
    let Ok(share) = Arc::clone(&endpoint.body_units).try_acquire_many_owned(units) else {
        return Err(Problem::new(
            ProblemCode::Unavailable,
            "the server holds as many bodies as it may; try again soon",
        ));
    };
    let limits = &endpoint.limits;
    let reading = async {
        let mut bytes = Vec::with_capacity(declared.map_or(0, |_| expected.min(1 << 20)));
        loop {
            let next = tokio::time::timeout(limits.body_idle_timeout, body.frame());
            let Ok(frame) = next.await else { return Err(slow()) };
            let Some(frame) = frame else { return Ok(bytes) };
            // The network's fault, like slowness: the same words may come through when they are sent again.
            let frame =
                frame.map_err(|error| Problem::new(ProblemCode::Timeout, format!("the body ended early: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large(endpoint.ingest.limits(), bytes_max));
            }
            bytes.extend_from_slice(&data);
        }
    };
    let bytes = tokio::select! {
        biased;
        read = tokio::time::timeout(limits.body_timeout, reading) => read.map_err(|_| slow())??,
        stopping = endpoint.stopping.uploads_end() => return Err(stopping),
    };
    Ok(Held { bytes, share })
}

pub(super) fn slow() -> Problem {
    Problem::new(ProblemCode::Timeout, "the body came too slowly; send smaller batches over a slow network")
}

fn too_large(limits: FrameLimits, bytes_max: usize) -> Problem {
    let detail =
        format!("the body has more than the {bytes_max} bytes the server takes at once; send fewer changes at once");
    Problem::new(ProblemCode::TooLarge, detail).with_limits(limits)
}
