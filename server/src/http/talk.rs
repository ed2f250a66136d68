//! One connection, from its first byte to its end.
//!
//! hyper has 16 KiB of buffers for each connection that it serves. One over which nobody asks is not served: it waits
//! for its next request without any, so that thousands of idle ones cost little.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::connections::{Busy, Close, Seat};
use super::deadline::Deadlined;
use super::endpoint::Endpoint;
use super::linger::Lingering;
use super::rewound::Rewound;
use super::router::is_unread;

/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most bytes that hyper reads ahead of a request, or keeps of answers, for one connection.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Serves a connection to its end.
pub(super) async fn talk(mut stream: TcpStream, endpoint: Arc<Endpoint>, seat: Arc<Seat>) {
    let mut early = Bytes::new();
    while !early.is_empty() || is_asked(&stream, &endpoint, &seat).await {
        // In a box: while nobody asks there is none.
        match Box::pin(serve(Rewound::new(early, stream), &endpoint, &seat)).await {
            Ok(Some(idle)) => (early, stream) = idle.into_parts(),
            Ok(None) => return,
            Err(error) => return tracing::debug!("a connection of {} ended: {error}", seat.address()),
        }
    }
}

/// Waits for a request; `false` when none comes in time, or the connection is to be closed.
async fn is_asked(stream: &TcpStream, endpoint: &Endpoint, seat: &Seat) -> bool {
    tokio::select! {
        biased;
        asked = tokio::time::timeout(endpoint.limits().head_timeout, stream.readable()) => matches!(asked, Ok(Ok(()))),
        _ = is_to_close(endpoint, seat) => false,
    }
}

/// Ends when the connection is to be closed: for another one, or because the server stops.
async fn is_to_close(endpoint: &Endpoint, seat: &Seat) -> Close {
    tokio::select! {
        close = seat.is_to_close() => close,
        _ = endpoint.stopping.uploads_end() => Close::WhenSent,
    }
}

/// Answers requests until there is none; returns the connection then, and `None` when it has ended.
async fn serve(
    stream: Rewound<TcpStream>,
    endpoint: &Arc<Endpoint>,
    seat: &Arc<Seat>,
) -> hyper::Result<Option<Rewound<TcpStream>>> {
    let (left, stalled) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let answered = Arc::<AtomicBool>::default();
    let service = {
        let (endpoint, seat) = (Arc::clone(endpoint), Arc::clone(seat));
        let (left, answered) = (Arc::clone(&left), Arc::clone(&answered));
        service_fn(move |request: Request<Incoming>| {
            let (endpoint, busy) = (Arc::clone(&endpoint), seat.busy());
            let (left, answered) = (Arc::clone(&left), Arc::clone(&answered));
            let mut request = request.map(|body| body.map_err(Into::into).boxed());
            request.extensions_mut().insert(Arc::clone(&seat));
            Box::pin(async move {
                let reply = endpoint.answer(request).await;
                left.store(is_unread(&reply), Ordering::Relaxed);
                answered.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(reply.map(|body| Sending { body, _busy: busy }))
            })
        })
    };
    let stream = Deadlined::new(stream, endpoint.limits().write_timeout, Arc::clone(&stalled));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(endpoint.limits().head_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Lingering::new(stream, Arc::clone(&left))), service);
    let mut closing = pin!(is_to_close(endpoint, seat));
    let mut close = None;
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
        let [answered, left, stalled] = [&answered, &left, &stalled].map(|flag| flag.load(Ordering::Relaxed));
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
    if !is_idle.await? {
        return Ok(None);
    }
    let parts = connection.into_parts();
    let (early, stream) = parts.io.into_inner().into_inner().into_inner().into_parts();
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
