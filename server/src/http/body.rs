//! Request bodies: never more than the bounds in memory, never longer than the bounds in time, never slower than would
//! bring them in time.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes};
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{Problem, ProblemCode, UnavailableReason};
use tokio::time::Instant;

use super::access::Noted;
use super::endpoint::{Endpoint, RequestBody};
use super::memory::{Holder, NoMemory, Share};
use crate::bounds::HttpLimits;

/// The first memory of a body whose length is known to be more, in bytes; it doubles from there.
const FIRST_BYTES: usize = 4 << 10;

/// A body in memory, and its share of what may be.
#[derive(Debug)]
pub(super) struct Held {
    pub bytes: Vec<u8>,
    /// Gives the memory back when it is dropped.
    pub share: Share,
}

/// Judges by the head of a request whether a body of at most `bytes_max` is taken now.
pub(super) fn admit(
    endpoint: &Endpoint,
    body: &RequestBody,
    holder: Holder,
    bytes_max: usize,
) -> Result<Share, Problem> {
    let claimed = match body.size_hint().exact() {
        Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
        None => 0,
    };
    if claimed > bytes_max {
        return Err(too_large(endpoint.ingest.limits(), bytes_max));
    }
    endpoint.bodies.begin(holder, claimed).map_err(no_memory)
}

/// Reads a body that was admitted, of at most `bytes_max`, which must have come by then.
pub(super) async fn read(
    endpoint: &Endpoint,
    body: &mut RequestBody,
    mut share: Share,
    bytes_max: usize,
    until: Instant,
    noted: &Noted,
) -> Result<Held, Problem> {
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let pace = Pace::new(&endpoint.limits(), length.unwrap_or(bytes_max), until);
    let mut bytes = Vec::new();
    while let Some(data) = next(endpoint, body, &share, &pace, bytes.len()).await? {
        noted.received(data.len());
        let wanted = bytes.len() + data.len();
        if wanted > bytes_max {
            return Err(too_large(endpoint.ingest.limits(), bytes_max));
        }
        if wanted > bytes.capacity() {
            let room = wanted.max(bytes.capacity() * 2).max(FIRST_BYTES).min(length.unwrap_or(bytes_max));
            share.grow(room).await.map_err(no_memory)?;
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    share.is_whole();
    Ok(Held { bytes, share })
}

/// The next bytes of a body of which `so_far` are there; `None` at its end.
async fn next(
    endpoint: &Endpoint,
    body: &mut RequestBody,
    share: &Share,
    pace: &Pace,
    so_far: usize,
) -> Result<Option<Bytes>, Problem> {
    loop {
        let until = pace.until(so_far).min(Instant::now() + endpoint.limits().body_idle_timeout);
        let frame = tokio::select! {
            frame = tokio::time::timeout_at(until, body.frame()) => frame.map_err(|_| slow())?,
            () = share.cut() => return Err(no_memory(NoMemory::Taken)),
            stopping = endpoint.stopping.uploads_end() => return Err(stopping),
        };
        let Some(frame) = frame else { return Ok(None) };
        // The network's fault, like slowness: the same words may come through when they are sent again.
        let frame =
            frame.map_err(|error| Problem::new(ProblemCode::Timeout, format!("the body ended early: {error}")))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// How fast a body has to come.
///
/// After a time of grace it must not be slower, on average, than half of what brings it to its end in the time that a
/// body may take; nor slower than the slowest rate. So a body that cannot arrive is not waited for until the end, and
/// a station with a slow line learns soon to send less at once.
struct Pace {
    began: Instant,
    /// When it must have come whole.
    ends: Instant,
    grace: Duration,
    /// In bytes a second.
    rate_min: f64,
}

impl Pace {
    fn new(limits: &HttpLimits, length: usize, until: Instant) -> Self {
        let began = Instant::now();
        let ends = until.min(began + limits.body_timeout);
        let in_time = length as f64 / limits.body_timeout.as_secs_f64().max(0.001) / 2.0;
        let rate_min = in_time.max(f64::from(limits.body_rate_min));
        Self { began, ends, grace: limits.body_idle_timeout, rate_min }
    }

    /// When more must have come than these bytes.
    fn until(&self, bytes: usize) -> Instant {
        let seconds = (bytes as f64 / self.rate_min).min(self.ends.duration_since(self.began).as_secs_f64());
        (self.began + self.grace + Duration::from_secs_f64(seconds)).min(self.ends)
    }
}

fn no_memory(error: NoMemory) -> Problem {
    match error {
        NoMemory::Taken => {
            let detail = "the server holds as many bodies as it may; try again soon";
            Problem::unavailable(UnavailableReason::ServerBusy, detail)
        }
        NoMemory::TooMany => {
            let detail = "this station sends more requests at once than the server takes; try again soon";
            Problem::new(ProblemCode::TooManyRequests, detail)
        }
    }
}

fn slow() -> Problem {
    Problem::new(ProblemCode::Timeout, "the body came too slowly; send smaller batches over a slow network")
}

fn too_large(limits: FrameLimits, bytes_max: usize) -> Problem {
    let detail =
        format!("the body has more than the {bytes_max} bytes the server takes at once; send fewer changes at once");
    Problem::new(ProblemCode::TooLarge, detail).with_limits(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(length: usize) -> Pace {
        Pace::new(&HttpLimits::default(), length, Instant::now() + Duration::from_secs(900))
    }

    /// Whether a body of this length comes through at so many bytes a second.
    fn comes_through(length: usize, rate: f64) -> bool {
        let pace = pace(length);
        (1..=300_u32).all(|second| {
            let bytes = ((f64::from(second) * rate) as usize).min(length);
            bytes >= length || pace.until(bytes) > pace.began + Duration::from_secs(second.into())
        })
    }

    #[test]
    fn a_modem_is_fast_enough_for_what_it_can_send_and_a_trickle_is_not() {
        // 2,400 bit/s, and a batch that takes it four minutes.
        assert!(comes_through(300 * 240, 300.0));
        assert!(comes_through(20_000, 150.0));
        assert!(!comes_through(32 << 20, 300.0));
        assert!(!comes_through(32 << 20, 40_000.0));
        assert!(comes_through(32 << 20, 120_000.0));
        assert!(!comes_through(20_000, 30.0));
    }

    #[test]
    fn what_cannot_arrive_is_cut_soon_after_the_time_of_grace() {
        let pace = pace(32 << 20);
        let cut = pace.until(1 << 10).duration_since(pace.began);
        assert!(cut < Duration::from_secs(21), "{cut:?}");
    }
}
