//! The last request of a process that is about to end: it may arrive, and nobody waits for the reply.

use tidemark_core::frame::FrameError;
use tidemark_core::limits::FrameLimits;

use crate::error::Result;
use crate::outbox::{Caps, Cut, cut, encode};
use crate::store::Store;
use crate::sync::Request;
use crate::sync::conversation::Joined;
use crate::sync::request::TIMEOUT_MS;

/// Changes that are tried at first.
const ROWS_FIRST: u32 = 5_000;
/// Changes compress: the first batch is cut so many times as long as the frame may be, and again, shorter, when it did
/// not compress that far.
const COMPRESSION: usize = 8;

/// The next changes as a request of at most `frame_bytes_max` bytes; `None` when nothing is pending or the first change
/// alone is longer.
pub(in crate::sync) fn farewell(
    store: &mut Store,
    joined: &Joined<'_>,
    now_ms: i64,
    frame_bytes_max: u32,
) -> Result<Option<Request>> {
    let limits = joined.meta.limits.unwrap_or_default();
    let limits = FrameLimits { frame_bytes_max: limits.frame_bytes_max.min(frame_bytes_max), ..limits };
    let mut caps = Caps {
        rows: ROWS_FIRST.min(limits.rows_max.max(1)),
        body_bytes: (limits.body_bytes_max as usize).min(limits.frame_bytes_max as usize * COMPRESSION),
        cells: limits.cells_max as usize,
    };
    loop {
        let Some(Cut { batch, .. }) = cut(store, &caps, now_ms)? else { return Ok(None) };
        let span = batch.span();
        let frame = match encode(&batch, &limits) {
            Ok(frame) => frame,
            Err(FrameError::TooLarge { have, max, .. }) if span.count > 1 => {
                // As many as should fit, and some less.
                let fit = u64::from(span.count) * max / have * 9 / 10;
                caps.rows = u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, span.count - 1);
                continue;
            }
            Err(FrameError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // As before every request: what is sent is durable here first, and only as the station it was cut for.
        let unsent = span.last_seq() > joined.meta.sent_seq;
        if batch.station != joined.number || unsent && !store.note_sent(batch.station, span.last_seq())? {
            return Ok(None);
        }
        return Ok(Some(Request::frame(&joined.server, joined.token, frame).within_ms(TIMEOUT_MS)));
    }
}
