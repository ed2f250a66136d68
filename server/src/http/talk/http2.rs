//! HTTP/2 over one connection: several requests at once, each within the bounds of one, and together within those of a
//! connection.
//!
//! hyper cannot give an HTTP/2 connection back while nobody asks over it, since the state of the protocol is its own.
//! So an idle one costs more than one of HTTP/1.1, and is closed after the same time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tidemark_core::protocol::{Problem, UnavailableReason};
use tokio::time::Instant;

use super::pieces::{Answers, PIECE_BYTES, Pieces};
use super::wire::{HEAD_BYTES_MAX, Talk, Wire, is_to_close};
use crate::http::connections::Close;
use crate::http::problem::{Reply, problem};

/// Most bytes of bodies that a peer may send before somebody reads them, over one connection: as with HTTP/1.1.
const WINDOW_BYTES: u32 = 64 << 10;
/// Most bytes of an HTTP/2 frame, the least that the protocol allows.
const FRAME_BYTES: u32 = 16 << 10;
/// Requests that were given up by their peer before they were answered, more than were answered, until it is cut.
const ABANDONED_MAX: u32 = 64;
/// Streams that a peer reset before they were looked at, until hyper ends the connection.
const RESET_MAX: usize = 16;
/// Streams that a peer opened beyond the bound and that were refused, until hyper ends the connection. A peer that has
/// not heard of the bound yet may open a hundred at once, as libraries do, and tries those refused again.
const REFUSED_MAX: usize = 128;
/// How many times as long as a peer may take nothing at all it may take nothing of one answer.
const NEGLECT_FACTOR: u32 = 6;
/// How often it is looked at what the peer does.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The time that a peer has to hear of the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) async fn talk(stream: impl Wire, talk: &Talk) {
    let limits = talk.endpoint.limits();
    let (answers, abandoned) = (Arc::<Answers>::default(), Arc::<AtomicU32>::default());
    let ended = Arc::<AtomicBool>::default();
    let service = {
        let (talk, answers, abandoned) = (talk.clone(), Arc::clone(&answers), Arc::clone(&abandoned));
        let ended = Arc::clone(&ended);
        service_fn(move |request: Request<Incoming>| {
            let (talk, answers, busy) = (talk.clone(), Arc::clone(&answers), talk.seat.busy());
            let is_late = ended.load(Ordering::Relaxed);
            let mut unanswered = Unanswered { abandoned: Arc::clone(&abandoned), is_answered: false };
            let mut request = request.map(|body| body.map_err(Into::into).boxed());
            talk.mark(&mut request);
            Box::pin(async move {
                let mut reply = if is_late { late() } else { talk.endpoint.answer(request).await };
                unanswered.answered();
                // A stream ends by itself.
                reply.headers_mut().remove(CONNECTION);
                let (head, body) = reply.into_parts();
                let bytes = body.collect().await.unwrap_or_else(|never: Infallible| match never {}).to_bytes();
                Ok::<_, Infallible>(hyper::Response::from_parts(head, Pieces::new(bytes, &answers, busy)))
            })
        })
    };
    let mut connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.connection_streams_max)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(PIECE_BYTES)
        .max_pending_accept_reset_streams(RESET_MAX)
        .max_local_error_reset_streams(REFUSED_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut closing = pin!(is_to_close(talk));
    let look_every = LOOK_EVERY.min(limits.head_timeout / 2);
    let mut look = pin!(tokio::time::sleep(look_every));
    let mut watch = Watch { asked: Instant::now(), sent: 0, ends: None };
    let mut is_told = false;
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(ended.map_err(|error| error.to_string()));
        }
        if abandoned.load(Ordering::Relaxed) > ABANDONED_MAX {
            return Poll::Ready(Err("it gave up too many requests".to_owned()));
        }
        let now = Instant::now();
        let mut end = false;
        // Also once it ends: the room may be wanted for another connection.
        if !is_told && let Poll::Ready(told) = closing.as_mut().poll(cx) {
            is_told = true;
            match told {
                Close::AtOnce => return Poll::Ready(Ok(())),
                Close::WhenIdle if !talk.seat.is_busy() => return Poll::Ready(Ok(())),
                Close::WhenIdle | Close::WhenSent => end = true,
            }
        }
        while look.as_mut().poll(cx).is_ready() {
            look.as_mut().reset(now + look_every);
            let neglected = answers.neglected_since().map(|since| now.duration_since(since));
            if neglected.is_some_and(|time| time >= limits.write_timeout * NEGLECT_FACTOR) {
                return Poll::Ready(Err("it took nothing of an answer for too long".to_owned()));
            }
            let is_idle = watch.is_idle_for(now, talk);
            end |= watch.ends.is_none() && is_idle >= limits.head_timeout;
            if watch.ends.is_some_and(|ends| now >= ends) {
                // A peer that has heard of the end asks no more; one that goes on anyhow keeps nothing open by it.
                ended.store(true, Ordering::Relaxed);
                if !talk.seat.is_busy() && !talk.outgoing.is_stalled() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        if end && watch.ends.is_none() {
            watch.ends = Some(now + FAREWELL);
            Pin::new(&mut connection).graceful_shutdown();
            // It has something to say now.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    });
    if let Err(error) = outcome.await {
        tracing::debug!("a connection of {} ended: {error}", talk.seat.address());
    }
}

/// The answer to a request that came after the end was said.
fn late() -> Reply {
    problem(&Problem::unavailable(UnavailableReason::ServerBusy, "this connection has ended; ask over another one"))
}

/// What a connection did of late.
struct Watch {
    /// When somebody last asked over it, or took something.
    asked: Instant,
    /// The bytes that were sent by then.
    sent: u64,
    /// It is to end, and does after this at the latest when nothing runs over it.
    ends: Option<Instant>,
}

impl Watch {
    /// For how long nobody has asked, and nothing was taken of what was answered.
    fn is_idle_for(&mut self, now: Instant, talk: &Talk) -> Duration {
        let sent = talk.outgoing.bytes();
        if talk.seat.is_busy() || sent != self.sent {
            (self.asked, self.sent) = (now, sent);
        }
        now.duration_since(self.asked)
    }
}

/// A request that is being answered; counted when it is given up before.
struct Unanswered {
    abandoned: Arc<AtomicU32>,
    is_answered: bool,
}

impl Unanswered {
    const fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let count = |abandoned: u32| {
            Some(if self.is_answered { abandoned.saturating_sub(1) } else { abandoned.saturating_add(1) })
        };
        let _ = self.abandoned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }
}
