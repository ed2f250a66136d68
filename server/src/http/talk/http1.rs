//! HTTP/1.1 over one connection.
//!
//! hyper has 16 KiB of buffers for each connection that it serves. One over which nobody asks is not served: it waits
//! for its next request without any, so that thousands of idle ones cost little. Over TLS the session's keys stay.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncWrite, ReadBuf};

use super::wire::{HEAD_BYTES_MAX, Talk, Wire, is_to_close};
use crate::http::connections::{Busy, Close};
use crate::http::linger::Lingering;
use crate::http::rewound::Rewound;
use crate::http::router::is_unread;

/// Most bytes that hyper reads ahead of a request, or keeps of answers, for one connection.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Most bytes that are read before hyper is there.
const FIRST_BYTES_MAX: usize = 512;

/// Serves a connection to its end.
pub(super) async fn talk(mut stream: impl Wire, talk: &Talk) {
    let mut early = Bytes::new();
    loop {
        if early.is_empty() {
            match first_bytes(&mut stream, talk).await {
                Some(bytes) => early = bytes,
                None => break,
            }
        }
        // In a box: while nobody asks there is none.
        match Box::pin(serve(Rewound::new(early, stream), talk)).await {
            Ok(Some(idle)) => (early, stream) = idle.into_parts(),
            Ok(None) => return,
            Err(error) => return tracing::debug!("a connection of {} ended: {error}", talk.seat.address()),
        }
    }
    farewell(&mut stream);
}

/// Says the end, which over TLS tells that nothing was cut off. Nobody is waited for.
fn farewell(stream: &mut (impl AsyncWrite + Unpin)) {
    let _ = poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).now_or_never();
}

/// Waits for a request; its first bytes, or `None` when none comes in time, or the connection has ended or is to.
async fn first_bytes(stream: &mut impl Wire, talk: &Talk) -> Option<Bytes> {
    let read = poll_fn(|cx| {
        let mut room = [0; FIRST_BYTES_MAX];
        let mut buf = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        Poll::Ready(io::Result::Ok(Bytes::copy_from_slice(buf.filled())))
    });
    tokio::select! {
        biased;
        read = tokio::time::timeout(talk.endpoint.limits().head_timeout, read) => read.ok()?.ok().filter(|bytes| !bytes.is_empty()),
        _ = is_to_close(talk) => None,
    }
}

/// Answers requests until there is none; returns the connection then, and `None` when it has ended.
async fn serve<S: Wire>(stream: Rewound<S>, talk: &Talk) -> hyper::Result<Option<Rewound<S>>> {
    let (left, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let service = {
        let (talk, left, answered) = (talk.clone(), Arc::clone(&left), Arc::clone(&answered));
        service_fn(move |request: Request<Incoming>| {
            let (talk, busy) = (talk.clone(), talk.seat.busy());
            let (left, answered) = (Arc::clone(&left), Arc::clone(&answered));
            let mut request = request.map(|body| body.map_err(Into::into).boxed());
            talk.mark(&mut request);
            Box::pin(async move {
                let reply = talk.endpoint.answer(request).await;
                left.store(is_unread(&reply), Ordering::Relaxed);
                answered.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(reply.map(|body| Sending { body, _busy: busy }))
            })
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(talk.endpoint.limits().head_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Lingering::new(stream, Arc::clone(&left))), service);
    let mut closing = pin!(is_to_close(talk));
    let (seat, mut close) = (&talk.seat, None);
    let is_idle = poll_fn(|cx| {
        // The connection first: what it has to say is with the system when it is found idle.
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(ended.map(|()| false));
        }
        if close.is_none()
            && let Poll::Ready(told) = closing.as_mut().poll(cx)
        {
            close = Some(told);
            if seat.is_busy() {
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
        let [answered, left] = [&answered, &left].map(|flag| flag.load(Ordering::Relaxed));
        let stalled = talk.outgoing.is_stalled();
        let is_idle = !seat.is_busy();
        match close {
            Some(Close::AtOnce) => Poll::Ready(Ok(false)),
            Some(Close::WhenIdle) if is_idle => Poll::Ready(Ok(false)),
            Some(Close::WhenSent) if is_idle && !stalled => Poll::Ready(Ok(false)),
            // Nothing is on its way in or out, and it does not end either.
            None if is_idle && answered && !left && !stalled => Poll::Ready(Ok(true)),
            _ => Poll::Pending,
        }
    });
    let is_idle = is_idle.await?;
    let mut parts = connection.into_parts();
    if !is_idle {
        farewell(parts.io.inner_mut());
        return Ok(None);
    }
    let (early, stream) = parts.io.into_inner().into_inner().into_parts();
    Ok(Some(Rewound::new(if early.is_empty() { parts.read_buf } else { early }, stream)))
}

/// The body of an answer. Its connection is busy until hyper has taken all of it.
struct Sending {
    body: Full<Bytes>,
    _busy: Busy,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
