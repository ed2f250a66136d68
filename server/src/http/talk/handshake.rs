//! The handshake of TLS: as long as a head may take, and with a seat like any other connection, so that those who never
//! finish theirs keep nobody out.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http_body_util::BodyExt as _;
use tidemark_core::protocol::{Problem, ProblemCode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::wire::{Talk, is_to_close};
use crate::http::deadline::Deadlined;
use crate::http::linger::Lingering;
use crate::http::problem::problem;
use crate::notices::Who;
use crate::tls::{HandshakeFailure, Tls};

/// What the client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// The first byte of a handshake: a record of the type `handshake` (RFC 8446, 5.1). No request begins with it.
const HANDSHAKE: u8 = 22;

/// Counts a handshake that failed, and tells of it as of other failures: once for each cause and minute.
fn failed(talk: &Talk, failure: HandshakeFailure) {
    let (ingest, peer) = (&talk.endpoint.ingest, talk.seat.address());
    ingest.metrics().tls.handshake_failed(failure.name());
    ingest.notices().handshake_failed(failure, &Who { peer: Some(peer.to_string()), ..Who::default() });
}

/// Shakes hands; `None` when that fails, takes too long, or the connection is to be closed. Who does not speak TLS is
/// told that it is spoken here.
pub(super) async fn shake_hands(
    tls: &Tls,
    stream: Deadlined<TcpStream>,
    talk: &Talk,
) -> Option<(Box<TlsStream<Deadlined<TcpStream>>>, Spoken)> {
    let peer = talk.seat.address();
    let until = Instant::now() + talk.endpoint.limits().head_timeout;
    let shaking = async {
        let mut first = [0; 1];
        if stream.get_ref().peek(&mut first).await? > 0 && first[0] != HANDSHAKE {
            return Ok(Err((stream, HandshakeFailure::of_first_byte(first[0]))));
        }
        tls.acceptor().accept(stream).await.map(Ok)
    };
    let shaken = tokio::select! {
        biased;
        shaken = tokio::time::timeout_at(until, shaking) => shaken,
        _ = is_to_close(talk) => return None,
    };
    match shaken {
        Ok(Ok(Ok(stream))) => {
            let spoken = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Spoken::Http2,
                _ => Spoken::Http1,
            };
            // In a box: a plain connection does not pay for it.
            Some((Box::new(stream), spoken))
        }
        Ok(Ok(Err((plain, failure)))) => {
            failed(talk, failure);
            if let Err(error) = tell(plain).await {
                tracing::debug!("{peer}, which speaks no TLS, was not told so: {error}");
            }
            None
        }
        Ok(Err(error)) => {
            failed(talk, HandshakeFailure::of(&error));
            tracing::debug!("the TLS handshake of {peer} failed: {error}");
            None
        }
        Err(_) => {
            failed(talk, HandshakeFailure::Timeout);
            tracing::debug!("the TLS handshake of {peer} took too long");
            None
        }
    }
}

/// Tells a client that speaks plain HTTP where TLS is spoken.
async fn tell(stream: Deadlined<TcpStream>) -> io::Result<()> {
    let reply = problem(&Problem::new(ProblemCode::BadRequest, "TLS is spoken here: the URL begins with https://"));
    let (head, body) = reply.into_parts();
    let body = body.collect().await.unwrap_or_else(|never: Infallible| match never {}).to_bytes();
    let mut answer = format!("HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n", head.status, body.len());
    for (name, value) in &head.headers {
        if let Ok(value) = value.to_str() {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    answer.push_str("\r\n");
    let mut stream = Lingering::new(stream, Arc::new(AtomicBool::new(true)));
    stream.write_all(&[answer.as_bytes(), &body].concat()).await?;
    stream.shutdown().await
}
