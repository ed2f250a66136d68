//! `GET /metrics`, for Prometheus: where stations ask for whoever has its token, and at a listener of its own.
//!
//! The text is made five times a second at most, whoever asks and however often, and making it asks no database.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidemark_core::protocol::{Problem, ProblemCode, path};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::asked::Asked;
use super::endpoint::Endpoint;
use super::problem::Reply;
use super::tokens::Word;
use crate::metrics::MEDIA_TYPE;
use crate::supervision::spawn_once;

/// Most connections of the listener at once, and how long each may take.
const CONNECTIONS_MAX: usize = 64;
const TIME_MAX: Duration = Duration::from_secs(10);
/// Most bytes of a request's head there.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The wait after a connection that could not be taken.
const NEXT_TRY: Duration = Duration::from_millis(100);

impl Endpoint {
    /// The metrics as text.
    fn metrics_text(&self) -> Bytes {
        self.scraped.text(|| {
            let metrics = self.ingest.metrics();
            metrics.requests.panics(self.ingest.panics().count());
            metrics.text()
        })
    }

    fn metrics_reply(&self) -> Reply {
        let mut reply = Response::new(Full::new(self.metrics_text()));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }
}

/// Answers where stations ask: to nobody, or to whoever has the token.
pub(super) fn scrape(asked: &Asked<'_>) -> Result<Reply, Problem> {
    let endpoint = asked.endpoint;
    let Some(expected) = endpoint.metrics.token_hash else {
        return Err(Problem::new(ProblemCode::NotFound, "metrics are not read here"));
    };
    let unauthorized = |detail: &str| Problem::new(ProblemCode::Unauthorized, detail);
    let header = asked.request.headers().get(AUTHORIZATION);
    let token = header.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let token = token.ok_or_else(|| unauthorized("metrics are read with a token of their own"))?;
    // By hashes, so that no comparison leaks how much of it was right.
    if *blake3::hash(token).as_bytes() == expected {
        return Ok(endpoint.metrics_reply());
    }
    endpoint.tokens.tries(Word::Token, asked.address(), endpoint.ingest.clock().now_ms())?;
    Err(unauthorized("this is not the token that metrics are read with"))
}

/// Serves metrics and nothing else, for ever. What stands before the listener's address says who may read them.
pub async fn serve_metrics(listener: Arc<TcpListener>, endpoint: Arc<Endpoint>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(NEXT_TRY).await;
            continue;
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else { continue };
        let endpoint = Arc::clone(&endpoint);
        spawn_once(&Arc::clone(endpoint.panics()), "answering who reads metrics", async move {
            let _ = tokio::time::timeout(TIME_MAX, talk(stream, endpoint)).await;
            drop(seat);
        });
    }
}

/// One request of one connection.
async fn talk(stream: TcpStream, endpoint: Arc<Endpoint>) {
    let service = service_fn(|request: Request<Incoming>| {
        let reply = answer(&endpoint, &request);
        async move { Ok::<_, Infallible>(reply) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIME_MAX / 2)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!("a connection for metrics ended: {error}");
    }
}

fn answer(endpoint: &Endpoint, request: &Request<Incoming>) -> Reply {
    let plain = |status: StatusCode, text: &'static str| {
        let mut reply = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *reply.status_mut() = status;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        reply
    };
    let is_look = request.method() == Method::GET || request.method() == Method::HEAD;
    match request.uri().path() {
        _ if !is_look => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        path::METRICS => endpoint.metrics_reply(),
        path::HEALTH => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics and /healthz\n"),
    }
}
