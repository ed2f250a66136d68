//! The last request of a process that is about to end: it may arrive, and nobody waits for the reply.

use tidemark_core::frame::FrameError;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::FRAME_MEDIA_TYPE;

use super::{Engine, State, TIMEOUT_MS};
use crate::error::Result;
use crate::outbox::{Caps, Cut, cut, encode};
use crate::store::Store;
use crate::sync::{Method, Request, ServerUrl};

/// Changes that are tried at first.
const ROWS_FIRST: u32 = 5_000;
/// Changes compress: the first batch is cut so many times as long as the frame may be, and again, shorter, when it did not compress that far.
const COMPRESSION: usize = 8;

impl Engine {
    /// The next changes as a request of at most `frame_bytes_max` bytes, to be sent without waiting for a reply: for a page that is being
    /// closed. `None` when nothing is pending, the first change alone is longer, the engine has stopped, the server is to be asked first, or it
    /// asked to be left alone.
    ///
    /// The engine's state stays as it is, whatever is in flight: who goes on sends the same changes once more, and the server takes them once.
    /// A reply, if it comes, may be given to [`Engine::on_reply`], which ignores it.
    ///
    /// # Errors
    /// What the store says.
    pub fn farewell(&self, store: &mut Store, now_ms: i64, frame_bytes_max: u32) -> Result<Option<Request>> {
        match &self.state {
            State::Stopped(_) | State::Waiting { asked: true, .. } => return Ok(None),
            State::Ready | State::InFlight(_) | State::Waiting { .. } => {}
        }
        let meta = store.meta()?;
        let (Some(token), Some(server), Some(membership)) = (meta.token, &meta.server, &meta.membership) else {
            return Ok(None);
        };
        let Ok(server) = ServerUrl::parse(server) else { return Ok(None) };
        if self.ask_station || meta.forked.is_some() {
            return Ok(None);
        }
        let limits = meta.limits.unwrap_or_default();
        let limits = FrameLimits { frame_bytes_max: limits.frame_bytes_max.min(frame_bytes_max), ..limits };
        let mut caps = Caps {
            rows: ROWS_FIRST.min(limits.rows_max.max(1)),
            body_bytes: (limits.body_bytes_max as usize).min(limits.frame_bytes_max as usize * COMPRESSION),
            cells: limits.cells_max as usize,
        };
        loop {
            let Some(Cut { batch, .. }) = cut(store, &caps, now_ms)? else { return Ok(None) };
            let span = batch.span();
            let body = match encode(&batch, &limits) {
                Ok(body) => body,
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
            let unsent = span.last_seq() > meta.sent_seq;
            if batch.station != membership.number || unsent && !store.note_sent(batch.station, span.last_seq())? {
                return Ok(None);
            }
            return Ok(Some(Request {
                id: 0,
                method: Method::Post,
                url: server.join("/v1/push"),
                token: Some(token),
                content_type: Some(FRAME_MEDIA_TYPE),
                body,
                timeout_ms: TIMEOUT_MS,
            }));
        }
    }
}
