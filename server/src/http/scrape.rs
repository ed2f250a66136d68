//! `GET /metrics`, for Prometheus: where stations ask for whoever has its token, and at a listener of its own.
//!
//! The text is made five times a second at most, whoever asks and however often, and making it asks no database.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::address::Address;
use super::asked::Asked;
use super::endpoint::Endpoint;
use super::problem::Reply;
use super::tokens::Word;
use crate::metrics::MEDIA_TYPE;
use crate::notices::Who;
use crate::supervision::spawn_once;
use crate::tls::{HandshakeFailure, Tls};

/// Most connections of the listener at once, of all and of one address; and how long each may take.
const CONNECTIONS_MAX: usize = 64;
const OF_ONE_MAX: usize = 8;
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
    let Some(expected) = endpoint.metrics_token.get() else {
        return Err(Problem::new(ProblemCode::NotFound, "metrics are not read here"));
    };
    let unauthorized = |detail: &str| Problem::new(ProblemCode::Unauthorized, detail);
    let header = asked.request.headers().get(AUTHORIZATION);
    let token = header.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let token = token.ok_or_else(|| unauthorized("metrics are read with a token of their own"))?;
    // Before it is compared: who guesses too often does not learn which guess was right.
    let address = asked.address();
    endpoint.tokens.tries(Word::Metrics, address, endpoint.ingest.clock().now_ms())?;
    // By hashes, so that no comparison leaks how much of it was right.
    if *blake3::hash(token).as_bytes() != expected {
        return Err(unauthorized("this is not the token that metrics are read with"));
    }
    endpoint.tokens.was_known(Word::Metrics, address);
    Ok(endpoint.metrics_reply())
}

/// The connections of the listener, by the address that each is from.
#[derive(Debug, Default)]
struct Seats(Mutex<HashMap<Address, usize>>);

/// One of them; it counts until this is dropped.
struct Seat {
    seats: Arc<Seats>,
    address: Address,
}

impl Seats {
    fn held(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat; `None` where the address has, or all have, as many as they may.
    fn take(self: &Arc<Self>, address: Address) -> Option<Seat> {
        let mut held = self.held();
        let own = held.get(&address).copied().unwrap_or_default();
        if own >= OF_ONE_MAX || held.values().sum::<usize>() >= CONNECTIONS_MAX {
            return None;
        }
        held.insert(address, own + 1);
        Some(Seat { seats: Arc::clone(self), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.seats.held();
        match held.get_mut(&self.address) {
            Some(own @ 2..) => *own -= 1,
            _ => drop(held.remove(&self.address)),
        }
    }
}

/// Serves metrics and nothing else, for ever; with a certificate, over TLS. What stands before the listener's address
/// says who may read them.
pub async fn serve_metrics(listener: Arc<TcpListener>, endpoint: Arc<Endpoint>, tls: Option<Arc<Tls>>) {
    let seats = Arc::<Seats>::default();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(NEXT_TRY).await;
            continue;
        };
        let Some(seat) = seats.take(Address::of(peer.ip())) else { continue };
        let (endpoint, tls) = (Arc::clone(&endpoint), tls.clone());
        spawn_once(&Arc::clone(endpoint.panics()), "answering who reads metrics", async move {
            let _ = tokio::time::timeout(TIME_MAX, meet(stream, tls, endpoint, seat.address)).await;
            drop(seat);
        });
    }
}

/// One connection, from its handshake on.
async fn meet(stream: TcpStream, tls: Option<Arc<Tls>>, endpoint: Arc<Endpoint>, peer: Address) {
    let Some(tls) = tls else { return talk(stream, endpoint).await };
    match tls.acceptor_of_http1().accept(stream).await {
        Ok(stream) => talk(stream, endpoint).await,
        Err(error) => {
            let failure = HandshakeFailure::of(&error);
            endpoint.ingest.metrics().tls.handshake_failed(failure.name());
            let who = Who { peer: Some(peer.to_string()), ..Who::default() };
            endpoint.ingest.notices().handshake_failed(failure, &who);
        }
    }
}

/// One request of one connection.
async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, endpoint: Arc<Endpoint>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_few_of_the_connections_and_the_rest_is_for_others() {
        let (seats, address) = (Arc::<Seats>::default(), |last| Address::of([192, 0, 2, last].into()));
        let mut own: Vec<Seat> = (0..20).filter_map(|_| seats.take(address(1))).collect();
        assert_eq!(own.len(), OF_ONE_MAX);
        let others: Vec<Seat> = (2..200).filter_map(|last| seats.take(address(last))).collect();
        assert_eq!(others.len(), CONNECTIONS_MAX - OF_ONE_MAX);
        own.pop();
        assert!(seats.take(address(1)).is_some() && seats.take(address(250)).is_some());
        drop((own, others));
        assert!(seats.held().is_empty());
    }
}
